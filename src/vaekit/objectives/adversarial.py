"""A term that plays against a discriminator of patches of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import relu

from ..data.domains import Domain
from ..models.trace import Trace
from ..networks.patches import PatchDiscriminator
from .base import Loss
from .images import checked_images, compared, expected

LARGEST = 1e4
"""The most that the term is multiplied by to balance it."""
NOTHING = 1e-4
"""What is added to the norm of the gradient that is divided by."""


class Adversarial(nn.Module):
    """`weight` times what a discriminator of patches holds against reconstructions, from the part `start` of the run on
    (Isola et al. 2017; Esser et al. 2021, eq. 5-7).

    The discriminator D has the hinge loss (relu(1 - D(x)) + relu(1 + D(x'))) / 2, averaged over patches, the model
    -lambda D(x'). With `adaptive`, lambda is the norm of the gradient of all that is added up beside it (the KL has
    none there) over that of -D(x'), both of the weights of the decoder's last layer: the term pulls as hard as the
    rest, in whatever units. Without, it is 1, and `weight` are nats per unit of D. Where no gradient is taken, such as
    on held-out data, there is nothing to balance, and the term adds nothing to the loss. The discriminator has
    `channels` in its first layer, and the learning rate `rate`. Before `start` both losses are zero.
    """

    balanced = of_no_likelihood = True

    def __init__(
        self,
        event_shape: Sequence[int],
        domain: Domain,
        weight: float = 0.5,
        start: float = 0.0,
        adaptive: bool = True,
        channels: int = 64,
        rate: float = 4.5e-6,
    ) -> None:
        super().__init__()
        checked_images("adversarial", event_shape, domain)
        for name, value, most in (("weight", weight, float("inf")), ("start", start, 1.0)):
            if not 0 <= value < most:
                raise ValueError(f"{name} must be at least 0 and below {most}, got {value}")
        if not rate > 0:
            raise ValueError(f"rate must be above 0, got {rate}")
        self.domain, self.weight, self.start, self.adaptive = domain, float(weight), float(start), adaptive
        self.opponent, self.opponent_rate = PatchDiscriminator(event_shape, channels), rate

    def forward(self, trace: Trace, progress: float = 1.0, others: Tensor | None = None) -> Loss:
        _, made = compared(trace, self.domain)
        # At constant weights: the model's step is to leave no gradient in them.
        held = {name: each.detach() for name, each in self.opponent.named_parameters()}
        own = -expected(trace, functional_call(self.opponent, held, (made,)).flatten(2).mean(2))
        said: dict[str, Tensor | float] = {"adversarial": own.detach()}
        if not (own.requires_grad and torch.is_grad_enabled()):
            return Loss(torch.zeros_like(own), said)
        balance = self._balance(own, others, trace.last)
        said["adversarial_weight"] = balance = self._begun(progress, own) * self.weight * balance
        return Loss(balance * own, said)

    def _balance(self, own: Tensor, others: Tensor | None, last: Tensor | None) -> Tensor:
        if not self.adaptive or others is None or last is None or not last.requires_grad:
            return torch.ones_like(own)
        theirs, mine = (torch.autograd.grad(each, last, retain_graph=True)[0].norm() for each in (others, own))
        return (theirs / (mine + NOTHING)).clamp(max=LARGEST).detach()

    def _begun(self, progress: Any, like: Tensor) -> Tensor:
        # Of a recording the progress is a tensor.
        return (torch.as_tensor(progress, dtype=like.dtype, device=like.device) >= self.start).to(like.dtype)

    def opponent_loss(self, trace: Trace, progress: float = 1.0) -> Loss:
        """The hinge loss, and what the discriminator gives to real and decoded images, each datum and class weighed as
        in the model's own.
        """
        x, made = (each.detach() for each in compared(trace, self.domain))
        real, false = self.opponent(x), self.opponent(made)

        def mean(values: Tensor) -> Tensor:
            return expected(trace, values.flatten(-3).mean(-1))

        loss = 0.5 * (mean(relu(1 - real)) + mean(relu(1 + false)))
        said: dict[str, Tensor | float] = {"real": mean(real.detach()), "decoded": mean(false.detach())}
        return Loss(self._begun(progress, loss) * loss, said)
