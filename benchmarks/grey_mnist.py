"""The grey-mnist recipe against its published loss, and its epochs against those of the plain loop of the lesson.

python benchmarks/grey_mnist.py --report benchmarks/grey_mnist.md      (needs MNIST, see `vaekit datasets mnist`)

Both sides: 784-400-20-400-784, ReLU, Adam 1e-3, batch 128, grey pixels as Bernoulli probabilities. Timing: each side in
its own process, in turn, one epoch of warm-up, then the median of the epochs after it; the ratio is paired round by
round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import heading
from pictures import Pictures
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import vaekit


class Plain(nn.Module):
    """The lesson's model, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.fc3, self.fc4 = nn.Linear(20, 400), nn.Linear(400, 784)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.fc1(x))
        mu, log_variance = self.fc21(h), self.fc22(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_variance)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, log_variance


def plain_loss(x: Tensor, out: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    reconstruction, mu, log_variance = out
    bce = F.binary_cross_entropy(reconstruction, x, reduction="sum")
    return bce - 0.5 * torch.sum(1 + log_variance - mu.pow(2) - log_variance.exp())


def plain(epochs: int, seed: int, rows: int | None = None) -> dict[str, list[float]]:
    """Train the plain loop; seconds of each training epoch and the test loss after it."""
    torch.manual_seed(seed)
    data = vaekit.load_dataset("mnist", validation=0, train=rows)
    sets = {name: Pictures(split.x[:, 0], split.y) for name, split in data.splits.items() if split.y is not None}
    model = Plain()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train = DataLoader(sets["train"], batch_size=128, shuffle=True)
    test = DataLoader(sets["test"], batch_size=128)
    seconds, losses = [], []
    for _ in range(epochs):
        start = time.perf_counter()
        model.train()
        total = 0.0
        for x, _y in train:
            x = x.view(-1, 784)
            optimizer.zero_grad()
            loss = plain_loss(x, model(x))
            loss.backward()
            total += loss.item()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
        model.eval()
        with torch.no_grad():
            batches = (x.view(-1, 784) for x, _y in test)
            losses.append(sum(plain_loss(x, model(x)).item() for x in batches) / len(sets["test"]))
    return {"seconds": seconds, "test": losses}


def ours(epochs: int, seed: int, rows: int | None = None) -> dict[str, list[float]]:
    """Train the recipe; the same numbers from its records."""
    sets = [f"training.seed={seed}", "training.device='cpu'", *([] if rows is None else [f"data.train={rows}"])]
    with tempfile.TemporaryDirectory() as folder:
        run = vaekit.train("grey-mnist", Path(folder) / "run", epochs=epochs, sets=sets)
        history = run.history()
    train, test = ([r for r in history if r.split == split] for split in ("train", "test"))
    return {"seconds": [r.seconds for r in train], "test": [r.terms["loss"] for r in test]}


def measure(side: str, epochs: int, seed: int) -> dict[str, list[float]]:
    """One side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--epochs", str(epochs), "--seed", str(seed)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def report(rounds: int, seeds: int) -> str:
    lines = [heading("grey-mnist: loss and epoch time"), "## Mean test loss after ten epochs (nats per image)", ""]
    lines += ["| side | " + " | ".join(f"seed {s}" for s in range(seeds)) + " | mean |", "|---" * (seeds + 2) + "|"]
    for side in ("vaekit", "plain"):
        losses = [measure(side, 10, seed)["test"][-1] for seed in range(seeds)]
        lines.append(
            f"| {side} | " + " | ".join(f"{loss:.2f}" for loss in losses) + f" | {statistics.mean(losses):.2f} |"
        )
    lines += ["", "Published: 105.33 in the lesson's last line, 106.66 at epoch 7 elsewhere.", ""]
    lines += ["## Seconds per training epoch", "", "| round | plain | vaekit | plain / vaekit |", "|---|---|---|---|"]
    ratios = []
    for i in range(rounds):
        times = {side: statistics.median(measure(side, 4, i)["seconds"][1:]) for side in ("plain", "vaekit")}
        ratios.append(times["plain"] / times["vaekit"])
        lines.append(f"| {i + 1} | {times['plain']:.2f} | {times['vaekit']:.2f} | {ratios[-1]:.2f} |")
    lines += ["", f"Median ratio {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=["plain", "vaekit"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="images that a --side trains on; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    if given.side:
        print(json.dumps({"plain": plain, "vaekit": ours}[given.side](given.epochs, given.seed, given.rows)))
    else:
        text = report(given.rounds, given.seeds)
        print(text)
        if given.report:
            given.report.write_text(text, encoding="utf-8")
