"""What the speed benchmark compares: its sections, each with its sides and its targets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from gpu_setups import pictures
from measuring import HERE, Panel, Quantity, Section, Side, Target
from sides import pairs

import vaekit

PYTHON = sys.executable
SECONDS = Quantity("seconds", "seconds")
MEMORY = Quantity("memory", "peak memory, MB", 0)
TEST = Quantity("test", "test loss, nats")
LOSS = Quantity("loss", "training loss, nats")
PARAMETERS = Quantity("parameters", "parameters", 0)
KERNELS = {"MKL": "mkl", "oneDNN": "onednn"}
BLOCK = 100_000
"""Rows of the large file that are written at a time."""


@dataclass(frozen=True)
class Setting:
    """Where the sides work, with what Python the peers are run, and whether all is to be small."""

    folder: Path
    scratch: Path
    peers: str
    quick: bool

    def size(self, usual: int, quick: int) -> int:
        """A number of rows, epochs or the like."""
        return quick if self.quick else usual


def own(name: str, script: str, *arguments: object) -> Side:
    """A side that is a script of this folder."""
    return Side(name, (PYTHON, str(HERE / script), *map(str, arguments)))


def trained(name: str, recipe: str, epochs: int, *sets: str, data: str | None = None) -> Side:
    """vaekit's own training of a recipe."""
    options = [part for each in sets for part in ("--set", each)] + ([] if data is None else ["--data", data])
    return own(name, "sides.py", "train", recipe, "--epochs", epochs, *options)


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16: without, they take ten times as long."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def write_mnist(setting: Setting) -> None:
    """MNIST as the peers get it."""
    rows = setting.size(60_000, 2560)
    splits = vaekit.load_dataset("mnist", validation=0, train=rows).splits
    x = {f"x_{name}": split.x.reshape(len(split), -1) for name, split in splits.items()}
    y = {f"y_{name}": split.y.astype(np.uint8) for name, split in splits.items()}
    np.savez(setting.folder / "mnist.npz", **x, **y)


def epoch(setting: Setting) -> Section:
    epochs, rows = setting.size(7, 2), setting.size(60_000, 2560)
    data = ("--data", str(setting.folder / "mnist.npz"), "--epochs", str(epochs))
    few = (f"data.train={rows}", "training.engine=inductor")  # which longer runs are by themselves
    narrow = computes_bfloat16()

    def peer(name: str, needs: str, script: str, *arguments: str) -> Side:
        return Side(name, (setting.peers, str(HERE / "peers" / script), *arguments, *data), needs)

    def floor(name: str, by: str, dtype: str) -> Side:
        return own(name, "floors.py", "step", by, "--dtype", dtype, "--rows", rows, "--epochs", epochs)

    plain = own("plain loop", "grey_mnist.py", "--side", "plain", "--epochs", epochs, "--rows", rows)
    eager = own("eager, by index", "sides.py", "plain", "plain", "--epochs", epochs, "--set", few[0])
    sides = (
        trained("vaekit", "grey-mnist", epochs, *few),
        *([trained("vaekit, bfloat16", "grey-mnist", epochs, *few, "training.precision=bfloat16")] if narrow else []),
        plain,
        eager,
        peer("Pyro", "pyro", "pyro_svi.py"),
        peer("pythae", "pythae", "pythae_vae.py", "train"),
        peer("Lightning", "lightning", "lightning_vae.py"),
        peer("JAX", "optax", "jax_vae.py"),
        floor("products, MKL", "mkl", "float32"),
        floor("products, oneDNN", "onednn", "float32"),
        *([floor(f"products, {name}, bfloat16", by, "bfloat16") for name, by in KERNELS.items()] if narrow else []),
    )

    def times(what: str, of: str, bound: float, same: str | None = "test") -> Target:
        return Target(f"{what} / vaekit", of, ("vaekit",), bound, same=same)

    floors = [
        Target(
            f"vaekit{kind} / the fastest of its products alone",
            f"vaekit{kind}",
            (f"products, MKL{kind}", f"products, oneDNN{kind}"),
            bound,
            at_least=False,
        )
        for kind, bound in (("", 1.4), (", bfloat16", 2.0))[: 1 + narrow]
    ]
    return Section(
        "An epoch of training",
        f"MNIST, {rows:,} grey images, 784-400-20-400-784, ReLU, batches of 128, Adam 1e-3, float32 unless it says "
        "otherwise, nothing binarised. The plain loop and Pyro (SVI, Trace_ELBO) read images one by one through a "
        "DataLoader and transforms, as their lesson and their tutorial do; pythae and Lightning get floats in memory, "
        "by the DataLoader of their trainers or of a TensorDataset; JAX compiles a scan over the batches of an epoch, "
        "without the rows that fill none. Products alone are the eleven of a step, mean and log-variance side by side, "
        "by torch's own choice (MKL on most processors) and by oneDNN. vaekit is compiled at step 1,000, as runs of "
        "ten thousand steps are by themselves; its first epochs count nowhere. bfloat16 is timed where a processor has "
        "it.",
        sides,
        (SECONDS, TEST, MEMORY),
        (
            times("plain loop", "plain loop", 4.0),
            times("eager, by index", "eager, by index", 1.0, same=None),
            times("Pyro", "Pyro", 4.0),
            times("pythae", "pythae", 2.0),
            times("Lightning", "Lightning", 2.0),
            times("JAX", "JAX", 1.0),
            *floors,
        ),
        drawn=True,
        rounds=5,
        prepare=partial(write_mnist, setting),
    )


