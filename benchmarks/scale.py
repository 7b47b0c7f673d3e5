"""What eight GPUs and a billion images would take, on paper: from parts that are measured here, and from assumptions
that are said.

Measured: what a recipe computes for an image (operations, counted), what it keeps for its gradients and in weights, how
fast JPEGs are decoded, and what an index of shards takes. Nothing here has run on a GPU.

    python benchmarks/scale.py --report benchmarks/scale.md
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import heading
from PIL import Image
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.data.image_files import read_image
from vaekit.data.members import members_of
from vaekit.objectives import OBJECTIVES
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.targets import resolve

IMAGES, GPUS = 10**9, 8
PEAK, SHARE = 989e12, 0.35
"""Operations a second of a GPU (an H100 in bfloat16, dense), and what share of them convolutions reach: assumed."""
CASES = {"images": 64, "kl-f8": 256, "vdvae-cifar": 32}
"""Recipes, and the height and width of images."""
COUNT = 500
"""JPEGs that are decoded, and members that are looked up."""


@dataclass
class Parts:
    """What one image takes of a recipe."""

    weights: int
    flops: float
    kept: int


def parts_of(recipe: str, size: int) -> Parts:
    """By one image, forwards and back, on the meta device, which counts and computes nothing."""
    likelihood = ["model.likelihood=discretized-logistic-mixture"] if recipe == "images" else []
    spec = resolve(recipe, ["data.name=digits", *likelihood])
    domain = Domain("real") if spec.data.domain == "real" else Domain("grey", levels=256)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage._cdata, storage.nbytes())
        alive.append(storage)
        return tensor

    alive: list[torch.UntypedStorage] = []  # so that none has the address of another
    with torch.device("meta"):
        model = build_model(spec.model, Schema(event_shape=(3, size, size), domain=domain))
        x = torch.zeros(1, 3, size, size)
        with FlopCounterMode(display=False) as counted, saved_tensors_hooks(keep, lambda tensor: tensor):
            OBJECTIVES["elbo"]()(model.trace(Batch(x)), 0.5).loss.backward()
    for each in model.parameters():
        kept.pop(each.untyped_storage()._cdata, None)
    return Parts(sum(each.numel() for each in model.parameters()), counted.get_total_flops(), sum(kept.values()))


def jpeg(size: int) -> bytes:
    """A picture as smooth as photographs are: noise at three sizes."""
    rng, whole = np.random.default_rng(0), np.zeros((size, size, 3))
    for coarse in (4, 16, 64):
        noise = Image.fromarray(rng.integers(0, 256, (coarse, coarse, 3), np.uint8))
        whole += np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC), float) * 2 / coarse**0.5
    file = io.BytesIO()
    Image.fromarray((whole / whole.max() * 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def reading() -> dict[str, float]:
    """Seconds of a core to decode and resize an image, and to look up a member; bytes of an image, and of an entry."""
    found, content = {}, jpeg(320)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.jpg"
        file.write_bytes(content)
        read_image(str(file), 256)
        started = time.process_time()
        for _ in range(COUNT):
            read_image(str(file), 256)
        found["decode"] = (time.process_time() - started) / COUNT
        shard = Path(folder) / "a.tar"
        with tarfile.open(shard, "w") as tar:
            for i in range(COUNT):
                info = tarfile.TarInfo(f"{i:09}.jpg")
                info.size = 1000
                tar.addfile(info, io.BytesIO(bytes(1000)))
        started = time.process_time()
        members_of(shard)
        found["index"] = (time.process_time() - started) / COUNT
        tracemalloc.start()
        members = members_of(shard)
        found["entry"] = tracemalloc.get_traced_memory()[0] / len(members)
        tracemalloc.stop()
    return found | {"bytes": len(content)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    read = reading()
    lines = [
        heading("Eight GPUs and a billion images, on paper"),
        f"Assumed: GPUs of {PEAK / 1e12:.0f} Tflop/s of which {SHARE:.0%} are reached; weights and their Adam in "
        "float32, activations as kept here in float32 (half of it in bfloat16). Measured here: all else. Nothing of it "
        "has run on a GPU.",
        "",
        "| recipe, images | weights | Gflop an image | kept an image | weights, gradients, Adam | images/s of eight | "
        "days for a pass | all-reduce a step, each GPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for recipe, size in CASES.items():
        one = parts_of(recipe, size)
        speed = GPUS * PEAK * SHARE / one.flops
        moved = 2 * (GPUS - 1) / GPUS * 4 * one.weights
        row = [f"{recipe}, {size}×{size}", f"{one.weights / 1e6:.1f} M", f"{one.flops / 1e9:.1f}"]
        row += [f"{one.kept / 2**20:,.0f} MiB", f"{16 * one.weights / 2**30:.2f} GiB", f"{speed:,.0f}"]
        row += [f"{IMAGES / speed / 86400:.1f}", f"{moved / 2**20:,.0f} MiB"]
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    speed = GPUS * PEAK * SHARE / parts_of("kl-f8", CASES["kl-f8"]).flops
    lines += [
        "",
        f"- **Decoding.** A JPEG of 320×320 ({read['bytes'] / 1e3:.0f} kB) to 256×256 takes {1e3 * read['decode']:.1f} "
        f"ms of a core here: `kl-f8` on eight GPUs would keep {speed * read['decode']:.0f} cores busy. Each "
        "process decodes its own rows alone.",
        f"- **Reading.** A billion of these are {IMAGES * read['bytes'] / 1e12:.0f} TB; `kl-f8` reads "
        f"{speed * read['bytes'] / 1e6:,.0f} MB a second.",
        f"- **Where images lie.** To look up a member of a shard takes {1e6 * read['index']:.0f} µs, a billion "
        f"{IMAGES * read['index'] / 3600:.0f} hours, one after another; an entry in memory {read['entry']:.0f} bytes, "
        f"a billion {IMAGES * read['entry'] / 2**30:.0f} GiB **in each process**. So today's index is for some tens of "
        "millions of images; a billion needs offsets in mapped arrays (16 bytes each, 15 GiB, shared by the processes "
        "of a machine) that are written once by as many processes as there are shards to read.",
        f"- **Order.** A permutation of a billion rows is {8 * IMAGES / 2**30:.0f} GiB in each process while it is "
        "drawn, and reads images here and there: disks that seek need an order by shards.",
    ]
    print("\n".join(lines[-5:]))
    if given.report:
        given.report.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
