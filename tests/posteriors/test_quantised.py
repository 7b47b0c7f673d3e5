from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands_for_tests import command, done
from models_for_tests import QUANTISED, data_of, model_of, moved, refuses
from torch import Tensor, distributed, multiprocessing, nn

from vaekit import evaluate, train
from vaekit.data.batch import Batch
from vaekit.models import VAE
from vaekit.networks import ResNetEncoder
from vaekit.objectives import ELBO
from vaekit.posteriors import FSQ, LFQ, VQ, ResidualVQ
from vaekit.posteriors import quantised as module
from vaekit.runs.run import load_run
from vaekit.seeding import seeded
from vaekit.training.weights import model_tensors

pytestmark = pytest.mark.usefixtures("_float64")


MADE = {
    "vq": lambda **shapes: VQ(7, 12, codes=5, dim=3, **shapes),
    "rvq": lambda **shapes: ResidualVQ(7, 12, codes=4, quantizers=2, dim=3, **shapes),
    "fsq": lambda **shapes: FSQ(7, 12, levels=(4, 3, 3), **shapes),
    "lfq": lambda **shapes: LFQ(7, 12, dim=3, **shapes),
}
SHAPES = {"flat": (12,), "maps": (6, 2, 1)}


def made(name: str, shape: Sequence[int] = (12,)) -> Any:
    with seeded(0):
        posterior = MADE[name](latent_shape=tuple(shape))
        with torch.no_grad():
            for parameter in posterior.parameters():
                parameter.copy_(torch.randn_like(parameter))
        for _ in range(3):
            posterior(torch.randn(50, 7))
    return posterior


# -- codes and what they stand for -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", MADE)
def test_z_is_what_its_tokens_stand_for(name: str, shape: tuple[int, ...]):
    posterior, features = made(name, shape).eval(), torch.randn(2, 9, 7)
    q = posterior(features)
    tokens, codes = posterior.tokens
    assert q.batch_shape == (2, 9)
    assert q.indices.shape == (2, 9, tokens)
    assert 0 <= int(q.indices.min()) <= int(q.indices.max()) < codes
    assert torch.equal(posterior.vectors(q.indices), q.value)
    assert torch.equal(q.rsample((3,)), q.value.expand(3, 2, 9, 12))
    assert torch.equal(q.log_prob(q.value), torch.zeros(2, 9))
    assert q.log_prob(q.value + 1e-9).max() == -torch.inf
    if name != "rvq":
        assert torch.equal(posterior.indices(q.value), q.indices)
    else:
        with pytest.raises(NotImplementedError, match="can't be told from the sum"):
            posterior.indices(q.value)


