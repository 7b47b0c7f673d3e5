"""The rows of `published.py`: what was published, and the recipe that is to reach it. Data, no code.

Marks of a value: V, read in a public README, page or code; S, quoted by a public note; M, from memory, to be checked
before it is leaned on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A published value, and the recipe with what is set in it that is to reach it."""

    name: str
    what: str
    target: str
    """A recipe."""
    metric: str
    """A name of `published_metrics.METRICS`."""
    published: float | None
    source: str
    mark: str = "V"
    stderr: float | None = None
    """The published standard error, where there is one."""
    sets: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    """What else is set for each seed: {seed} stands for it, {NAME} for the run of that seed of the row NAME."""
    seeds: int = 3
    samples: int = 5000
    """Importance samples of the NLL of a datum."""
    gpu: bool = False
    """Whether its training is out of reach of a few processors."""
    differs: str = ""
    """Why its number is not to be compared with the published one."""
    waits: str = ""
    """What there is to be had first."""

    @property
    def below(self) -> tuple[str, ...]:
        """The rows whose runs it takes."""
        return tuple(name for name in ROWS if any(f"{{{name}}}" in each for each in self.own))

    @property
    def goes_on(self) -> bool:
        """Whether it begins with the weights of another row, or another with its: these see the same data."""
        start = f"training.start={{{self.name}}}"
        return any(each.startswith("training.start=") for each in self.own) or any(
            start in r.own for r in ROWS.values()
        )


BURDA = "Burda et al. 2016"
AGAIN = "a reproduction"
VAMP = "Tomczak & Welling 2018"
PYTHAE = "pythae's table of reproductions"
FLOWS = "Rezende & Mohamed 2015"
KINGMA = "Kingma et al. 2014"
MAALOE = "Maaløe et al. 2016"

STATIC = ("data.name=binary-mnist", "data.binarize=static", "data.validation=none")
NORMAL = ("model.latents.z.prior=standard-normal",)
OMNIGLOT = ("data.name=omniglot", "data.binarize=stochastic", "data.validation=1345")
FREY = (
    "data.name=frey",
    "data.binarize=none",
    "data.validation=200",
    "data.test=200",
    "model.likelihood=discretized-logistic",
)
REZENDE = (
    "model.encoder={name='mlp', hidden=[400, 400], activation='relu'}",
    "model.decoder={name='mlp', hidden=[400, 400], activation='relu'}",
    "model.latents.z={size=40, posterior='diagonal-normal'}",
)
"""Networks as theirs, but for maxout."""


def fast(epochs: int, rate: str = "1e-2", batch: int = 512) -> tuple[str, ...]:
    """In place of the days of a paper, minutes of one core by the settings of `quality.py`: the networks, bounds and
    data are theirs, the optimiser, its rate, the batch and the length are not.
    """
    return (
        f"training.epochs={epochs}",
        f"training.batch_size={batch}",
        "training.optimizer=muon",
        f"training.learning_rate={{name='cosine', start={rate}, end=1e-5}}",
    )


M2 = (
    "training.labelled=50",
    "training.epochs=6",
    "training.learning_rate={name='cosine', start=1e-3, end=1e-5}",
    "model.classifier={name='conv', channels=[32, 64, 128], normalization='batch', dropout=0.3}",
    "model.latents.z.size=8",
    "objective.invariance=100",
)
"""The settings of the page of a hundred labels."""

OTHER_SPLIT = "characters of other alphabets are held out, not the split of the papers"
OTHER_FACES = "200 frames held out by a seed, as many as theirs but others"
SMALL_SPRITES = "18,000 small sprites, not the 737,280 images of dSprites"
GREY = "a bound of grey pixels as probabilities, no likelihood"
INCEPTION = "a file of weights of Inception-v3 (`--weights inception=FILE`)"


def weighted(objective: str, samples: int, *more: str) -> tuple[str, ...]:
    options = "".join(f", {each}" for each in (f"samples={samples}", *more))
    return (f"objective={{name='{objective}'{options}}}",)


