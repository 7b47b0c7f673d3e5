"""Damages: each changes a file of a run, and says whether it is an edit that its author signs."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from vaekit.training.weights import load_tensors, metadata, save_tensors

WORDS = (
    *(b"F32:I32", b"F32:F16", b"null:1e99", b"false:true", b"train:valid", b"model:modem", b"sha256:sha257"),
    *(b"crc32:crc33", b'": 1:": []', b'": 2:": -2', b'": ":": {"', b"epoch:epoxy", b"[:[[", b"\n:,"),
)
"""Words of a run's files, and what they are replaced by."""
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


def change_bytes(path: Path, chance: random.Random, others: list[Path]) -> bool:
    content = bytearray(path.read_bytes())
    size = len(content)
    place = chance.randrange(size)
    header = min(size, 8 + int.from_bytes(content[:8], "little")) if path.suffix == ".safetensors" else size
    how = chance.choice(
        ["flip"] * 5 + ["header"] * 4 + ["digit"] * 3 + ["zeros", "insert", "swap", "cut", "drop", "word"] * 2
    )
    match how:
        case "flip" | "header":
            for _ in range(chance.choice([1, 1, 1, 4])):
                content[chance.randrange(size if how == "flip" else header)] ^= 1 << chance.randrange(8)
        case "digit":
            digits = [i for i in range(min(header, 8000)) if chr(content[i]).isdigit()] or [place]
            for i in chance.sample(digits, min(len(digits), chance.choice([1, 1, 2]))):
                content[i] = ord(chance.choice("0123456789-.e"))
        case "zeros":
            content[place : place + 512] = bytes(len(content[place : place + 512]))
        case "insert":
            content[place:place] = chance.randbytes(chance.choice([1, 3, 100]))
        case "swap":
            here, there = slice(place, place + 40), slice(other := chance.randrange(size), other + 40)
            content[here], content[there] = content[there], content[here]
        case "cut":
            del content[place:]
        case "drop":
            del content[place : place + chance.choice([1, 8, 200])]
        case "word":
            for word in chance.sample(WORDS, 4):
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
