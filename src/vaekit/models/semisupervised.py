"""The variational autoencoder of data whose label is seen for some and summed out for the others."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions.discrete import Point, RelaxedOneHot
from ..distributions.moments import mean
from ..modules import evaluating
from ..seeding import seeded
from .compatibility import check_labelled_parts
from .given import checked
from .scoring import MEMORY
from .trace import JoinedTrace, Latent, Trace, beside
from .vae import VAE

LABEL, AUXILIARY = "y", "a"
"""The names of these latents in a trace."""


class Auxiliary(nn.Module):
    """An auxiliary latent a, which makes q(y given x) and q(z given x, y) mixtures over it (Maaløe et al. 2016).

    encoder    x to features, and `posterior` of these, q(a given x)
    generator  x, with y and z as its condition, to features, and `prior` of these, p(a given x, y, z)
    skip       whether the decoder sees a too: the skip deep generative model, else the auxiliary one. The generator's
               input is then z, with y as its condition, and the prior p(a given y, z)
    """

    def __init__(
        self, encoder: nn.Module, posterior: nn.Module, generator: nn.Module, prior: nn.Module, skip: bool = False
    ) -> None:
        super().__init__()
        self.encoder, self.posterior, self.generator, self.prior, self.skip = encoder, posterior, generator, prior, skip


class SemiSupervisedVAE(VAE):
    """p(x given y, z) p(z) p(y) with q(z given x, y) q(y given x), y a label of K classes (Kingma et al. 2014, M2).

    A conditional `VAE` of K conditions with a uniform p(y) and a `classifier`, a network from x to (…, K) logits. Where
    the label is seen, the bound is that of log p(x, y); where it is not, y is summed out exactly, and the bound is that
    of log p(x). With an `auxiliary` latent (Maaløe et al. 2016) encoder and classifier get a as well, so that their
    conditions are (y, a) and a; with its `skip` the decoder's is (y, a) too. All else is as in `VAE`.

    Where the label is seen, its bound says nothing of q(y given x): train with `SemiSupervised`, which adds the
    classifier's cross-entropy there, not with the plain `ELBO`, by which the classifier learns from other rows alone.

    Without y, what is asked about data is about x alone: `score` and `log_prob` sum y out, `encode` and `reconstruct`
    take the likeliest class, `sample` draws it. `decode` needs y.
    """

    label_logits: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        posteriors: Mapping[str, nn.Module],
        priors: Mapping[str, nn.Module],
        decoder: nn.Module,
        likelihood: nn.Module,
        classes: int,
        classifier: nn.Module,
        auxiliary: Auxiliary | None = None,
    ) -> None:
        if taken := {LABEL, AUXILIARY} & set(posteriors):
            raise ValueError(f"latent {taken.pop()!r} has the name of the label or the auxiliary latent; take another")
        super().__init__(encoder, posteriors, priors, decoder, likelihood, classes)
        self.classifier, self.auxiliary = classifier, auxiliary
        self.register_buffer("label_logits", torch.zeros(classes, dtype=self.scale.dtype), persistent=False)
        check_labelled_parts(self)

    def trace(  # type: ignore[override]
        self, x: Tensor, y: Tensor | None = None, samples: int = 1, sum_classes: bool = True
    ) -> Trace | JoinedTrace:
        """The trace of x (B, *event), the first L <= B of them with their labels y (L,) or (L, K), summed out for the
        others, whatever `sum_classes` says.
        """
        x, y = self.typed(x), self.one_hot(y)
        seen = 0 if y is None else len(y)
        parts = [self._traced(x[:seen], y, samples)] if seen else []
        parts += [self._traced(x[seen:], None, samples)] if seen < len(x) else []
        return parts[0] if len(parts) == 1 else JoinedTrace((parts[0], parts[1]))

    def _traced(self, x: Tensor, y: Tensor | None, samples: int) -> Trace:
        inputs = self._inputs(x)
        shape, p_y = torch.Size((samples,)), RelaxedOneHot(self.label_logits)
        q_y, q_a, drawn = self._label(inputs, shape)
        log_class = log_q_label = None
        if y is None:
            drawn = [a.unsqueeze(1) for a in drawn]  # beside the K classes, (S, 1, B, A)
            y = p_y.enumerate_support().unsqueeze(1)  # (K, 1, K)
            q_y = RelaxedOneHot(q_y.logits.unsqueeze(-3))
            log_class = q_y.log_prob(y)
            exact = not drawn
            label = Latent(LABEL, y.unsqueeze(0), q_y, p_y, log_class, exact, label=True, enumerated=True)
        else:
            log_q_label = q_y.log_prob(y)
            label = Latent(LABEL, y.unsqueeze(0), Point(y), p_y, label=True)
        latents, conditions = [], beside(y, *drawn)
        for name, q in self._posteriors(inputs, conditions).items():
            z = q.rsample(torch.Size() if drawn else shape)
            latents.append(Latent(name, z, q, self._prior(name, y), log_class))
        codes = beside(*(latent.z for latent in latents))
        latents.append(label)
        if self.auxiliary and q_a:
            given = (codes, y) if self.auxiliary.skip else (inputs, beside(y, codes))
            p_a: Distribution = self.auxiliary.prior(self._network(self.auxiliary.generator, *given))
            latents.append(Latent(AUXILIARY, drawn[0], q_a, p_a, log_class, exact=False))
        skips = self.auxiliary is not None and self.auxiliary.skip
        return Trace(x, self._likelihood(codes, conditions if skips else y), tuple(latents), log_q_label)

    def latents(self, x: Tensor, y: Tensor | None = None) -> tuple[Latent, ...]:
        """A draw of the label of x (B, *event), where y is not seen."""
        q_y, _, _ = self._label(self._inputs(self.typed(x)), torch.Size((1,)))
        return (Latent(LABEL, q_y.rsample((1,)), q_y, RelaxedOneHot(self.label_logits), label=True),)

    def _label(self, inputs: Tensor, shape: torch.Size) -> tuple[RelaxedOneHot, Distribution | None, list[Tensor]]:
        """q(y given x), and with an auxiliary latent q(a given x) and the draws of a (*shape, B, A) that y is given."""
        if self.auxiliary is None:
            return RelaxedOneHot(self._network(self.classifier, inputs, None)), None, []
        q_a = self.auxiliary.posterior(self._network(self.auxiliary.encoder, inputs, None))
        a = q_a.rsample(shape)
        return RelaxedOneHot(self._network(self.classifier, inputs, a)), q_a, [a]

    def _posteriors(self, inputs: Tensor, conditions: Tensor) -> dict[str, Distribution]:
        """Each q(z given x, conditions), of the batch shape of them all, whatever of it the encoder ignores."""
        features, found = self._network(self.encoder, inputs, conditions), {}
        lead = torch.broadcast_shapes(conditions.shape[:-1], inputs.shape[:1])
        for name, posterior in self.posteriors.items():
            q = posterior(features)
            if q.batch_shape != lead:
                q = posterior(features.expand(*lead, *features.shape[len(q.batch_shape) :]))
            found[name] = q
        return found

    def _posterior(self, x: Tensor, y: Tensor | None, samples: int | None = None) -> dict[str, Distribution]:
        inputs = self._inputs(x)
        if y is None:
            y = self.one_hot(self.classify(x).argmax(-1))
        if self.auxiliary:
            q = self.auxiliary.posterior(self._network(self.auxiliary.encoder, inputs, None))
            a = mean(q) if samples is None else q.sample(torch.Size((samples,)))
            y = beside(y, a)  # type: ignore[arg-type]
        return self._posteriors(inputs, y)  # type: ignore[arg-type]

    def _drawn(self, x: Tensor, y: Tensor | None, samples: int) -> list[Tensor]:
        if self.auxiliary is None:
            return super()._drawn(x, y, samples)
        return [q.sample() for q in self._posterior(x, y, samples).values()]

    def _generated(self, z: Tensor, y: Tensor | None, draw: bool) -> Distribution:
        if self.auxiliary is None or not self.auxiliary.skip:
            return self._likelihood(z, y)
        p = self.auxiliary.prior(self._network(self.auxiliary.generator, z, y))
        return self._likelihood(z, beside(y, p.sample() if draw else mean(p)))  # type: ignore[arg-type]

    @property
    def conditional(self) -> bool:
        return False

    @torch.no_grad()
    def reconstruct(
        self,
        x: ArrayLike | Tensor,
        y: ArrayLike | Tensor | None = None,
        samples: int | None = None,
        draw: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """As of `VAE`, by the likeliest class where y is not given."""
        return super().reconstruct(x, self.classify(x).argmax(-1) if y is None else y, samples, draw, seed)

    @torch.no_grad()
    def sample(
        self, n: int | None = None, y: ArrayLike | Tensor | None = None, draw: bool = True, seed: int | None = None
    ) -> Tensor:
        """As of `VAE`; without y, of classes drawn from p(y)."""
        with seeded(seed):
            if y is None:
                y = torch.randint(self.condition, (1 if n is None else n,), device=self.scale.device)
            return super().sample(n, y, draw)

    def log_prob(
        self,
        x: ArrayLike | Tensor,
        y: ArrayLike | Tensor | None = None,
        samples: int = 100,
        seed: int | None = None,
        memory: int = MEMORY,
    ) -> Tensor:
        """log p(x, y) of x (B, *event) and its labels y, without them log p(x), (B,) nats, as of `VAE`: p(y) is part of
        this model, so that log p(x given y) is log p(x, y) + log K.
        """
        return super().log_prob(x, y, samples, seed, memory)

    @torch.no_grad()
    def classify(self, x: ArrayLike | Tensor, samples: int | None = None, seed: int | None = None) -> Tensor:
        """q(y given x) of x (B, *event), (B, K) probabilities.

        With an auxiliary latent, at its posterior's mean, or averaged over S = `samples` draws of it.
        """
        x, _ = checked(self, x, None)
        inputs = self._inputs(x)
        with seeded(seed), evaluating(self):
            if self.auxiliary is None:
                return self._network(self.classifier, inputs, None).softmax(-1)
            q = self.auxiliary.posterior(self._network(self.auxiliary.encoder, inputs, None))
            a = mean(q).unsqueeze(0) if samples is None else q.sample(torch.Size((samples,)))
            return self._network(self.classifier, inputs, a).softmax(-1).mean(0)
