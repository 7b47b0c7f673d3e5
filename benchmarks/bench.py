"""The speed of vaekit, measured against its peers, plain loops, hand-written models and floors.

python benchmarks/bench.py --report benchmarks/report.md --peers .venv/peers/bin/python     (or: make bench)

Needs MNIST (see `vaekit datasets mnist`), a quiet machine, an hour or two, and for the section "large" 5 GB in
`--scratch`. The peers are packages of others, installed from benchmarks/requirements.txt into an environment of their
own, and driven by the programs in benchmarks/peers; without `--peers`, or where one is missing, they are reported as
not installed. What sections measure and what is expected is in sections.py, how they measure in measuring.py. All
sides have the threads that they take by themselves.

Results are kept in `--cache` after every round: with `--only`, the report has those sections anew and the others as
they were last measured, each with its own date. With `--quick` all is so small that the numbers mean nothing: it
shows that every side works.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from machine import where
from measuring import Outcome, Round, Section, take_round
from reporting import section_text, summary
from sections import SECTIONS, Setting

PEERS = ("torch", "pyro-ppl", "pythae", "lightning", "jax", "optax", "numpy")


def versions(peers: str) -> str:
    """Those of the peers' packages."""
    code = "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    if not peers:
        return "Peers: none."
    done = subprocess.run([peers, "-c", code, *PEERS], capture_output=True, text=True, check=False)
    return f"Peers: {done.stdout.strip()}." if not done.returncode else "Peers: not all are installed."


def failure(section: Section) -> str:
    """Prepare a section; in words what stood against it, if anything did."""
    try:
        section.prepare()
    except Exception as error:  # whatever it is, the other sections are still to be measured
        return f"failed: {error}".splitlines()[0]
    return ""


def read(cache: Path) -> dict[str, dict]:
    return json.loads(cache.read_text(encoding="utf-8")) if cache.exists() else {}


def rounds_of(kept: dict) -> list[Round]:
    return [{name: Outcome(**outcome) for name, outcome in each.items()} for each in kept["rounds"]]


def text_of(kept: dict[str, dict], setting: Setting, report: Path | None) -> str:
    """The report of all sections that have been measured."""
    small = Setting(setting.folder, setting.scratch, setting.peers, quick=True)
    found = {
        name: (make(small if kept[name]["quick"] else setting), rounds_of(kept[name]), kept[name]["made"])
        for name, make in SECTIONS.items()
        if name in kept
    }
    lines, before = ["# Speed", "", *summary([(section, rounds) for section, rounds, _ in found.values()])], ""
    for name, (section, rounds, made) in found.items():
        lines.append(section_text(name, section, rounds, "Made as the one before." if made == before else made, report))
        before = made
    return "\n".join(lines)


def chosen(given: str) -> list[str]:
    names = given.split(",")
    for name in names:
        if name not in SECTIONS:
            raise argparse.ArgumentTypeError(f"unknown {name!r}; accepted: {', '.join(SECTIONS)}")
    return names


def bench(names: Sequence[str], setting: Setting, rounds: int | None, cache: Path, report: Path | None) -> str:
    """Measure these sections, and write the report after each."""
    text = ""
    for name in names:
        section = SECTIONS[name](setting)
        print(name, flush=True)
        made = f"{where()} {versions(setting.peers)} Command: `python {' '.join(sys.argv)}`"
        made = f"Quick: these numbers mean nothing. {made}" if setting.quick else made
        unprepared = failure(section)
        if unprepared:
            print(f"  {unprepared}", flush=True)
        taken: list[Round] = []
        for number in range(1 if unprepared else rounds or section.rounds):
            failed = {side.name: Outcome(failure=unprepared) for side in section.sides}
            taken.append(failed if unprepared else take_round(section.sides, setting.folder, number))
            kept = read(cache)
            kept[name] = {
                "made": made,
                "quick": setting.quick,
                "rounds": [{side: asdict(outcome) for side, outcome in each.items()} for each in taken],
            }
            cache.write_text(json.dumps(kept), encoding="utf-8")
        text = text_of(read(cache), setting, report)
        if report:
            report.write_text(text, encoding="utf-8")
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--peers", default="", help="a Python that has the peers")
    parser.add_argument("--only", type=chosen, default=list(SECTIONS), metavar="NAME[,NAME]", help=", ".join(SECTIONS))
    parser.add_argument("--rounds", type=int, help="default: what each section has")
    parser.add_argument("--cache", type=Path, default=Path(__file__).with_name("report.json"))
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "vaekit-bench")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    given = parser.parse_args()
    # Not resolved: the links of a virtual environment lead out of it.
    peers = str(Path(given.peers).absolute()) if given.peers else ""
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), given.scratch.absolute(), peers, given.quick)
        print(bench(given.only, setting, given.rounds, given.cache, given.report))
