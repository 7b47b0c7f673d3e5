"""Models beyond those of the lessons, as a careful author would write them: plain PyTorch, nothing of vaekit.

As in `plain_lessons.py` each has a `loss(x, y)`, summed over the batch, x (B, 784) in [0, 1]. `train` is the loop for
all: data in memory, batches by index, the fused Adam, no value read back before the epoch ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from plain_lessons import CLASSES, GreyMNIST, Rows, standard_kl
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "convolution", "conv2d", "conv_transpose")
"""What the profiler calls products of matrices and convolutions, or has in its name."""
GROUPS = 4
"""Of channels that a residual network normalises together."""


def reconstruction(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x given z) of each datum, (…, B)."""
    return F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


def normal_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; mean, exp(log_variance)), summed over the last dimension."""
    squares = (z - mean).pow(2) * torch.exp(-log_variance)
    return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(-1)


class GreyWith(GreyMNIST):
    """784-400-20-400-784 in parts, for models that differ in what is made of them."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def decode(self, z: Tensor) -> Tensor:
        return self.fc4(torch.relu(self.fc3(z)))


class Importance(GreyWith):
    """The importance-weighted bound of k draws (Burda et al. 2016)."""

    def __init__(self, draws: int = 8) -> None:
        super().__init__()
        self.draws = draws

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        mean, log_variance = self.encode(x)
        noise = torch.randn(self.draws, *mean.shape)
        z = mean + noise * torch.exp(0.5 * log_variance)
        # log p(z) - log q(z given x), in which the constants cancel.
        ratio = 0.5 * (noise.pow(2) + log_variance - z.pow(2)).sum(-1)
        return (math.log(self.draws) - (ratio - reconstruction(self.decode(z), x)).logsumexp(0)).sum()


class Vamp(GreyWith):
    """The mixture of posteriors at learned pseudo-inputs as the prior (Tomczak & Welling 2018)."""

    def __init__(self, components: int = 100) -> None:
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.rand(components, 784))

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        means, log_variances = self.encode(self.pseudo_inputs.clamp(0, 1))
        log_p = normal_log_prob(z[:, None], means, log_variances).logsumexp(1) - math.log(len(means))
        kl = normal_log_prob(z, mean, log_variance) - log_p
        return (reconstruction(self.decode(z), x) + kl).sum()