def test_the_tokens_of_maps_are_its_places_in_raster_order():
    posterior = FSQ(7, 2 * 2 * 3, levels=(5, 5), feature_shape=(7, 2, 3), latent_shape=(2, 2, 3))
    tokens = torch.arange(6)[None] + torch.tensor([[0], [10]])
    maps = posterior.vectors(tokens).view(2, 2, 2, 3)
    for row, place in itertools.product(range(2), range(6)):
        code = posterior.book.implicit_codebook[tokens[row, place]]
        assert torch.equal(maps[row, :, place // 3, place % 3], code)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_vq_takes_the_nearest_code_and_rvq_that_of_what_is_left(shape: tuple[int, ...]):
    for name in ("vq", "rvq"):
        posterior, features = made(name, shape).eval(), torch.randn(9, 7)
        given, q = posterior._split(posterior.head(features)), posterior(features)
        left, want = given.clone(), []
        for book in posterior.books:
            codes = book.embed[0]
            index = (left.unsqueeze(-2) - codes).square().sum(-1).argmin(-1)
            left = left - codes[index]
            want.append(index)
        assert torch.equal(q.indices, torch.stack(want, -1).flatten(-2))
        assert torch.allclose(posterior._split(q.value), given - left, atol=1e-6)
        # The squared distance of each quantizer, summed, is what is added.
        steps = torch.stack([(given - each).square() for each in _sums(posterior, want)]).sum((0, -1, -2))
        assert torch.allclose(q.penalties["commitment"], 0.25 * steps, atol=1e-5)


def _sums(posterior: Any, indices: Sequence[Tensor]) -> Tensor:
    each = [book.embed[0][index] for book, index in zip(posterior.books, indices, strict=True)]
    return torch.stack(each).cumsum(0)


def test_fsq_has_evenly_spaced_levels_all_of_which_can_be_had():
    posterior = FSQ(1, 2, levels=(5, 4)).eval()
    grid = torch.cartesian_prod(torch.linspace(-4, 4, 60), torch.linspace(-4, 4, 60)).unsqueeze(1)
    value, index, _ = posterior._quantised(grid)
    assert index.unique().tolist() == list(range(20))
    for column, levels in enumerate((5, 4)):
        found = value[..., column].unique()
        assert len(found) == levels
        assert torch.allclose(found.diff(), found.diff()[:1].expand(levels - 1))


def test_fsq_of_a_trained_model_is_as_published():
    """round(L/2 tanh) of numbers that are linear in the features (Mentzer et al. 2024, section 3.1)."""
    posterior, features = made("fsq").eval(), torch.randn(9, 7)
    assert posterior.norm.running_mean.abs().min() > 0
    norm, levels = posterior.norm, torch.tensor([4.0, 3.0, 3.0])
    weight = posterior.head.weight.unflatten(0, (-1, 3)) / (norm.running_var + norm.eps).sqrt()[:, None]
    bias = -norm.running_mean / (norm.running_var + norm.eps).sqrt()
    z = torch.einsum("bf,ndf->bnd", features, weight) + bias
    half, offset = (levels - 1) * 1.001 / 2, torch.where(levels % 2 == 0, 0.5, 0.0)
    want = ((z + (offset / half).atanh()).tanh() * half - offset).round() / (levels // 2)
    assert torch.allclose(posterior._split(posterior(features).value), want)


def test_numbers_that_drift_together_leave_codes_in_use():
    """What the decoder wants of all data alike does not move them all to one code."""
    with seeded(0):
        posterior, drifted = FSQ(8, 8, levels=(5, 5)), 20 + torch.randn(500, 8)
        posterior.head = nn.Identity()
        q = posterior(drifted)
    assert len(q.indices.unique()) == 25
    assert q.value.mean().abs() < 0.1


def test_lfq_is_the_signs_and_its_entropy_falls_where_codes_are_sure_and_all_used():
    posterior = LFQ(1, 2, dim=2, entropy=1.0).train()
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]).unsqueeze(1)
    entropies = {}
    for name, x in {"all": corners, "one": corners[:1].expand(4, -1, -1), "unsure": 1e-9 * corners}.items():
        value, _, penalties = posterior._quantised(x)
        entropies[name] = float(penalties["entropy"])
    assert torch.equal(value, corners)
    assert entropies["all"] == pytest.approx(-np.log(4), abs=1e-3)
    assert entropies["one"] == pytest.approx(0.0, abs=1e-2)
    assert entropies["unsure"] == pytest.approx(0.0, abs=1e-3)


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vq", "rvq", "lfq"])
def test_the_gradient_goes_straight_through(name: str):
    posterior = made(name)
    x = torch.randn(5, 4, 3).requires_grad_()
    value, _, _ = posterior._quantised(x)
    weights = torch.randn_like(value)
    (value * weights).sum().backward()
    assert torch.equal(x.grad, weights)


@pytest.mark.parametrize("name", sorted(QUANTISED))
def test_a_prior_that_is_learned_leaves_the_encoder_alone(name: str):
    model = model_of(posterior=name, prior="transformer-tokens", latents={"z": 4})
    trace = model.trace(Batch(data_of(model.domain, (6, 4))))
    kl = trace.kl["z"].mean()
    found = torch.autograd.grad(kl, list(model.parameters()), allow_unused=True)
    reached = {key for (key, _), value in zip(model.named_parameters(), found, strict=True) if value is not None}
    assert reached
    assert all(key.startswith("priors.") for key in reached)


def test_penalties_are_added_to_the_loss_and_are_no_part_of_the_bound():
    model = model_of(posterior="vq", latents={"a": 4, "b": 2})
    trace = model.trace(Batch(data_of(model.domain, (6, 4))))
    result = ELBO(beta=0.5)(trace, 1.0)
    terms = result.terms
    assert {"commitment/a", "commitment/b", "codes used/a", "perplexity/b"} <= terms.keys()
    penalties = terms["commitment/a"] + terms["commitment/b"]
    assert torch.allclose(result.loss, penalties - terms["reconstruction"] + 0.5 * terms["kl"])
    assert torch.allclose(terms["elbo"], terms["reconstruction"] - terms["kl"])
    # Nats of a datum: as many of these as there are say the same.
    model.eval()
    x = data_of(model.domain, (6, 4))
    once, twice = (ELBO()(model.trace(Batch(each)), 1.0).terms["commitment/a"] for each in (x, torch.cat([x, x])))
    assert torch.allclose(once, twice)


# -- the codebook ------------------------------------------------------------------------------------------------------


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model_tensors(model).items()}


@pytest.mark.parametrize("name", MADE)
def test_in_evaluation_nothing_changes(name: str):
    posterior = made(name).eval()
    before, features = state(posterior), torch.randn(9, 7)
    value = posterior(features).value
    assert posterior(features).figures == {}
    assert torch.equal(posterior(features).value, value)
    assert all(torch.equal(value, before[key]) for key, value in state(posterior).items())