def process(setting: Setting) -> Section:
    epochs, rows = setting.size(10, 1), setting.size(60_000, 2560)
    vaekit_script = str(Path(PYTHON).with_name("vaekit"))
    sets = ("--set", f"data.train={rows}", "--set", "training.device=cpu")
    arguments = ("train", "grey-mnist", "--epochs", str(epochs), *sets, "--out", "process", "--overwrite")
    script = (PYTHON, str(HERE / "grey_mnist.py"), "--side", "plain", "--epochs", str(epochs), "--rows", str(rows))
    return Section(
        "A whole process",
        f"From the start of the process to its end, {epochs} epochs on {rows:,} images: `vaekit train grey-mnist`, "
        "with its checkpoints, its test pass and pictures after every epoch, its final likelihood of 200 samples and "
        "its report; and the plain loop as a script, with its test pass after every epoch.",
        (Side("vaekit train", (vaekit_script, *arguments), whole=True), Side("plain loop", script, whole=True)),
        (SECONDS,),
        (Target("vaekit train / plain loop", "vaekit train", ("plain loop",), 0.5, at_least=False),),
    )


def train_scored(setting: Setting) -> None:
    """The run that is scored, and its weights for a peer."""
    write_mnist(setting)
    folder = setting.folder / "scored"
    sets = [f"data.train={setting.size(60_000, 2560)}", "training.device='cpu'"]
    run = vaekit.train("grey-mnist", folder, epochs=setting.size(3, 1), sets=sets, overwrite=True)
    network, z = run.model, run.model.posteriors["z"]
    layers = (network.encoder.layers[0], z.head, network.decoder.layers[0], network.decoder.layers[2])
    first, head, hidden, last = ([layer.weight.detach(), layer.bias.detach()] for layer in layers)
    means, log_variances = zip(*(part.chunk(2) for part in head), strict=True)
    named = {"fc1": first, "fc21": means, "fc22": log_variances, "fc3": hidden, "fc4": last}
    weights = {f"{name}.weight": weight.numpy() for name, (weight, _) in named.items()}
    biases = {f"{name}.bias": bias.numpy() for name, (_, bias) in named.items()}
    np.savez(setting.folder / "weights.npz", **weights, **biases)


def nll(setting: Setting) -> Section:
    samples, images, few = setting.size(5000, 200), setting.size(5000, 50), setting.size(10, 2)
    scores = own("vaekit", "sides.py", "nll", "scored", "--samples", samples, "--images", images, "--few", few)
    of = ("--data", "mnist.npz", "--weights", "weights.npz", "--images", str(few), "--samples", str(samples))
    peer = Side("pythae", (setting.peers, str(HERE / "peers" / "pythae_vae.py"), "nll", *of), "pythae")
    floors = [
        own(f"products, {name}", "floors.py", "decoder", by, "--draws", samples * images // 5)
        for name, by in KERNELS.items()
    ]
    each = Quantity("each", "µs per image and sample", 3)
    products = tuple(side.name for side in floors)
    return Section(
        "Likelihoods",
        f"`vaekit.evaluate(model, test, {samples})` on {images:,} images, against the decoder's two products for a "
        f"fifth as many draws, {2000} at a time; and pythae's `get_nll` of {samples} samples with the same weights on "
        f"{few} images, 100 at a time, which is the batch size that it has by itself. NLL is that of these few.",
        (scores, peer, *floors),
        (SECONDS, each, Quantity("nll", "NLL, nats"), MEMORY),
        (
            Target("vaekit / the fastest of its products alone", "vaekit", products, 1.35, False, "each"),
            Target("pythae / vaekit", "pythae", ("vaekit",), 20.0, True, "each", same="nll"),
        ),
        prepare=partial(train_scored, setting),
    )


def memory(setting: Setting) -> Section:
    epochs, rows = setting.size(7, 1), setting.size(60_000, 2560)
    return Section(
        "Memory",
        f"The most that a process has resident while it trains grey-mnist on {rows:,} images, {epochs} epochs, and "
        "after nothing but `import torch`.",
        (own("import torch", "sides.py", "torch"), trained("vaekit", "grey-mnist", epochs, f"data.train={rows}")),
        (MEMORY,),
        (Target("vaekit - import torch, MB", "vaekit", ("import torch",), 400.0, False, "memory", less=True),),
    )


def write_rows(path: Path, rows: int) -> None:
    """Rows (N, 28, 28) of bytes 0 and 1, each near one of ten prototypes, a block at a time."""
    if path.exists():
        return
    rng = np.random.default_rng(0)
    prototypes = rng.integers(10, 246, (10, 28, 28), np.uint8)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, 28, 28)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, BLOCK):
            n = min(BLOCK, rows - start)
            drawn = rng.integers(0, 256, (n, 28, 28), np.uint8) < prototypes[rng.integers(0, 10, n)]
            file.write(drawn.view(np.uint8).data)
    unfinished.rename(path)


