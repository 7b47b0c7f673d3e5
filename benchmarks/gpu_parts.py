"""What gpu.py measures, a function for each part: each tells what it finds as it finds it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from gpu_measuring import DEVICE, Setting, Steps, first_wait, forget, kernels, megabytes, timed, wait
from gpu_setups import of_network, of_recipe, of_spec, pictures
from plain_lessons import GreyMNIST

from vaekit import load_dataset, train
from vaekit.engine import recording
from vaekit.seeding import seeded
from vaekit.spec.recipes import RECIPES
from vaekit.training import task as tasks
from vaekit.training.task import Task
from vaekit.training.weights import load_tensors

ROOT = Path(__file__).resolve().parents[1]
INI = """[pytest]
addopts = --import-mode=importlib
pythonpath = {tests}
markers =
    gpu: needs a CUDA device
"""
"""Not the project's own settings, which ask for plugins that a bare machine lacks."""
STEPS = 4
NUMBERS = 1e-3
"""How far apart, as a part of the largest, gradients of float32 may be; beyond, it is said."""


def run_tests(setting: Setting) -> None:
    """The tests marked gpu."""
    ini = setting.folder / "pytest.ini"
    ini.write_text(INI.format(tests=ROOT / "tests"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", str(ini), "--rootdir", str(ROOT), "-q", "-p", "no:cacheprovider"]
    command += ["-m", "gpu", "--show-capture=no", "--tb=short", "--durations=5", str(ROOT / "tests/test_cuda.py")]
    command += ["-k", "draws or random or bfloat or decoded or (launched and vae)"] if setting.rehearse else []

    def work() -> dict[str, Any]:
        log = setting.log.with_suffix(".tests.txt")
        with open(log, "w", encoding="utf-8") as file:
            try:
                subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=setting.seconds - 3, check=False)
            except subprocess.TimeoutExpired:
                file.write("\nit took too long\n")
        lines = log.read_text(encoding="utf-8").splitlines()
        failed = [line[:200] for line in lines if line.startswith(("FAILED", "ERROR"))]
        return {"ended": lines[-1] if lines else "", "failing": failed}

    setting.measure("tests", setting.seconds, work)


# -- recipes: numbers, and whether a step waits ------------------------------------------------------------------------


def recipes(setting: Setting) -> None:
    """Recorded steps beside those of Python, of every recipe; compiled ones of some; then whether a run resumes."""
    names = ["grey-mnist", "gumbel-mnist", "table", "m1-m2"] if setting.rehearse else list(RECIPES)
    for name in names:
        setting.measure("recipes", 60, partial(_of_recipe, setting, name, "replay"), recipe=name, engine="replay")
    engines = ["replay"] if setting.rehearse else ["replay", "inductor"]
    for engine in engines:
        setting.measure("resume", 60, partial(_resumed, setting, engine), engine=engine)
    for name in () if setting.rehearse else ("grey-mnist", "table", "m2"):
        setting.measure("recipes", 90, partial(_of_recipe, setting, name, "inductor"), recipe=name, engine="inductor")


def _of_recipe(setting: Setting, name: str, engine: str) -> dict[str, Any]:
    found = []
    for each in ("python", engine):
        task = _recipe(setting, name)
        steps, taken = Steps(task, each), []
        with seeded(1):
            for _ in range(STEPS):
                loss = steps().clone()
                taken.append([loss, *(p.grad.clone() for p in steps.parameters if p.grad is not None)])
        found.append(taken)
    losses = max(_apart(one[:1], other[:1]) for one, other in zip(*found, strict=True))
    gradients = max(_apart(one[1:], other[1:]) for one, other in zip(*found, strict=True))
    waits = first_wait(lambda: [steps() for _ in range(3)])
    return {
        "way": steps.way,
        "losses": f"{losses:.1e}",
        "gradients": f"{gradients:.1e}",
        "far": bool(max(losses, gradients) > NUMBERS),
        "waits": waits,
    }


def _recipe(setting: Setting, name: str, *sets: str) -> Task:
    rows = 400 if setting.rehearse else 2000
    return of_recipe(name, setting.folder, rows, sets, DEVICE)


def _apart(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """The largest difference as a part of the largest number of all."""
    most = max(float(each.abs().max()) for each in one)
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True)) / most