class Gumbel(GreyWith):
    """A relaxed category beside the Gaussian latent (Jang et al. 2017), at a constant temperature."""

    def __init__(self, temperature: float = 0.67) -> None:
        super().__init__()
        self.temperature = temperature
        self.category, self.fc3 = nn.Linear(400, CLASSES), nn.Linear(20 + CLASSES, 400)

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = torch.relu(self.fc1(x))
        mean, log_variance, logits = self.fc21(h), self.fc22(h), self.category(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        c = F.gumbel_softmax(logits, self.temperature)
        log_q = logits.log_softmax(-1)
        kl = (log_q.exp() * (log_q + math.log(CLASSES))).sum() + standard_kl(mean, log_variance)
        return reconstruction(self.decode(torch.cat([c, z], 1)), x).sum() + kl


class Convolutional(nn.Module):
    """Two strided convolutions each way, 32 and 64 channels, and a layer of 256 about 20 latents."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            nn.Conv2d(1, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 256),
            nn.ReLU(),
        )
        self.mean, self.log_variance = nn.Linear(256, 20), nn.Linear(256, 20)
        self.decoder = nn.Sequential(
            nn.Linear(20, 256),
            nn.ReLU(),
            nn.Linear(256, 64 * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, stride=2, padding=1, output_padding=1),
            nn.Flatten(),
        )

    def loss(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        bce = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return bce + standard_kl(mean, log_variance)


class Residual(nn.Module):
    """x + f(x), f twice a group normalisation, SiLU and a 3×3 convolution (He et al. 2016)."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *(nn.GroupNorm(GROUPS, fan_in, eps=1e-6), nn.SiLU(), nn.Conv2d(fan_in, fan_out, 3, padding=1)),
            *(nn.GroupNorm(GROUPS, fan_out, eps=1e-6), nn.SiLU(), nn.Conv2d(fan_out, fan_out, 3, padding=1)),
        )
        self.shortcut = nn.Identity() if fan_in == fan_out else nn.Conv2d(fan_in, fan_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.inner(x)


class Attention(nn.Module):
    """x + what each place takes from all others, in one head (Vaswani et al. 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        places = self.norm(x).flatten(2).transpose(1, 2)
        found = F.scaled_dot_product_attention(self.query(places), self.key(places), self.value(places))
        return x + self.out(found).transpose(1, 2).unflatten(2, x.shape[2:])


class ResNet(nn.Module):
    """A VAE of 3×32×32 images: levels of 16, 32 and 64 channels, a residual block each, 64 latents."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Unflatten(1, (3, 32, 32)), nn.Conv2d(3, 16, 3, padding=1), Residual(16, 16)),
            *(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(16, 16, 3, stride=2), Residual(16, 32)),
            *(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(32, 32, 3, stride=2), Residual(32, 64)),
            *(Residual(64, 64), Attention(64), Residual(64, 64)),
            *(nn.GroupNorm(GROUPS, 64, eps=1e-6), nn.SiLU(), nn.Flatten()),
        )
        self.mean, self.log_variance = nn.Linear(4096, 64), nn.Linear(4096, 64)
        self.decoder = nn.Sequential(
            *(nn.Linear(64, 4096), nn.Unflatten(1, (64, 8, 8))),
            *(Residual(64, 64), Attention(64), Residual(64, 64)),
            *(Residual(64, 64), Residual(64, 64), nn.Upsample(scale_factor=2), nn.Conv2d(64, 64, 3, padding=1)),
            *(Residual(64, 32), Residual(32, 32), nn.Upsample(scale_factor=2), nn.Conv2d(32, 32, 3, padding=1)),
            *(Residual(32, 16), Residual(16, 16)),
            *(nn.GroupNorm(GROUPS, 16, eps=1e-6), nn.SiLU(), nn.Conv2d(16, 3, 3, padding=1), nn.Flatten()),
        )

    loss = Convolutional.loss


class M2(nn.Module):
    """Kingma et al. 2014: the first len(y) rows show their label, of the others it is summed out.

    The first layer of the encoder is linear in x and y, so that x is not multiplied anew for each class. `share` is
    that of the data whose label is seen, which is what their rows count for in the bound.
    """

    def __init__(self, classification: float = 60.0, share: float = 100 / 30_000) -> None:
        super().__init__()
        self.classification, self.share = classification, share
        self.classifier = nn.Sequential(nn.Linear(784, 500), nn.Softplus(), nn.Linear(500, CLASSES))
        self.of_x, self.of_y = nn.Linear(784, 500), nn.Linear(CLASSES, 500, bias=False)
        self.mean, self.log_variance = nn.Linear(500, 50), nn.Linear(500, 50)
        self.decoder = nn.Sequential(nn.Linear(50 + CLASSES, 500), nn.Softplus(), nn.Linear(500, 784))

    def bound(self, x: Tensor, y: Tensor) -> Tensor:
        """-log p(x given y) of one-hot labels y (…, B, K) or (K, 1, K), at most: (…, B)."""
        h = F.softplus(self.of_x(x) + self.of_y(y))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        kl = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(-1)
        logits = self.decoder(torch.cat([z, y.expand(*z.shape[:-1], CLASSES)], -1))
        return reconstruction(logits, x) + kl + math.log(CLASSES)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        log_q = self.classifier(x).log_softmax(-1)
        seen, unseen = log_q.split([len(y), len(x) - len(y)])
        labelled = self.bound(x[: len(y)], F.one_hot(y, CLASSES).float())
        of_classes = self.bound(x[len(y) :], torch.eye(CLASSES)[:, None])
        unlabelled = (unseen.exp() * (of_classes.T + unseen)).sum(1)
        bound = self.share * labelled.mean() + (1 - self.share) * unlabelled.mean()
        return len(x) * (bound + self.classification * F.nll_loss(seen, y))


