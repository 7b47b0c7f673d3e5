"""Inference that is trained ahead of the model, so that it does not lag behind (He et al. 2019)."""

from __future__ import annotations

from torch import nn

from ..models import VAE
from ..settings import unset
from ..spec.keys import AggressiveSpec
from .held import of_inference


class Turns:
    """Which weights of `model` a step leaves as they are, of a run of so many steps in `total`.

    At first `steps` steps, each of a batch of its own, are of the weights of inference alone, and the next one of all
    others alone (He et al. 2019, algorithm 1); from the part `until` of the run on, every step is of all weights. Their
    criteria, that the bound is no better and that the mutual information of x and z does not rise, read numbers of the
    device back and end a run's phases where chance has them: by the number of the step nothing waits, and a resumed run
    goes on the same.
    Raises `ValueError` where the weights that are trained are of one kind.
    """

    def __init__(self, model: VAE, options: AggressiveSpec | None, total: int) -> None:
        self.steps, self.end = (options.steps, options.until * total) if options else (0, 0.0)
        inferring = of_inference(model) if options else set()
        trained = [each for each in model.parameters() if each.requires_grad]
        self.inference: list[nn.Parameter] = [each for each in trained if each in inferring]
        self.others = [each for each in trained if each not in inferring]
        if options and not (self.inference and self.others):
            kind = "all others" if self.inference else "inference"
            raise ValueError(
                f"training.aggressive has steps of inference and of all others by turns, and no weights of {kind} are "
                f"trained; {unset('training.aggressive')}"
            )

    def __call__(self, step: int) -> None:
        """Take the gradients from the weights that the step of that number, from 0, is not of."""
        if step < self.end:
            for weight in self.inference if step % (self.steps + 1) == self.steps else self.others:
                weight.grad = None
