"""The models of the lessons as their authors would write them: plain PyTorch, nothing of vaekit.

Each model has a `loss(x, y)`, summed over the batch: x (B, 784) in [0, 1], y (B,) labels of the one that uses them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PIXELS, CLASSES = 784, 10
ROWS = 1000
"""Data scored at a time."""


def standard_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, exp(log_variance)) against N(0, I), summed over the batch (Kingma & Welling 2014, appendix B)."""
    return -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())


class BinaryMNIST(nn.Module):
    """L1: product of Bernoullis, a shared first layer and separate towers for mean and scale."""

    def __init__(self, latent: int = 200) -> None:
        super().__init__()
        self.shared = nn.Linear(PIXELS, 500)
        self.mean = nn.Sequential(nn.Linear(500, 200), nn.Tanh(), nn.Linear(200, latent))
        self.log_variance = nn.Sequential(nn.Linear(500, 200), nn.Tanh(), nn.Linear(200, latent))
        self.generator = nn.Sequential(
            nn.Linear(latent, 200), nn.Tanh(), nn.Linear(200, 500), nn.Tanh(), nn.Linear(500, PIXELS)
        )

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A draw of z, and the KL against N(0, I)."""
        features = torch.tanh(self.shared(x))
        mean, log_variance = self.mean(features), self.log_variance(features)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return z, standard_kl(mean, log_variance)

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        z, kl = self.posterior(x)
        return F.binary_cross_entropy_with_logits(self.generator(z), x, reduction="sum") + kl


class FullRankBinaryMNIST(BinaryMNIST):
    """L1's second model: z = mean + L eps, the part of L below its diagonal from a network of its own."""

    def __init__(self, latent: int = 200) -> None:
        super().__init__(latent)
        self.rows, self.columns = torch.tril_indices(latent, latent, -1)
        self.below = nn.Sequential(nn.Linear(500, 200), nn.Tanh(), nn.Linear(200, len(self.rows)))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.tanh(self.shared(x))
        mean, log_variance, below = self.mean(features), self.log_variance(features), self.below(features)
        factor = torch.diag_embed(torch.exp(0.5 * log_variance))
        factor[:, self.rows, self.columns] = below
        z = mean + (factor @ torch.randn_like(mean)[:, :, None])[:, :, 0]
        # tr(L L') is the sum of all squares of L: those of its diagonal are in the diagonal's own KL.
        return z, standard_kl(mean, log_variance) + 0.5 * below.pow(2).sum()


class GreyMNIST(nn.Module):
    """L2a and L4: 784-400-20-400-784, grey pixels as Bernoulli probabilities; `beta` weighs the KL.

    With `classes`, the one-hot label is joined to z.
    """

    def __init__(
        self, activation: Callable[[Tensor], Tensor] = torch.relu, beta: float = 1.0, classes: int = 0
    ) -> None:
        super().__init__()
        self.activation, self.beta, self.classes = activation, beta, classes
        self.fc1, self.fc21, self.fc22 = nn.Linear(PIXELS, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.fc3, self.fc4 = nn.Linear(20 + classes, 400), nn.Linear(400, PIXELS)

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.activation(self.fc1(x))
        mean, log_variance = self.fc21(h), self.fc22(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        if y is not None and self.classes:
            z = torch.cat([z, F.one_hot(y, self.classes)], 1)
        probabilities = torch.sigmoid(self.fc4(self.activation(self.fc3(z))))
        bce = F.binary_cross_entropy(probabilities, x, reduction="sum")
        return bce + self.beta * standard_kl(mean, log_variance)


class SoftplusMNIST(nn.Module):
    """L2b: the ELBO as an average of log p(x, z) - log q(z given x) over draws, with no closed form in it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(PIXELS, 400), nn.Softplus())
        self.location, self.log_scale = nn.Linear(400, 50), nn.Linear(400, 50)
        self.decoder = nn.Sequential(nn.Linear(50, 400), nn.Softplus(), nn.Linear(400, PIXELS))

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.encoder(x)
        guide = torch.distributions.Normal(self.location(h), torch.exp(self.log_scale(h)), validate_args=False)
        z = guide.rsample()
        log_q, log_prior = guide.log_prob(z).sum(), torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
        return F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum") - log_prior + log_q


class EluMNIST(nn.Module):
    """L3: two ELU layers each way, log-variance and pixel means clipped."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(PIXELS, 256), nn.ELU(), nn.Linear(256, 256), nn.ELU())
        self.mean, self.log_variance = nn.Linear(256, 64), nn.Linear(256, 64)
        self.decoder = nn.Sequential(
            nn.Linear(64, 256), nn.ELU(), nn.Linear(256, 256), nn.ELU(), nn.Linear(256, PIXELS), nn.Sigmoid()
        )

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h).clamp(-10, 10)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        p = self.decoder(z).clamp(1e-6, 1 - 1e-6)
        log_px = torch.sum(x * torch.log(p) + (1 - x) * torch.log(1 - p))
        return standard_kl(mean, log_variance) - log_px


@dataclass(frozen=True)
class Setting:
    """How a lesson trains its model."""

    model: Callable[[], nn.Module]
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam


SETTINGS: dict[str, Setting] = {
    "L1-diagonal": Setting(BinaryMNIST, 20, 200, 3e-4),
    "L1-full-rank": Setting(FullRankBinaryMNIST, 20, 200, 3e-4),
    "L2a": Setting(GreyMNIST, 10, 128, 1e-3),
    "L2a-sigmoid-adagrad": Setting(partial(GreyMNIST, torch.sigmoid), 10, 128, 0.01, torch.optim.Adagrad),
    "L2b": Setting(SoftplusMNIST, 100, 128, 1e-3),
    "L3": Setting(EluMNIST, 10, 64, 1e-3),
    "L4-conditional": Setting(partial(GreyMNIST, beta=10.0, classes=CLASSES), 15, 128, 1e-3),
    "L4-beta": Setting(partial(GreyMNIST, beta=10.0), 15, 128, 1e-3),
    "L4-plain": Setting(GreyMNIST, 15, 128, 1e-3),
}


@dataclass(frozen=True)
class Rows:
    """Data x (N, 784), floats in [0, 1], and their labels y (N,), if there are any."""

    x: Tensor
    y: Tensor | None

    def at(self, index: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        return self.x[index], None if self.y is None else self.y[index]


def train(setting: Setting, rows: Rows, epochs: int, seed: int) -> nn.Module:
    """The lesson's loop."""
    torch.manual_seed(seed)
    model = setting.model()
    optimizer = setting.optimizer(model.parameters(), lr=setting.learning_rate)
    for _ in range(epochs):
        for index in torch.randperm(len(rows.x)).split(setting.batch_size):
            optimizer.zero_grad()
            loss = model.loss(*rows.at(index)) / len(index)
            loss.backward()
            optimizer.step()
    return model


@torch.no_grad()
def test_loss(model: nn.Module, rows: Rows, passes: int) -> float:
    """The mean loss per datum, over so many draws of each datum's z."""
    n, total = len(rows.x), 0.0
    for start in [*range(0, n, ROWS)] * passes:
        total += model.loss(*rows.at(slice(start, start + ROWS))).item()
    return total / n / passes
