"""Damages the files of runs at random, and looks what loading, history and resuming say.

python benchmarks/corruption.py --count 10000 --folder corrupted --report benchmarks/corruption.md

A damage is of bytes (bits flipped, bytes put in, taken out, exchanged, zeroed; a file cut, emptied, doubled, replaced
by another, a folder, a pipe) or of what a file says (a value of JSON of another type, size, depth or name; a tensor of
another shape, type, name or without numbers). One that its author signs, by writing the sums anew or taking them out,
is an edit: it may be accepted, and must do no harm. Of any other:

- what is loaded is what was written, or one line of error or a warning says otherwise ("silent" counts the rest);
- resuming ends in the very weights that it does without damage, or says why not;
- every error is a `ValueError` of vaekit in one line; no process dies, none takes more than a gigabyte beyond what a
  run takes, or more than twenty seconds of processor time.

Each damage is made from the seed and its number alone: `--only 1234` repeats one and says what came of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from corruption_outcomes import BYTES, SECONDS, one
from corruption_runs import RUNS, Reference, prepared
from machine import heading

BLOCK = 50
"""Damages of a process."""


def block(numbers: list[int], seed: int, references: list[Reference], work: Path) -> list[dict[str, Any]]:
    """The results of some damages, made in a process of their own, which may die of them."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            resource.setrlimit(resource.RLIMIT_AS, (32 * BYTES, 32 * BYTES))  # all that is mapped, used or not
            with os.fdopen(write, "w") as out:
                for number in numbers:
                    signal.alarm(20 * SECONDS)  # a processor may have more to do
                    out.write(json.dumps(one(number, seed, references, work)) + "\n")
                    out.flush()
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as lines:
        results = [json.loads(line) for line in lines]
    status = os.waitpid(child, 0)[1]
    if status:
        dead = numbers[len(results)]
        results.append(
            {"number": dead, "what": "?", "signed": False, "wrong": [f"crash: status {status}"], "found": []}
        )
        results += block(numbers[len(results) :], seed, references, work)
    return results


def shared(count: int, seed: int, references: list[Reference], folder: Path, jobs: int) -> list[dict[str, Any]]:
    """The results of `count` damages, made by some processes at a time."""
    children = []
    for job in range(jobs):
        if not (child := os.fork()):
            try:
                work = folder / f"job-{job}"
                work.mkdir()
                with open(folder / f"job-{job}.jsonl", "w", encoding="utf-8") as out:
                    for start in range(job * BLOCK, count, jobs * BLOCK):
                        for each in block(list(range(start, min(start + BLOCK, count))), seed, references, work):
                            out.write(json.dumps(each) + "\n")
                            out.flush()
                            if each["wrong"]:
                                print(json.dumps(each), flush=True)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise SystemExit("a job has failed")
    lines = [line for job in range(jobs) for line in (folder / f"job-{job}.jsonl").read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda each: each["number"])


def table(results: list[dict[str, Any]]) -> list[str]:
    lines = ["| damage | made | refused | warned of | nothing that is read changed | accepted edits | wrong |"]
    lines.append("|---|---|---|---|---|---|---|")
    rows: dict[str, Counter[str]] = {}
    for each in results:
        file, _, how = each["what"].partition(": ")
        kind = file.split("/")[-1].split("-")[0].replace("epoch", "state")
        row = rows.setdefault(f"{kind}, {how.split(',')[0].removeprefix('change_')}", Counter())
        row["made"] += 1
        first = (each["found"] or ["wrong"])[0]
        row["edit" if each["signed"] and first == "same" else first] += 1
        row["wrong"] += bool(each["wrong"])
    total: Counter[str] = sum(rows.values(), Counter())
    for name, row in [*sorted(rows.items()), ("all", total)]:
        counts = [f"{row[key]:,}" for key in ("made", "error", "warning", "same", "edit", "wrong")]
        lines.append(f"| {name} | {' | '.join(counts)} |")
    return lines


def report(results: list[dict[str, Any]], seed: int) -> str:
    resumed = Counter(found for each in results for found in each["found"] if "resumed" in found)
    wrong = Counter(reason.split(":")[0] for each in results for reason in each["wrong"])
    lines = [
        heading("Damaged runs"),
        f"{len(results):,} damages of {len(RUNS)} kinds of runs, seed {seed}: {wrong['silent']} silent, "
        f"{wrong['traceback'] + wrong['no line']} tracebacks, {wrong['crash']} crashes, {wrong['slow']} slow, "
        f"{wrong['memory']} beyond memory. Resumed after one: {resumed['resumed']:,} of {sum(resumed.values()):,}, "
        "every one that is no edit to the weights of the undamaged run, bit for bit; the others were refused.",
        "",
        *table(results),
        "",
    ]
    lines += [f"- {each['number']}, {each['what']}: {'; '.join(each['wrong'])}" for each in results if each["wrong"]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(asked.folder, ignore_errors=True)
    asked.folder.mkdir(parents=True)
    references = prepared(asked.folder)
    if asked.only is not None:
        print(json.dumps(one(asked.only, asked.seed, references, asked.folder), indent=2))
        return
    results = shared(asked.count, asked.seed, references, asked.folder, asked.jobs)
    text = report(results, asked.seed)
    print(text)
    if asked.report:
        asked.report.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
