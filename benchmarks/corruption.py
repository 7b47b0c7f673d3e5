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
import copy
import json
import logging
import os
import random
import resource
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import heading
from safetensors.torch import save_file

from vaekit import load_run, train
from vaekit.runs import history
from vaekit.training.weights import load_tensors, metadata, model_tensors, save_tensors

SMALL = (
    "model.encoder={name='mlp', hidden=[8]}",
    "model.decoder={name='mlp', hidden=[8]}",
    "model.latents.z.size=2",
    "training.batch_size=32",
    "training.epochs=3",
)
RUNS = {
    "average": ("x.npy", ("training.ema=0.9", "training.clip=5.0")),
    "early stopping": ("x.npy", ("training.early_stopping=2", "training.optimizer=adamw")),
    "flow": ("x.npy", ("model.latents.z.prior={name='flow', hidden=[8, 8]}",)),
    "conditional": ("t.csv", ("data.label=kind", "model.condition=true", "training.optimizer=sgd")),
    "classifier": (
        "t.csv",
        ("data.label=kind", "model.classifier={name='mlp', hidden=[8]}", "data.labels=30", "training.labelled=8"),
    ),
}
MORE = 5
"""Epochs of the resumed runs."""
RESUMED = 10
"""One of so many damaged runs is resumed."""
BLOCK = 50
"""Damages of a process."""
SECONDS = 20
BYTES = 2**30
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    7,
    10**9,
    10**30,
    1e308,
    -0.5,
    "",
    "x",
    "z" * 10_000,
    [],
    {},
    [[[]]],
    [1, "a"],
)


@dataclass
class Reference:
    """What an undamaged run is: its weights, those of its newest states, its records, and the same resumed."""

    folder: Path
    weights: dict[str, torch.Tensor]
    states: list[dict[str, torch.Tensor]]
    described: Any
    records: list[Any]
    resumed: dict[str, torch.Tensor]
    resumed_records: list[Any]


@dataclass
class Said:
    """What vaekit warned of."""

    lines: list[str] = field(default_factory=list)


def untimed(records: Any) -> list[Any]:
    return [(r.epoch, r.step, r.split, r.rows, sorted(r.terms.items())) for r in records]


def weights_of(run: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model_tensors(run.model).items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def prepared(folder: Path) -> list[Reference]:
    """The runs, trained, loaded, cut off and resumed."""
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.normal(size=(80, 4)).astype(np.float32))
    rows = [f"{a:.3f},{b:.3f},{'abc'[i % 3]}" for i, (a, b) in enumerate(rng.normal(size=(80, 2)))]
    (folder / "t.csv").write_text("\n".join(["left,right,kind", *rows]))
    references = []
    for name, (data, sets) in RUNS.items():
        path = folder / name.replace(" ", "-")
        run = train(folder / data, path, sets=[*SMALL, *sets])
        for other in ("cut", "more"):
            shutil.copytree(path, folder / f"{path.name}-{other}")
        (folder / f"{path.name}-cut" / "weights.safetensors").unlink()
        cut = load_run(folder / f"{path.name}-cut")
        more = train(out=folder / f"{path.name}-more", resume=True, epochs=MORE)
        described = (run.spec, run.schema)
        records = [untimed(run.history()), untimed(more.history())]
        states = [weights_of(cut)]
        sorted((cut.path / "checkpoints").glob("epoch-*"))[-1].unlink()
        states.append(weights_of(load_run(cut.path)))
        weights = weights_of(load_run(path))
        references.append(Reference(path, weights, states, described, records[0], weights_of(more), records[1]))
    return references


# -- damages: each changes the run in a folder and says whether it is an edit that its author signs --------------------


def change_bytes(path: Path, chance: random.Random, others: list[Path]) -> bool:
    content = bytearray(path.read_bytes())
    n = len(content)
    place = chance.randrange(n)
    header = min(n, 8 + int.from_bytes(content[:8], "little")) if path.suffix == ".safetensors" else n
    how = chance.choice(
        ["flip"] * 5 + ["header"] * 4 + ["digit"] * 3 + ["zeros", "insert", "swap", "cut", "drop", "word"] * 2
    )
    if how in ("flip", "header"):
        for _ in range(chance.choice([1, 1, 1, 4])):
            content[chance.randrange(n if how == "flip" else header)] ^= 1 << chance.randrange(8)
    elif how == "digit":
        digits = [i for i in range(min(header, 8000)) if chr(content[i]).isdigit()] or [place]
        for i in chance.sample(digits, min(len(digits), chance.choice([1, 1, 2]))):
            content[i] = ord(chance.choice("0123456789-.e"))
    elif how == "zeros":
        content[place : place + 512] = bytes(len(content[place : place + 512]))
    elif how == "insert":
        content[place:place] = chance.randbytes(chance.choice([1, 3, 100]))
    elif how == "swap":
        other = chance.randrange(n)
        content[place : place + 40], content[other : other + 40] = (
            content[other : other + 40],
            content[place : place + 40],
        )
    elif how == "cut":
        del content[place:]
    elif how == "drop":
        del content[place : place + chance.choice([1, 8, 200])]
    else:
        words = (b"F32:I32", b"F32:F16", b"null:1e99", b"false:true", b"train:valid", b"model:modem", b"sha256:sha257")
        words += (b"crc32:crc33", b'": 1:": []', b'": 2:": -2', b'": ":": {"', b"epoch:epoxy", b"[:[[", b"\n:,")
        for word in chance.sample(words, 4):
            content = content.replace(*word.split(b":", 1), 1)
    path.write_bytes(content)
    return False


