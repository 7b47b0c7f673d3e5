"""Random specs over all named parts: each is trained, loaded, resumed, scored and drawn from, or refused in one line.

python benchmarks/fuzz.py --specs 2000 --report benchmarks/fuzz.md

What is drawn is in tests/specs_for_tests.py, what has to hold in tests/checks_for_tests.py. A spec is known by its
number and `--seed`; `--only 17` shows it and what became of it. Each takes some tenths of a second on one thread. With
`--results FILE`, what became of them is kept there, line by line, and those that are there are not tried again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from checks_for_tests import Found, check
from machine import heading
from specs_for_tests import spec_of, write_data

from vaekit.priors import mixtures

OUTPUTS = 20
"""Of every so many specs one has its files written, too."""


def looked_at(number: int, seed: int, data: Path, work: Path) -> Found:
    torch.set_num_threads(1)
    mixtures.SHORT_RUNS = mixtures.LONG_RUNS = 2  # starts of a mixture that is fitted to codes: hundreds, else
    folder = work / f"{seed}-{number}"
    try:
        return check(number, spec_of(number, data, seed), folder, outputs=number % OUTPUTS == 0)
    except Exception as error:  # of the checks themselves
        return Found(number, "failed", faults=[f"the check itself: {type(error).__name__}: {error}"])


def found(numbers: Sequence[int], seed: int, jobs: int, work: Path) -> Iterator[Found]:
    """What became of each spec, as they are done."""
    data = work / "data"
    data.mkdir(exist_ok=True)
    write_data(data)
    if jobs == 1:
        yield from (looked_at(number, seed, data, work) for number in numbers)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(looked_at, number, seed, data, work) for number in numbers]
        yield from (task.result() for task in as_completed(tasks))


def kind(message: str) -> str:
    """A message without its numbers and names, to count those of one kind."""
    message = re.sub(r"'[^']*'", "'…'", message)
    return re.sub(r"[-+]?\d[\d.e+-]*", "#", message)[:160]


def report(all_found: Sequence[Found], seed: int) -> str:
    """The table of what became of them, the faults, and why those that were refused were."""
    faulty = [each for each in all_found if each.faults]
    status = Counter(each.status for each in all_found)
    refused = Counter(kind(each.message) for each in all_found if each.status == "refused")
    warned = Counter(kind(warning) for each in all_found for warning in each.warnings)
    seconds = sorted(each.seconds for each in all_found)
    lines = [
        heading("Random specs"),
        f"**{len(faulty)} of {len(all_found):,} specs have a fault** (seed {seed}; {sum(seconds) / 60:.0f} "
        f"minutes in all, the median {seconds[len(seconds) // 2]:.2f} s, beside other work).",
        "",
        "Each is drawn over all named parts, their options, data of every domain and training; 24 rows, two epochs. It "
        "is trained and loaded, with the same weights, scores, codes, samples and reconstructions; killed in its last "
        "epoch and resumed, to the same bits; every parameter changes; no record or score is other than a number; the "
        "NLL is not above -ELBO; samples lie in the domain. Or it is refused in one line, and nothing is left behind.",
        "",
        "| became of them | specs |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in status.most_common()),
        "",
        "## Faults",
        "",
        *([f"- {each.number} ({each.status}): {'; '.join(each.faults)[:400]}" for each in faulty] or ["None."]),
        "",
        "## Why some were refused",
        "",
        *(f"- {count} × {text}" for text, count in refused.most_common(40)),
        "",
        "## Warnings",
        "",
        *([f"- {count} × {text}" for text, count in warned.most_common(20)] or ["None."]),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--only", type=lambda given: [int(each) for each in given.split(",")], help="these numbers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--results", type=Path, help="where what became of them is kept")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    kept = given.results.read_text(encoding="utf-8").splitlines() if given.results and given.results.exists() else []
    results = [Found(**json.loads(line)) for line in kept]
    known = {each.number for each in results}
    numbers = given.only or [n for n in range(given.first, given.first + given.specs) if n not in known]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        for each in found(numbers, given.seed, given.jobs, Path(work)):
            results.append(each)
            if given.results:
                with open(given.results, "a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(each)) + "\n")
            if given.only:
                print(json.dumps(spec_of(each.number, Path(work) / "data", given.seed), indent=1))
            if each.faults or given.only:
                print(each.number, each.status, each.message, *each.faults, sep="\n    ", flush=True)
            elif len(results) % 50 == 0:
                print(f"{len(results)} specs, {time.perf_counter() - started:.0f} s", flush=True)
    results.sort(key=lambda each: each.number)
    text = report(results, given.seed)
    print(text)
    if given.report:
        given.report.write_text(text, encoding="utf-8")
    sys.exit(any(each.faults for each in results))