def test_codes_are_the_running_means_of_what_they_stand_for():
    posterior = made("vq")
    x = torch.randn(40, 4, 3)
    before = state(posterior)
    size, total = before["books.0.cluster_size"][0], before["books.0.embed_avg"][0]
    one_hot = torch.nn.functional.one_hot(posterior.eval()._quantised(x)[1].flatten(), 5).double()
    size = 0.99 * size + 0.01 * one_hot.sum(0)
    total = 0.99 * total + 0.01 * one_hot.T @ x.flatten(0, 1)
    posterior.train()._quantised(x)
    book = posterior.books[0]
    assert torch.allclose(book.cluster_size[0], size, rtol=1e-5)
    assert (size > module.DEAD * size.mean()).all()
    assert torch.allclose(book.embed[0], total / size[:, None], rtol=1e-3, atol=1e-4)


def test_dead_codes_are_put_to_where_tokens_are():
    posterior = made("vq")
    book = posterior.books[0]
    with torch.no_grad():
        book.cluster_size[0, 3] = 0.0
        book.embed_avg[0, 3] = 0.0
        book.embed[0, 3] = 1e3  # too far off for any token
    x = torch.randn(40, 4, 3)
    with seeded(0):
        posterior._quantised(x)
    code = book.embed[0, 3]
    assert (x.flatten(0, 1) - code).abs().sum(-1).min() < 1e-6
    assert torch.allclose(book.embed_avg[0, 3] / book.cluster_size[0, 3], code)


def test_clusters_of_tokens_get_all_codes():
    """But for where means of clusters are: as of k-means, a code may be that of two."""
    with seeded(0):
        posterior = VQ(2, 2, codes=16)
        posterior.head = nn.Identity()
        centres = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
        for _ in range(200):
            q = posterior(centres[torch.randint(16, (100,))] + 0.02 * torch.randn(100, 2))
    assert float(q.figures["codes used"]) == 1.0
    assert float(q.figures["perplexity"]) > 13.0
    found = posterior.eval()(centres)
    assert len(found.indices.unique()) >= 13
    assert (found.value - centres).abs().max() < 1.0


def test_use_is_counted_over_the_last_steps():
    posterior = FSQ(2, 2, levels=(3, 3))
    posterior.head = posterior.norm = nn.Identity()
    for _ in range(5):
        q = posterior(torch.zeros(10, 2))
    assert float(q.figures["codes used"]) == pytest.approx(1 / 9)
    assert float(q.figures["perplexity"]) == pytest.approx(1.0)
    q = posterior(torch.tensor([[9.0, 9.0]]).expand(60, -1))
    share = np.array([10 * (1 - 0.99**5) / 0.01 * 0.99, 60.0])
    share /= share.sum()
    assert float(q.figures["codes used"]) == pytest.approx(2 / 9)
    assert float(q.figures["perplexity"]) == pytest.approx(np.exp(-(share * np.log(share)).sum()))


def _in_a_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    with seeded(0):
        posterior = VQ(4, 4, codes=6, dim=2)
        whole = torch.randn(3, 20, 4)
    for step in range(3):
        torch.manual_seed(rank)
        posterior(whole[step, rank::2])
    values = {name: value.tolist() for name, value in posterior.named_buffers()}
    Path(folder, f"{rank}.json").write_text(json.dumps(values))
    distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, which is quick")
def test_the_codebooks_of_two_processes_are_in_step(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_in_a_process, args=(rank, str(tmp_path))) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one == other
    assert sum(one["counts"][0]) == pytest.approx(40 * (1 + 0.99 + 0.99**2), rel=1e-5)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused():
    with refuses("a token is 4 numbers, which 6 are no multiple of: change size or dim"):
        VQ(3, 6, dim=4)
    with refuses("codes are 1, quantizers 1"):
        VQ(3, 6, codes=1)
    with refuses("levels are [8, 2]"):
        FSQ(3, 6, levels=(8, 2))
    with refuses("a token of 40 bits is one of 2^40 codes"):
        LFQ(3, 40)
    with refuses("codes are 100,000,000"):
        FSQ(3, 4, levels=(100, 100, 100, 100))
    with refuses("accepted: two of a kind"):
        model_of(posterior="vq", prior="standard-normal")
    with refuses("no latent of 'z' is quantised"):
        model_of().indices(torch.zeros(1, 4))


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with refuses("a quantised posterior needs vector-quantize-pytorch: pip install 'vaekit[tokens]'"):
        VQ(3, 6)


# -- whole models ------------------------------------------------------------------------------------------------------