def _resumed(setting: Setting, engine: str) -> dict[str, Any]:
    """Three epochs at once, and in two parts."""
    data = pictures(setting.folder / "grey-400.npz", 400)
    net = "{name='conv', channels=[8, 16], dense=32}"
    given = [f"model.{side}={net}" for side in ("encoder", "decoder")]
    given += [f"training.device={DEVICE}", f"training.engine={engine}", "training.batch_size=20", "data.validation=50"]
    with patch.object(recording, "WORTHWHILE", 0):
        kinds: dict[str, list[Path]] = {}
        for kind, epochs in (("whole", [3]), ("parts", [1, 3])):
            out = setting.folder / f"{kind}-{engine}"
            for i, number in enumerate(epochs):
                target = "grey-mnist" if i == 0 else None
                where = {"data": data, "sets": [*given, f"training.epochs={number}"]} if i == 0 else {"epochs": number}
                train(target, out, resume=i > 0, **where)
            kinds[kind] = sorted((out / "checkpoints").glob("epoch-*"))[-1:]
    one, other = (load_tensors(paths[0]) for paths in kinds.values())
    same = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    return {"same bits": same, "tensors": len(one)}


# -- epochs of 784-400-20 ----------------------------------------------------------------------------------------------


def epochs(setting: Setting) -> None:
    """784-400-20 on pictures of MNIST's shape, at several sizes of a batch."""
    x, source = _pixels(setting)
    held = torch.from_numpy(x.reshape(len(x), -1)).to(DEVICE).float() / 255
    np.savez(setting.folder / "epochs.npz", x=x)
    setting.tell("epochs", data=source, rows=len(held))
    for size in (128,) if setting.rehearse else (128, 512, 2048, 8192):
        for side, made in SIDES.items():
            if setting.rehearse and side == "vaekit compiled":
                continue
            work = partial(_epoch, setting, held, size, made)
            setting.measure("epochs", 45, work, batch=size, side=side)


def _pixels(setting: Setting) -> tuple[np.ndarray, str]:
    """Bytes (N, 1, 28, 28): those of MNIST where its files are, without a network."""
    place = Path(os.environ.get("VAEKIT_DATA", "")) / "mnist"
    if not setting.rehearse and os.environ.get("VAEKIT_DATA") and place.is_dir():
        return np.ascontiguousarray(load_dataset("mnist").splits["train"].x), "MNIST"
    rows = 600 if setting.rehearse else 60_000
    return np.load(pictures(setting.folder / f"grey-{rows}.npz", rows))["x"], "made-up pictures"