def change_file(path: Path, chance: random.Random, others: list[Path]) -> bool:
    how = chance.choice(["gone", "empty", "folder", "pipe", "noise", "doubled", "another", "another", "exchanged"])
    content, other = path.read_bytes(), chance.choice(others)
    if how == "exchanged":
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return False
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how != "gone":
        made = {"empty": b"", "noise": chance.randbytes(3000), "doubled": content * 2, "another": other.read_bytes()}
        path.write_bytes(made[how])
    return False


def change_tree(values: Any, chance: random.Random) -> None:
    """One value, key or element of JSON's tables and lists is another, or gone, or there as well."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(values[key], (dict, list)) and values[key] and chance.random() < 0.9:
            values = values[key]
            continue
        break
    how = chance.random()
    if how < 0.1:
        del values[key]
    elif how < 0.2 and isinstance(values, dict):
        values[chance.choice(["x", "name", f"{key}x"])] = values[key]
    else:
        value: Any = copy.deepcopy(chance.choice(VALUES))
        if chance.random() < 0.1:
            for _ in range(500):
                value = [value]
        values[key] = value


def change_json(path: Path, chance: random.Random, others: list[Path]) -> bool:
    lines = path.read_text().splitlines()
    if path.suffix == ".json":
        lines = ["".join(lines)]
    at = chance.randrange(len(lines))
    values = json.loads(lines[at])
    signed = chance.random() < 0.5
    if signed:
        values.pop("sha256", None), values.pop("crc32", None)
    change_tree(values, chance)
    text = json.dumps(values)
    if chance.random() < 0.1:
        deep = chance.choice(["[" * 50_000, '{"a":' * 50_000, "9" * 5000, "1e99999", "NaN"])
        text = text.replace(str(chance.choice([1, 2, 3])), deep, 1)
    lines[at] = text
    path.write_text("\n".join(lines) + "\n")
    return signed


def change_tensors(path: Path, chance: random.Random, others: list[Path]) -> bool:
    tensors, said = load_tensors(path), metadata(path)
    said.pop("sha256", None)
    name = chance.choice(list(tensors))
    x = tensors[name].clone()
    how = chance.choice(["short", "long", "integer", "double", "nan", "huge", "gone", "renamed", "more", "state"])
    if how == "gone":
        del tensors[name]
    elif how == "renamed":
        tensors[chance.choice([f"{name}x", "optimizer/9/exp_avg", "optimizer/x", name.replace("0", "1", 1) + "/"])] = x
        del tensors[name]
    elif how == "more":
        tensors[
            chance.choice(["x", "model/x", "optimizer/0/x", "optimizer/7/step", "optimizer/" + "9" * 400 + "/a"])
        ] = x
    elif how == "state":
        values = [None, -1, 10**400, 1e308, "2", [], "[" * 50_000]
        said["state"] = json.dumps({"epoch": chance.choice(values), "step": chance.choice(values)})
    else:
        flat = x.reshape(-1)
        made: dict[str, Callable[[], torch.Tensor]] = {
            "short": lambda: flat[:1].clone(),
            "long": lambda: flat.repeat(3),
            "integer": lambda: x.to(torch.int32),
            "double": lambda: x.double(),
            "nan": lambda: torch.full_like(x, float("nan") if x.is_floating_point() else 0),
            "huge": lambda: torch.full_like(x, 3e38 if x.is_floating_point() else 2**30),
        }
        tensors[name] = made[how]()
    save_file(tensors, path, said) if chance.random() < 0.5 else save_tensors(path, tensors, said)
    return True


def damage(folder: Path, chance: random.Random) -> tuple[str, bool]:
    """Damage one file of the run in `folder`; what was done, and whether it is an edit."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl", ".safetensors"))
    path = chance.choice(files)
    structural = change_tensors if path.suffix == ".safetensors" else change_json
    change = chance.choices([change_bytes, change_file, structural], [6, 1, 3])[0]
    name, others = str(path.relative_to(folder)), [file for file in files if file != path]
    signed = change(path, chance, others)
    cut = path.parent.name == "checkpoints" and chance.random() < 0.5
    if cut:
        (folder / "weights.safetensors").unlink(missing_ok=True)
    return f"{name}: {change.__name__}{', cut off' if cut else ''}", signed


