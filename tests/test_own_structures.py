"""A model of one's own, by name: a class that says how its latents are drawn, and a function that makes it of parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commands_for_tests import command, done
from models_for_tests import refuses, standard_errors_apart
from runs_for_tests import SMALL, assert_same_run, pieces, small_run
from torch import Tensor

from vaekit import VAE, build_model, draw, load_run, train
from vaekit.data import Batch
from vaekit.data.domains import Domain
from vaekit.likelihoods import Bernoulli
from vaekit.models.sampling import Draw, Drawn
from vaekit.networks import MLP
from vaekit.posteriors import DiagonalNormal
from vaekit.priors import DiagonalNormal as NormalPrior
from vaekit.priors import StandardNormal
from vaekit.seeding import seeded
from vaekit.show.pictures.drawing import offers
from vaekit.spec.building import Builder
from vaekit.spec.keys import Schema
from vaekit.spec.own import parts_from
from vaekit.spec.parsing import parse
from vaekit.spec.parts import PARTS

EXAMPLE = Path(__file__).parent.parent / "examples" / "extending" / "two_layers.py"
OWN = ("--parts", f"{EXAMPLE}:PARTS")
TWO = ("model.structure=two-layers", "model.latents.z.prior=diagonal-normal", "model.latents.top.size=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs."""
    folder = tmp_path_factory.mktemp("own") / "run"
    small_run(folder, *TWO, "training.epochs=3", parts=parts_from(OWN[1]))
    return folder


def test_the_example_is_short() -> None:
    assert len([line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line.strip()]) <= 40