def large(setting: Setting) -> Section:
    rows, few, steps = setting.size(6_000_000, 60_000), setting.size(60_000, 30_000), setting.size(4000, 700)
    paths = [setting.scratch / f"rows-{n}.npy" for n in (few, rows)]
    names = [f"{n:,} rows" for n in (few, rows)]
    warm_up = setting.size(500, 250)

    def prepare() -> None:
        setting.scratch.mkdir(parents=True, exist_ok=True)
        for n, path in zip((few, rows), paths, strict=True):
            write_rows(path, n)

    rate, private = Quantity("rate", "rows/s", 0), Quantity("own", "its own memory, MB", 0)
    return Section(
        "Data larger than memory",
        f"grey-mnist on {rows:,} synthetic binary rows of 784 bytes in a memory-mapped .npy file, against {few:,} of "
        f"the kind: rows per second in training, of steps {warm_up:,} to {steps:,}. Its own memory is the most that a "
        "process had without the pages of files, which the system takes back when it needs them; the peak has these, "
        "too. Ready is the time from the call to the first step, all rows checked and hashed.",
        tuple(
            own(name, "sides.py", "stream", path, "--steps", steps, "--warm-up", warm_up)
            for name, path in zip(names, paths, strict=True)
        ),
        (rate, Quantity("ready", "ready after, s"), private, MEMORY),
        (
            Target(f"{names[1]} / {names[0]}, rows/s", names[1], (names[0],), 0.9, True, "rate"),
            Target(f"{names[1]} - {names[0]}, own memory, MB", names[1], (names[0],), 300.0, False, "own", less=True),
        ),
        prepare=prepare,
    )


def by_hand(setting: Setting, names: dict[str, str], *bounds: float) -> tuple[tuple[Side, ...], tuple[Target, ...]]:
    """The sides and targets of pairs: a recipe, and the same model in eager PyTorch."""
    epochs, sides, targets = setting.size(6, 2), [], []
    for name, title in names.items():
        pair = pairs()[name]
        # So many that the steps before vaekit records one are over with the first epoch, which is the warm-up.
        sets = (*pair.sets, f"data.train={setting.size(42_000 if name == 'full-rank' else 30_000, 1280)}")
        sides.append(trained(f"{title}, vaekit", pair.recipe, epochs, *sets, data=pair.data))
        given = ("plain", name, "--epochs", epochs, "--set", sets[-1])
        sides.append(own(f"{title}, by hand", "sides.py", *given))
        of, against = f"{title}, by hand", (f"{title}, vaekit",)
        targets += [Target(f"{title}: by hand / vaekit", of, against, bound, same="loss") for bound in bounds]
    return tuple(sides), tuple(targets)


SHARE = Quantity("products", "products of matrices, % of the step by hand", 0)