def test_a_hierarchy_of_codes():
    """As of the VQ-VAE-2: the codes of a latent given those above it (Razavi et al. 2019)."""
    model = model_of(posterior="vq", prior="categorical-tokens", structure="hierarchical", latents={"z1": 4, "z2": 2})
    x = data_of(model.domain, (5, 4))
    result = ELBO()(model.trace(Batch(x)), 1.0)
    result.loss.backward()
    assert {"commitment/z1", "kl/z2"} <= result.terms.keys()
    assert model.indices(x).shape == (5, 2)
    assert model.log_prob(x, samples=2).isfinite().all()
    assert model.sample(3).shape == (3, 4)


def test_the_bound_is_one_of_log_p():
    """log p(x) by draws from the prior, of a model of few codes: above the bound, whatever the samples."""
    model = moved(model_of(posterior="vq", prior="categorical-tokens", latents={"z": 2})).eval()
    x = data_of(model.domain, (4, 4))
    scores = model.score(x, samples=7)
    with seeded(0), torch.no_grad():
        z = model.priors["z"]().sample((40_000,))
        log_px = model.likelihood(model.decoder(z)).log_prob(x[:, None]).logsumexp(-1) - np.log(40_000)
    assert torch.allclose(scores.log_prob, scores.elbo)
    assert (scores.elbo < log_px + 0.05).all()
    assert (scores.log_prob_variance == 0).all()


def test_a_run_goes_through_the_whole_toolkit(tmp_path: Path):
    torch.set_default_dtype(torch.float32)
    sets = ["model.latents.z.posterior.name=vq", "model.latents.z.posterior.dim=3", "training.epochs=2"]
    sets += ["model.latents.z.posterior.codes=8", "model.latents.z.size=12", "model.latents.z.prior=categorical-tokens"]
    run = train("digits", tmp_path / "run", sets=sets)
    assert {"commitment", "codes used", "perplexity"} <= run.history()[0].terms.keys()
    loaded = load_run(tmp_path / "run")
    x = run.data("test").x
    assert torch.equal(loaded.model.indices(x), run.model.indices(x))
    tokens = run.model.indices(x)
    assert tokens.shape == (300, 4)
    use = evaluate(run.model, run.data("test"), samples=2).codes["z"]
    share = np.bincount(tokens.flatten(), minlength=8) / tokens.numel()
    assert (use.tokens, use.codes, use.used) == (4, 8, float((share > 0).mean()))
    assert use.perplexity == pytest.approx(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()))
    assert "perplexity" in done("evaluate", tmp_path / "run", "--samples=1")
    done("encode", tmp_path / "run", "--out", tmp_path / "tokens.npy", "--indices")
    assert np.array_equal(np.load(tmp_path / "tokens.npy"), tokens.numpy())


def test_resumed_it_is_the_same_to_the_last_bit(tmp_path: Path):
    torch.set_default_dtype(torch.float32)
    sets = ["model.latents.z.posterior.name=rvq", "model.latents.z.posterior.codes=6", "training.learning_rate=1e-3"]
    sets += [
        "model.latents.z.size=4",
        "model.latents.z.prior=categorical-tokens",
        "model.latents.z.posterior.quantizers=2",
    ]
    whole = train("digits", tmp_path / "whole", sets=sets, epochs=3)
    train("digits", tmp_path / "part", sets=sets, epochs=1)
    resumed = train("digits", tmp_path / "part", epochs=3, resume=True)
    for name, tensor in model_tensors(whole.model).items():
        assert torch.equal(tensor, model_tensors(resumed.model)[name]), name
    assert [row.terms for row in whole.history()] == [row.terms for row in resumed.history()]
    assert {"codes used", "perplexity"} <= whole.history()[0].terms.keys()


def test_tokens_are_refused_of_a_run_without(tmp_path: Path):
    torch.set_default_dtype(torch.float32)
    train("digits", tmp_path / "run", sets=["training.epochs=1", "model.encoder.hidden=[8]"])
    result = command("encode", tmp_path / "run", "--out", tmp_path / "x.npy", "--indices")
    assert result.status == 2
    assert "no latent of 'z' is quantised; accepted: one whose posterior is vq" in result.err


def test_maps_of_features_become_maps_of_tokens():
    encoder = ResNetEncoder((1, 8, 8), channels=(2, 2), blocks=1)
    posterior = VQ(2 * 4 * 4, 3 * 4 * 4, codes=4, feature_shape=encoder.out_shape, latent_shape=(3, 4, 4))
    q = posterior(encoder(torch.randn(2, 1, 8, 8)).flatten(1))
    assert posterior.tokens == (16, 4)
    assert (q.value.shape, q.indices.shape) == ((2, 48), (2, 16))


def test_the_usual_model_of_a_quantised_posterior_is_a_vae():
    assert isinstance(model_of(posterior="lfq", latents={"z": 4}), VAE)