def test_it_is_trained_gone_on_with_and_asked_by_the_command_line(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sets = [f"--set={each}" for each in (*SMALL, *TWO)]
    done("train", "digits", "--out", run, "--samples=2", *sets, *OWN)
    done("train", "--resume", "--out", run, "--epochs=3", "--samples=2", *OWN)
    for name in ("weights.safetensors", "checkpoints/epoch-3.safetensors"):
        if (folder / name).exists():
            assert (run / name).read_bytes() == (folder / name).read_bytes(), name
    assert "two-layers" in (run / "report.html").read_text(encoding="utf-8")
    assert "NLL" in done("evaluate", run, "--samples=5", *OWN)
    done("sample", run, "-n", "3", "--out", tmp_path / "drawn.npy", *OWN)
    assert np.load(tmp_path / "drawn.npy").shape == (3, 1, 8, 8)
    done("encode", run, "--out", tmp_path / "codes.csv", *OWN)
    assert "top.1" in (tmp_path / "codes.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "two-layers" in done("parts", "structures", *OWN)
    refused = command("evaluate", run)
    assert "unknown structure 'two-layers'" in refused.err
    assert "--parts two_layers.py:PARTS" in refused.err


def test_a_run_gone_on_with_is_the_same_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    parts = parts_from(OWN[1])
    small_run(tmp_path / "run", *TWO, parts=parts)
    train(out=tmp_path / "run", resume=True, epochs=3, parts=parts)
    assert_same_run(tmp_path / "run", folder)


def test_every_picture_of_it_is_drawn(folder: Path, tmp_path: Path) -> None:
    run = load_run(folder, parts=parts_from(OWN[1]))
    drawn = [offer.name for offer in offers(run) if not offer.lacks]
    for name in drawn:
        draw(run, name)
    assert {"model", "samples", "reconstructions", "latents", "kl", "correlations"} <= set(drawn)


def test_its_code_is_of_both_latents_and_the_upper_one_alone_is_decoded_too(folder: Path) -> None:
    model = load_run(folder, parts=parts_from(OWN[1])).model
    with seeded(0):
        trace = model.trace(Batch(torch.zeros(4, 1, 8, 8)), samples=3)
    assert [latent.closed_form for latent in trace.latents] == [True, True]
    assert model.encode(np.zeros((4, 1, 8, 8))).shape == (4, 5)
    assert model.decode(np.zeros((4, 2))).shape == (4, 1, 8, 8)


def test_what_a_structure_of_ones_own_lacks_is_said() -> None:
    parts = parts_from(OWN[1])
    with refuses("two-layers needs two latents, not ['z']"):
        pieces("model.structure=two-layers", parts=parts)
    with refuses("model.latents.top.encoder is set, but structure 'two-layers' does not use it"):
        pieces(*TWO, "model.latents.top.encoder=mlp", parts=parts)


class BottomUp(VAE):
    """q(z1 given x) q(z2 given z1), and p(z1 given z2) p(z2)."""

    def infer(self, batch: Batch, draw: Draw) -> Drawn:
        q1 = self.posteriors["z1"](self.features(batch))
        z1 = draw("z1", q1)
        q2 = self.posteriors["z2"](z1)
        return {"z1": (q1, z1), "z2": (q2, draw("z2", q2))}

    def generate(self, y: Tensor | None, draw: Draw) -> Drawn:
        p2 = self.priors["z2"]()
        z2 = draw("z2", p2)
        p1 = self.priors["z1"](z2)
        return {"z1": (p1, draw("z1", p1)), "z2": (p2, z2)}

    def given(self, name: str) -> tuple[str, str]:
        return ("x", "z2") if name == "z1" else ("z1", "")


class Said(BottomUp):
    def exact(self, name: str) -> bool:
        return name == "z2"


class Apart(BottomUp):
    """Its q(z2 given x) is not given z1: the closed form of the first KL holds at each draw of z2."""

    def infer(self, batch: Batch, draw: Draw) -> Drawn:
        features = self.features(batch)
        found = {name: posterior(features) for name, posterior in self.posteriors.items()}
        return {name: (q, draw(name, q)) for name, q in found.items()}


def in_turn(kind: type[VAE], second: int) -> VAE:
    """One of two latents of 2 and 3 numbers, whose second posterior is of so many."""
    p = Bernoulli((4,), Domain("binary"))
    posteriors = {"z1": DiagonalNormal(5, 2), "z2": DiagonalNormal(second, 3)}
    priors = {"z1": NormalPrior(2, condition=3), "z2": StandardNormal(3)}
    return kind(MLP((4,), hidden=(5,)), posteriors, priors, MLP((5,), p.parameter_shape), p)


def test_a_kl_that_has_no_closed_form_is_not_taken_for_one_that_has() -> None:
    with refuses("latent 'z1': its p is given 'z2', which q draws from it, so that no closed form of its KL holds"):
        in_turn(BottomUp, 2)
    for kind, second in ((Said, 2), (Apart, 5)):
        model = in_turn(kind, second)
        with seeded(0), torch.no_grad():
            trace = model.trace(Batch(torch.zeros(2000, 4)), samples=5)
        apart = trace.log_weight - (trace.log_px - sum(trace.kl.values()))
        assert abs(standard_errors_apart(apart.flatten(), 0.0)) < 4


def test_options_of_a_structure_are_checked_and_what_it_gives_is_a_model() -> None:
    def many(builder: Builder, copies: int = 2) -> VAE:
        """A VAE, or so many copies of it."""
        made = VAE(**builder.usual())
        return made if copies == 1 else [made] * copies  # type: ignore[return-value]

    mine = PARTS.extended(structures={"many": many})
    schema = Schema(event_shape=(4,), domain=Domain("binary"))

    def build(**options: object) -> VAE:
        model = {"structure": {"name": "many", **options}, "likelihood": "bernoulli"}
        return build_model(parse({"model": model}, mine).model, schema, parts=mine)

    assert type(build(copies=1)) is VAE
    with refuses("structure 'many' gives a list; accepted: a vaekit.VAE"):
        build()
    with refuses("unknown option of structure 'many': 'copy' (did you mean 'copies'?)"):
        build(copy=1)
    with refuses("option 'copies' of structure 'many' is 'x'"):
        build(copies="x")