class Burda(nn.Module):
    """784-200-200-50 with tanh each way (Burda et al. 2016, one stochastic layer), of binary pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 100)
        )
        self.decoder = nn.Sequential(nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 784))

    def loss(self, x: Tensor, y: Tensor | None = None, stl: bool = False) -> Tensor:
        """-ELBO with the KL in closed form, or by a draw whose own density has no gradient (Roeder et al. 2017)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        if not stl:
            return reconstruction(self.decoder(z), x).sum() + standard_kl(mean, log_variance)
        mean, log_variance = mean.detach(), log_variance.detach()
        log_ratio = 0.5 * (z.pow(2) - (z - mean).pow(2) * torch.exp(-log_variance) - log_variance)
        return reconstruction(self.decoder(z), x).sum() + log_ratio.sum()

    @torch.no_grad()
    def nll(self, x: Tensor, draws: int, rows: int = 100) -> Tensor:
        """-log p(x) of each of x (N, 784) by so many importance samples, some rows at a time."""
        found = []
        for part in x.split(rows):
            mean, log_variance = self.encoder(part).chunk(2, 1)
            noise = torch.randn(draws, *mean.shape)
            z = mean + noise * torch.exp(0.5 * log_variance)
            ratio = 0.5 * (noise.pow(2) + log_variance - z.pow(2)).sum(-1)
            found.append(math.log(draws) - (ratio - reconstruction(self.decoder(z), part)).logsumexp(0))
        return torch.cat(found)


@dataclass(frozen=True)
class FewLabels(Rows):
    """Rows of which `labels`, as many of each class, show their label: `first` of each batch, from its start."""

    labels: int
    first: int

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        each = self.labels // CLASSES
        known = torch.cat([(self.y == c).nonzero()[:each, 0] for c in range(CLASSES)])
        for others in torch.randperm(len(self.x)).split(batch_size - self.first):
            shown = known[torch.randperm(len(known))[: self.first]]
            yield self.x[torch.cat([shown, others])], self.y[shown]


def batches(rows: Rows, batch_size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Those of an epoch, in a random order."""
    if isinstance(rows, FewLabels):
        yield from rows.batches(batch_size)
    else:
        for index in torch.randperm(len(rows.x)).split(batch_size):
            yield rows.at(index)


def train(
    model: nn.Module, rows: Rows, batch_size: int, learning_rate: float, epochs: int, compiled: bool = False
) -> tuple[list[float], list[float]]:
    """Seconds and mean loss per datum of each epoch; `compiled` by torch.compile, in the first of them."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    loss_of = torch.compile(model.loss) if compiled else model.loss
    seconds, losses = [], []
    for _ in range(epochs):
        start, total, seen = time.perf_counter(), torch.zeros(()), 0
        for x, y in batches(rows, batch_size):
            optimizer.zero_grad()
            loss = loss_of(x, y)
            (loss / len(x)).backward()
            optimizer.step()
            total, seen = total + loss.detach(), seen + len(x)
        losses.append(float(total) / seen)
        seconds.append(time.perf_counter() - start)
    return seconds, losses


def products_share(model: nn.Module, rows: Rows, batch_size: int, steps: int = 20) -> float:
    """The part of a step's time, forward and backward, that goes into products of matrices and convolutions."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _, (x, y) in zip(range(steps), batches(rows, batch_size), strict=False):
            model.loss(x, y).backward()
    times = [(event.key, event.self_cpu_time_total) for event in found.key_averages()]
    return sum(t for key, t in times if any(name in key for name in PRODUCTS)) / sum(t for _, t in times)
