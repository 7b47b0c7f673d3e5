"""Which likelihood is reached in which time of training on dynamic MNIST, 784-200-200-50 beside a plain loop.

python benchmarks/quality.py --minutes 10 --cache runs/quality --report benchmarks/quality.md

Each of SETTINGS is a recipe with options; without another recipe it is 784-200-200-50, k = 1. `plain` trains the same
network with the same batches, rates and optimiser by a loop of plain PyTorch, `JAX` by a compiled scan, with `--peers
PYTHON`, that of an environment with jax and optax. A run is made as long as fits into
`--minutes` of training, by the pace of a few epochs, so that every schedule ends when the time does. On the way, at
some epochs, its weights (the averaged ones, where there are such) are scored: NLL of the first `--rows` test images,
binarised once by a seed, from `--samples` importance samples, of fewer where a network is slow. The time is that of
training alone: looks and scores stop the clock on both sides. Interrupted, it goes on; what is scored is kept in
`--cache`, and the report is made of all that is there. Needs MNIST, see `vaekit datasets`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from quality_points import Points, points_of
from quality_report import drawn, report
from quality_settings import JAX
from quality_training import SIDES, test_images


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of training, each side")
    parser.add_argument(
        "--epochs", type=int, help="in place of --minutes, where the pace is known and an epoch is long"
    )
    parser.add_argument("--only", action="append", choices=SIDES, help="a side; repeatable")
    parser.add_argument("--peers", help="a Python that has jax and optax")
    parser.add_argument("--rows", type=int, default=1000, help="test images")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/quality"), help="where runs and scores are kept")
    parser.add_argument("--report", type=Path)
    return parser.parse_args()


def main() -> None:
    given = parsed()
    x, files = test_images(given.rows), {}
    length = f"epochs={given.epochs}" if given.epochs else f"minutes={given.minutes:g}"
    for name in SIDES:
        points = points_of(name, given, length)
        asked = name in given.only if given.only else name != JAX or given.peers
        if asked and not points.whole:
            SIDES[name](name, given, points, x)
        files |= dict.fromkeys(sorted(given.cache.glob(f"*/seed=*/{points.file.name}")), name)
    several = [name for name, times in Counter(files.values()).items() if times > 1]
    found = {
        f"{name}; {file.parents[1].name}, {file.parent.name}" if name in several else name: Points(file).read()
        for file, name in files.items()
    }
    text = report(found)
    if given.report and found:
        picture = given.report.with_suffix(".svg")
        drawn(found, picture)
        given.report.write_text(f"{text}\n![NLL against time]({picture.name})\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