def _epoch(setting: Setting, x: torch.Tensor, size: int, made: Callable[..., Callable[[], object]]) -> dict[str, Any]:
    forget()
    started = time.perf_counter()
    step = made(setting, x, size)
    for _ in range(30):
        step()
    wait()
    ready = time.perf_counter() - started
    many = max(len(x) // size, 1)
    seconds = timed(step, min(many, 100), 3 if setting.rehearse else 5)
    busy, number = kernels(step, 5)
    return {
        "ms a step": round(1e3 * seconds, 4),
        "s an epoch": round(many * seconds, 4),
        "kernels ms a step": round(1e3 * busy, 4),
        "kernels": number,
        "s until ready": round(ready, 1),
        "peak MB": megabytes("max_memory_allocated"),
    }


def _vaekit(engine: str) -> Callable[..., Callable[[], object]]:
    def made(setting: Setting, x: torch.Tensor, size: int) -> Callable[[], object]:
        sets = [f"training.batch_size={min(size, len(x))}", f"training.device={DEVICE}"]
        return Steps(of_spec("grey-mnist", sets, setting.folder / "epochs.npz"), engine)

    return made


def _by_hand(how: str) -> Callable[..., Callable[[], object]]:
    def made(setting: Setting, x: torch.Tensor, size: int) -> Callable[[], object]:
        torch.manual_seed(0)
        model = GreyMNIST().to(DEVICE)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
        loss: Any = model.loss
        if how == "compiled":
            options = {"backend": "eager"} if setting.rehearse else {"mode": "reduce-overhead"}
            loss = torch.compile(model.loss, **options)
        order = torch.randperm(len(x), device=DEVICE).split(size)
        full, done = [each for each in order if len(each) == min(size, len(x))], [0]

        def step() -> None:
            index = full[done[0] % len(full)]
            done[0] += 1
            optimizer.zero_grad()
            (loss(x[index], None) / len(index)).backward()
            optimizer.step()

        return step

    return made


SIDES = {
    "vaekit": _vaekit("replay"),
    "eager by hand": _by_hand("eager"),
    "compiled by hand": _by_hand("compiled"),
    "vaekit compiled": _vaekit("inductor"),
    "vaekit as Python": _vaekit("python"),
}
"""In the order of their worth."""


# -- networks of images ------------------------------------------------------------------------------------------------


def networks(setting: Setting) -> None:
    """Residual networks and pyramids in float32 and bfloat16, images as they lie and channels last."""
    sides, ways = (8,) if setting.rehearse else (32, 128), [("float32", True), ("bfloat16", True), ("bfloat16", False)]
    cases = [(network, side) for side in sides for network in ("resnet", "pyramid")]
    ways = ways[2:] if setting.rehearse else ways
    rest = [(*each, "float32", False) for each in cases[: 1 if setting.rehearse else 2]]  # of less worth
    for network, side, precision, last in [*((*each, *way) for each in cases for way in ways), *rest]:
        work = partial(_network, setting, network, side, precision, last, "replay")
        what = {"network": network, "side": side, "precision": precision, "channels last": last, "engine": "replay"}
        setting.measure("networks", 30, work, **what)
    for network, side in cases[:1] if not setting.rehearse else ():
        work = partial(_network, setting, network, side, "bfloat16", True, "inductor")
        what = {"network": network, "side": side, "precision": "bfloat16", "channels last": True}
        setting.measure("networks", 60, work, **what, engine="inductor")
    work = partial(_network, setting, *cases[0], "float32", True, "replay", repeatable=False)
    setting.measure("networks", 30, work, network=cases[0][0], side=cases[0][1], what="any algorithm of cuDNN")
    work = partial(_network, setting, *cases[0], "float32", True, "replay", tf32=False)
    setting.measure("networks", 30, work, network=cases[0][0], side=cases[0][1], what="without TF32")


def _network(
    setting: Setting,
    network: str,
    side: int,
    precision: str,
    last: bool,
    engine: str,
    repeatable: bool = True,
    tf32: bool = True,
) -> dict[str, Any]:
    forget()
    small = setting.rehearse
    rows, batch = (24, 6) if small else (512, 64 if side < 100 else 32)
    sets = [f"training.batch_size={batch}", f"training.precision={precision}", f"training.device={DEVICE}"]
    task = of_network(network, setting.folder, side, rows, sets, small=small)
    as_it_lies = nullcontext() if last else patch.object(tasks, "move", lambda module, device: module.to(device))
    free = nullcontext() if repeatable else patch("gpu_measuring.repeatable", nullcontext)
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, tf32
    try:
        with as_it_lies, free:
            steps = Steps(task, engine)
            for _ in range(2 if small else 5):
                loss = steps()
            seconds = timed(steps, 2 if small else 10, 3)
            busy, number = kernels(steps, 2)
    finally:
        torch.backends.cudnn.allow_tf32 = before
    return {
        "way": steps.way,
        "ms a step": round(1e3 * seconds, 3),
        "images a second": round(batch / seconds),
        "kernels ms": round(1e3 * busy, 3),
        "kernels": number,
        "weights": sum(each.numel() for each in steps.parameters),
        "loss": round(float(loss[0]), 2),
        "peak MB": megabytes("max_memory_allocated"),
    }


# -- memory, and scores ------------------------------------------------------------------------------------------------


def memory(setting: Setting) -> None:
    """Memory before and after recordings, and of many; what scoring gains of more."""
    setting.measure("memory", 60, partial(_memory, setting))
    for size in (1, 2) if setting.rehearse else (48, 512, 4096, 16384):
        setting.measure("scores", 40, partial(_scores, setting, size), megabytes=size)


def _memory(setting: Setting) -> dict[str, Any]:
    forget()
    task = _recipe(setting, "grey-mnist")
    steps = Steps(task, "python")
    steps()
    wait()
    found: dict[str, Any] = {"as Python": megabytes("memory_allocated"), "its peak": megabytes("max_memory_allocated")}
    for i in range(3 if setting.rehearse else 10):
        steps = Steps(task, "replay")
        steps()
        wait()
        found["recorded" if i == 0 else "recorded again"] = megabytes("memory_allocated")
        found["reserved" if i == 0 else "reserved again"] = megabytes("memory_reserved")
    return {**found, "peak": megabytes("max_memory_allocated"), "recordings": i + 1}


def _scores(setting: Setting, size: int) -> dict[str, Any]:
    forget()
    model = _recipe(setting, "grey-mnist").model.to(DEVICE).eval()
    rows, draws = (20, 10) if setting.rehearse else (2000, 1000)
    x = torch.rand(rows, *model.event_shape, device=DEVICE)
    started = time.perf_counter()
    found = model.score(x, samples=draws, seed=0, memory=size * 2**20)
    wait()
    seconds = time.perf_counter() - started
    return {
        "draws a second": round(rows * draws / seconds),
        "log p(x)": round(float(found.log_prob.mean()), 3),
        "peak MB": megabytes("max_memory_allocated"),
    }


PARTS: dict[str, tuple[Callable[[Setting], None], float]] = {
    "tests": (run_tests, 110),
    "recipes": (recipes, 135),
    "epochs": (epochs, 110),
    "networks": (networks, 85),
    "memory": (memory, 40),
}
"""In the order of their worth, with the seconds that each may take: eight minutes in all."""