# -- what comes of it --------------------------------------------------------------------------------------------------


def attempt(action: Callable[[], Any]) -> tuple[Any, str, str]:
    """What an action gives; if it raises, the line it says; and what is wrong with that, if anything."""
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value, line, wrong = None, "", ""
    try:
        value = action()
    except (ValueError, ArithmeticError) as error:
        line = str(error)
        if "\n" in line or len(line) > 700 or type(error) is UnicodeDecodeError:
            wrong = f"no line: {type(error).__name__} {line[:200]!r}"
    except BaseException as error:
        place = [f for f in traceback.extract_tb(error.__traceback__) if "vaekit" in f.filename][-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        wrong = f"traceback: {type(error).__name__} {str(error)[:200]!r} at {where}"
    if time.process_time() - started > SECONDS:
        wrong = wrong or "slow"
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 > BYTES:
        wrong = wrong or "memory"
    return value, line, wrong


def examined(folder: Path, reference: Reference, signed: bool, resume: bool, said: Said) -> tuple[list[str], list[str]]:
    """What is wrong with what comes of a damaged run; and how it was found: by an error, a warning, or not at all."""
    wrong, found = [], []
    cut = not (folder / "weights.safetensors").exists()
    run, line, bad = attempt(lambda: load_run(folder))
    wrong += [bad] if bad else []
    found.append("error" if line else "warning" if said.lines else "same")
    if run is not None and not signed and not said.lines:
        # Without its newest state a run is one that was cut off before.
        newest = reference.states[0 if (folder / "checkpoints" / "epoch-000003.safetensors").exists() else 1]
        if not equal(weights_of(run), newest if cut else reference.weights):
            wrong.append("silent: other weights")
        if (run.spec, run.schema) != reference.described:
            wrong.append("silent: another spec")
    records, line, bad = attempt(lambda: untimed(history.read(folder)))
    wrong += [bad] if bad else []
    if line or said.lines:
        found[0] = found[0] if found[0] != "same" else "error" if line else "warning"
    elif not signed and records is not None and records != reference.records:
        wrong.append("silent: other records")
    if resume:
        run, line, bad = attempt(lambda: train(out=folder, resume=True, epochs=MORE))
        wrong += [bad] if bad else []
        if run is not None and not signed:
            if not equal(weights_of(run), reference.resumed):
                wrong.append("silent: resumed to other weights")
            if not said.lines and untimed(history.read(folder)) != reference.resumed_records:
                wrong.append("silent: resumed to other records")
        found.append("resumed" if run is not None else "not resumed")
    return wrong, found


def one(number: int, seed: int, references: list[Reference], work: Path) -> dict[str, Any]:
    """Damage a copy of a run, and examine it."""
    chance = random.Random(f"{seed}/{number}")
    reference = chance.choice(references)
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(reference.folder, folder)
    said = Said()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if str(folder) in record.getMessage():  # others are of the training
                said.lines.append(record.getMessage())

    log, listener = logging.getLogger("vaekit"), Listener(logging.WARNING)
    log.addHandler(listener)
    log.propagate = False
    try:
        what, signed = damage(folder, chance)
        wrong, found = examined(folder, reference, signed, number % RESUMED == 0, said)
    finally:
        log.removeHandler(listener)
    return {"number": number, "what": what, "signed": signed, "wrong": wrong, "found": found, "said": said.lines[:2]}


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
    resumed = Counter(found for each in results for found in each["found"] if "resumed" in found)
    wrong = Counter(reason.split(":")[0] for each in results for reason in each["wrong"])
    text = [heading("Damaged runs"), f"{len(results):,} damages of {len(RUNS)} kinds of runs, seed {asked.seed}: "]
    text[-1] += (
        f"{wrong['silent']} silent, {wrong['traceback'] + wrong['no line']} tracebacks, {wrong['crash']} crashes, "
    )
    text[-1] += f"{wrong['slow']} slow, {wrong['memory']} beyond memory. Resumed after one: {resumed['resumed']:,} of "
    text[-1] += (
        f"{sum(resumed.values()):,}, every one that is no edit to the weights of the undamaged run, bit for bit; "
    )
    text[-1] += "the others were refused."
    text += ["", *table(results), ""]
    for each in results:
        if each["wrong"]:
            text.append(f"- {each['number']}, {each['what']}: {'; '.join(each['wrong'])}")
    print("\n".join(text))
    if asked.report:
        asked.report.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