def _rows() -> tuple[Row, ...]:
    one = [
        ("elbo", {1: (86.76, BURDA), 5: (86.47, BURDA), 50: (86.35, BURDA)}),
        ("iwae", {5: (85.54, BURDA), 50: (84.78, BURDA)}),
        ("dreg", {1: (86.08, AGAIN), 5: (84.90, AGAIN), 50: (84.32, AGAIN)}),
    ]
    two = [
        ("elbo", {1: (85.33, BURDA), 5: (85.01, BURDA), 50: (84.78, BURDA)}),
        ("iwae", {5: (83.89, BURDA), 50: (82.90, BURDA)}),
    ]
    # After the row of fewer draws: how it is trained on, and the gradient, which is STL of an ELBO, and of an IWAE DReG
    # where no latent is drawn from another. At k = 1 these are one.
    on = {5: ({"elbo": 60, "iwae": 160}, "5e-3", 512), 50: ({"elbo": 6, "iwae": 11}, "2e-3", 256)}

    def trained(layers: int, name: str, k: int) -> dict[str, Any]:
        bound = "elbo" if name == "elbo" or k == 1 else "iwae"
        gradient = weighted("stl" if bound == "elbo" else "dreg" if layers == 1 else "iwae", k)
        if k == 1:
            return {"sets": (*gradient, *fast(250))}
        epochs, rate, batch = on[k]
        before = f"{layers}-{bound}-5" if k == 50 else f"{layers}-elbo-1"
        return {
            "sets": (*gradient, *fast(epochs[bound], rate, batch)),
            "own": (f"training.start={{{before}}}",),
        }

    bounds = [
        Row(
            f"{layers}-{name}-{k}",
            f"{layers} stochastic layer{'s' if layers > 1 else ''}, {name.upper()}, k = {k}, dynamic MNIST",
            recipe,
            "nll",
            value,
            source,
            **trained(layers, name, k),
        )
        for layers, recipe, found in ((1, "iwae-mnist", one), (2, "iwae-2-mnist", two))
        for name, values in found
        for k, (value, source) in values.items()
    ]
    more = [
        Row(
            f"1-{name}",
            f"1 stochastic layer, {what}, 64 draws for each datum, dynamic MNIST",
            "iwae-mnist",
            "nll",
            value,
            PYTHAE,
            sets=(*weighted("iwae", 64, *options), *fast(8, "2e-3", 256)),
            own=("training.start={1-iwae-5}",),
        )
        for name, what, value, options in (
            ("miwae", "8 bounds of 8 (MIWAE)", 84.97, ("bounds=8",)),
            ("ciwae", "ELBO and IWAE (CIWAE), 0.05", 84.57, ("elbo=0.05",)),
            ("piwae", "IWAE, for inference 8 bounds of 8 (PIWAE)", 84.46, ("bounds=8", "partial=true")),
        )
    ]
    vamp = [
        *(
            Row(
                f"static-{kind}",
                f"{what}, static MNIST",
                "vamp-mnist",
                "nll",
                value,
                VAMP,
                "S",
                sets=(*sets, *fast(80)),
            )
            for kind, what, value, sets in (
                ("normal", "VAE of gated layers", 88.56, NORMAL),
                ("vamp", "VampPrior, 500 pseudo-inputs", 85.57, ()),
            )
        ),
        Row(
            "dynamic-normal",
            "VAE of gated layers, dynamic MNIST",
            "vamp-mnist",
            "nll",
            84.50,
            VAMP,
            "M",
            sets=("data.name=mnist", "data.binarize=stochastic", "data.validation=10000", *NORMAL),
            gpu=True,
        ),
        Row(
            "dynamic-vamp",
            "VampPrior, dynamic MNIST",
            "vamp-mnist",
            "nll",
            82.38,
            VAMP,
            "M",
            sets=("data.name=mnist", "data.binarize=stochastic", "data.validation=10000"),
            gpu=True,
        ),
        *(
            Row(
                f"{data}-{kind}",
                f"{'VampPrior' if kind == 'vamp' else 'VAE of gated layers'}, {title}",
                "vamp-mnist",
                metric,
                value,
                VAMP,
                "M",
                sets=(*sets, *(NORMAL if kind == "normal" else ())),
                differs=differs,
            )
            for data, title, metric, sets, differs, values in (
                (
                    "omniglot",
                    "Omniglot",
                    "nll",
                    (*OMNIGLOT, *fast(120)),
                    OTHER_SPLIT,
                    {"normal": 108.50, "vamp": 104.75},
                ),
                ("frey", "Frey faces", "bits", FREY, OTHER_FACES, {"normal": 4.63, "vamp": 4.57}),
            )
            for kind, value in values.items()
        ),
    ]
    static = [
        Row(
            "static-diagonal",
            "VAE, 400-400-40, static MNIST",
            "binary-mnist-diagonal",
            "nll",
            89.9,
            FLOWS,
            sets=(*REZENDE, *fast(80)),
            samples=200,
        ),
        Row(
            "static-iwae-50",
            "1 stochastic layer, IWAE, k = 50, static MNIST",
            "iwae-mnist",
            "nll",
            87.1,
            BURDA,
            sets=(*STATIC, *weighted("iwae", 50)),
            gpu=True,
        ),
        *(
            Row(
                f"static-planar-{length}",
                f"{length} planar flows, static MNIST",
                "planar-mnist",
                "nll",
                value,
                FLOWS,
                "S" if length == 80 else "M",
                sets=(f"model.latents.z.posterior.transforms={length}", *fast(80)),
                samples=200,
            )
            for length, value in ((10, 87.5), (20, 86.5), (40, 85.7), (80, 85.1))
        ),
        Row(
            "static-hamiltonian",
            "Hamiltonian VAE, 4 steps, static MNIST",
            "hamiltonian-mnist",
            "nll",
            86.40,
            "Salimans et al. 2015, in pythae's table of reproductions, which has 86.21",
            sets=fast(80),
            samples=1000,
        ),
        Row(
            "sphere",
            "hyperspherical VAE, dynamic MNIST",
            "hyperspherical-mnist",
            "nll",
            93.16,
            PYTHAE,
            sets=fast(60),
            samples=500,
        ),
        Row(
            "static-categorical",
            "Gumbel-softmax, 20 categories of 10, static MNIST",
            "gumbel-softmax-mnist",
            "-elbo",
            101.5,
            "Jang et al. 2017",
            "M",
            sets=fast(60),
            samples=100,
        ),
    ]
    seen = ("data.seed={seed}",)
    labels = [
        Row("m1", "M1, 100 labels, errors", "m1", "error of codes", 11.82, KINGMA, "S", own=seen, samples=1),
        *(
            Row(
                name,
                f"{name.upper()}, 100 labels, errors; ours has a convolutional classifier and `invariance`",
                name,
                "error",
                value,
                source,
                stderr=stderr,
                sets=sets,
                own=seen,
                samples=1,
            )
            for name, source, value, stderr, sets in (
                ("m2", KINGMA, 11.97, 1.71, M2),
                ("adgm", MAALOE, 0.96, 0.02, ()),
                ("sdgm", MAALOE, 1.32, 0.07, ()),
            )
        ),
        Row(
            "m1-m2",
            "M1 + M2, 100 labels, errors",
            "m1-m2",
            "error",
            3.33,
            KINGMA,
            stderr=0.14,
            own=(*seen, "data.codes={m1}"),
            samples=1,
        ),
        Row(
            "clusters",
            "clusters without labels, accuracy",
            "cluster-mnist",
            "accuracy",
            94.46,
            "Jiang et al. 2017 (VaDE)",
            own=seen,
            samples=1,
        ),
    ]
    factors = [
        Row(
            "sprites-beta-tc",
            "beta-TC-VAE, beta 6, mutual information gap",
            "beta-tc-sprites",
            "mig",
            0.10,
            "median of beta-VAEs, Locatello et al. 2019",
            "M",
            samples=1,
            differs=SMALL_SPRITES,
        ),
        Row(
            "sprites-factor",
            "FactorVAE, gamma 6, its own score",
            "factor-sprites",
            "factor-vae",
            0.66,
            "median of beta-VAEs, Locatello et al. 2019",
            "M",
            samples=1,
            differs=SMALL_SPRITES,
        ),
    ]
    lessons = [
        Row(
            "grey",
            "784-400-20, grey MNIST, the loss of the example of PyTorch after 7 epochs",
            "grey-mnist",
            "-elbo",
            106.66,
            "a public notebook",
            sets=("training.epochs=7",),
            samples=10,
        ),
    ]
    images = [
        Row(
            "two-stage",
            "two-stage VAE, FID of samples",
            "iwae-mnist",
            "fid",
            None,
            "Dai & Wipf 2019",
            gpu=True,
            waits=INCEPTION,
        ),
        Row("rae", "RAE, FID of samples", "iwae-mnist", "fid", None, "Ghosh et al. 2020", gpu=True, waits=INCEPTION),
    ]
    return (*bounds, *more, *vamp, *static, *labels, *factors, *lessons, *images)


ROWS: dict[str, Row] = {row.name: row for row in _rows()}