def conv(setting: Setting) -> Section:
    colour, sides, targets = setting.folder / "colour.npz", [], []
    for name, title, rows in (("conv", "28×28", 29_952), ("resnet", "ResNet, 32×32", 1408)):
        pair, epochs = pairs()[name], setting.size(10, 2)
        data = str(colour) if name == "resnet" else None
        # Whole batches: torch.compile is not to be made to compile for those that are not.
        rows = f"data.train={setting.size(rows, 640)}"
        sides.append(trained(f"{title}, vaekit", pair.recipe, epochs, *pair.sets, rows, data=data))
        given = ("plain", name, "--epochs", epochs, "--set", rows, *(("--data", data) if data else ()))
        sides.append(own(f"{title}, by hand", "sides.py", *given))
        sides.append(own(f"{title}, torch.compile", "sides.py", *given, "--compile"))
        for side, bound in (("by hand", 1.3), ("torch.compile", 1.0)):
            what, of, against = f"{title}: {side} / vaekit", f"{title}, {side}", (f"{title}, vaekit",)
            targets.append(Target(what, of, against, bound, quantity="all", same="loss"))
    return Section(
        "Convolutional models",
        "28×28 grey images, two strided convolutions of 32 and 64 channels and a layer of 256 each way, 20 latents; "
        "and a residual network of 32×32 colour images, three levels of 16, 32 and 64 channels, 64 latents: ten epochs "
        "of vaekit, of the same network in eager PyTorch, and of that by `torch.compile`, whatever each compiles "
        "among them; data in memory, fused Adam.",
        tuple(sides),
        (Quantity("all", "seconds of ten epochs", 1), SECONDS, LOSS, PARAMETERS, SHARE, MEMORY),
        tuple(targets),
        rounds=setting.size(3, 1),
        prepare=lambda: pictures(colour, 2000, (3, 32, 32)),
    )


def models(setting: Setting) -> Section:
    names = {
        "conditional": "conditional",
        "iwae": "IWAE, k = 8",
        "full-rank": "full-rank posterior",
        "vamp": "VampPrior",
        "categorical": "relaxed categorical",
        "m2": "M2",
    }
    sides, targets = by_hand(setting, names, 1.0, 1.3)
    return Section(
        "Other models",
        "Epochs of vaekit, and of the same models written by hand in eager PyTorch (`plain_models.py`, "
        "`plain_lessons.py`): data in memory, batches by index, fused Adam. None is to be slower, and those that are "
        "not bound by products of matrices are to be 1.3 times as fast: the column says how much of the hand-written "
        "step these are.",
        sides,
        (SECONDS, LOSS, PARAMETERS, SHARE, MEMORY),
        targets,
    )


def start(setting: Setting) -> Section:
    def python(name: str, code: str) -> Side:
        return Side(name, (PYTHON, "-c", code), whole=True)

    sides = (
        Side("vaekit --help", (str(Path(PYTHON).with_name("vaekit")), "--help"), whole=True),
        python("nothing", "pass"),
        python("import torch", "import torch"),
        python("import vaekit", "import vaekit"),
        python("all of vaekit", "import vaekit; [getattr(vaekit, name) for name in vaekit.__all__]"),
    )
    return Section(
        "Start",
        "Whole processes. `import vaekit` imports what it exports only when it is first used; the last side uses all, "
        "with what draws the pictures of reports.",
        sides,
        (Quantity("seconds", "seconds", 3),),
        (
            Target("vaekit --help, s", "vaekit --help", (), 0.5, False),
            Target("import vaekit - import torch, s", "import vaekit", ("import torch",), 0.3, False, less=True),
        ),
        rounds=setting.size(10, 2),
    )


def growth(setting: Setting) -> Section:
    epochs = setting.size(6, 2)
    trainings = {n: f"train on {n:,}" for n in (setting.size(7500, 640) * 2**i for i in range(4))}
    samples = {n: f"score, K = {n:,}" for n in (setting.size(625, 25) * 2**i for i in range(4))}
    images = {n: f"score {n:,} images" for n in (setting.size(250, 10) * 2**i for i in range(4))}
    fixed_images, fixed_samples = setting.size(250, 10), setting.size(1000, 25)

    def scored(name: str, k: int, n: int) -> Side:
        return own(name, "sides.py", "nll", "scored", "--samples", k, "--images", n, "--few", 1)

    return Section(
        "Growth",
        f"grey-mnist: an epoch against rows, and the likelihood of {fixed_images:,} images against K, and of K = "
        f"{fixed_samples:,} against images; the peak memory of each process. Lines are fitted by least squares.",
        (
            *(trained(name, "grey-mnist", epochs, f"data.train={n}") for n, name in trainings.items()),
            *(scored(name, k, fixed_images) for k, name in samples.items()),
            *(scored(name, fixed_samples, n) for n, name in images.items()),
        ),
        (SECONDS, MEMORY),
        panels=tuple(
            Panel(title, x, quantity, points)
            for quantity, unit in (("seconds", "seconds"), ("memory", "peak memory, MB"))
            for title, x, points in (
                (f"An epoch, {unit}", "rows", trainings),
                (f"Likelihood, {unit}", "samples K", samples),
                (f"Likelihood, {unit}", "images", images),
            )
        ),
        prepare=partial(train_scored, setting),
    )


SECTIONS: dict[str, Callable[[Setting], Section]] = {
    "epoch": epoch,
    "process": process,
    "nll": nll,
    "memory": memory,
    "large": large,
    "conv": conv,
    "models": models,
    "start": start,
    "growth": growth,
}
