"""The variational autoencoder of data whose label is seen for some and summed out for the others."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.batch import Batch
from ..distributions.discrete import RelaxedOneHot
from ..distributions.moments import center
from ..distributions.shapes import broadcast_shapes
from ..modules import evaluating
from ..networks.base import last_weight, one_hots
from ..seeding import seeded
from .cases import Cases, repeated
from .compatibility import check_labelled_parts, check_pair
from .given import checked, unchecked
from .sampling import Draw
from .scoring import MEMORY
from .trace import Latent, Trace, beside, score_of
from .vae import VAE

LABEL, AUXILIARY = "y", "a"
"""The names of these latents in a trace."""
IMPOSSIBLE = -1e4
"""The logit of a class that a datum is not of, beside 0 of the one that it is: a number, so that 0 times it is 0."""


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
        for what, part in (("posterior", posterior), ("prior", prior)):
            if getattr(part, "tokens", None) is not None:
                of = f"the {what} of the auxiliary latent is {type(part).__name__}, which gives one code"
                raise ValueError(f"{of}; accepted: a density, that is drawn from")
        check_pair(AUXILIARY, posterior, prior)
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
    classifies = True

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
        if getattr(likelihood, "exposure", False):
            raise ValueError("the likelihood has an exposure, but the condition of a model of labels is these alone")
        super().__init__(encoder, posteriors, priors, decoder, likelihood, classes)
        self.classifier, self.auxiliary = classifier, auxiliary
        self.inferring = (*self.inferring, "classifier")
        if auxiliary is not None:
            self.inferring = (*self.inferring, "auxiliary.encoder", "auxiliary.posterior")
        self.register_buffer("label_logits", torch.zeros(classes, dtype=self.scale.dtype), persistent=False)
        check_labelled_parts(self)

    def trace(self, batch: Batch, samples: int = 1, sum_classes: bool = True, draw: Draw | None = None) -> Trace:
        """The trace of a batch, the label summed out where it is not seen, whatever `sum_classes` says."""
        batch, y = self.typed(batch), self.one_hot(batch.y)
        inputs, seen = self.inputs(batch.x, batch.observed), 0 if y is None else len(y)
        take = draw or (lambda name, q: q.rsample((samples,) if self.auxiliary is None or name == AUXILIARY else ()))
        q_y, of_a, a = self._label(inputs, take)
        label, log_q_label = self._label_cases(q_y, y, inputs.shape[0] - seen, exact=a is None)
        cases, labels = label.cases, label.z[0]
        if a is not None and of_a is not None and cases:
            of_a, a = cases.repeat(of_a), cases.repeat(a, -2)
        conditions = labels if a is None else beside(labels, a)
        features, latents = self._of_cases(self.encoder, inputs, conditions, seen), []
        for name, posterior in self.posteriors.items():
            q = posterior(features)
            latents.append(Latent(name, take(name, q), q, self.prior(name, labels), cases))
        codes = beside(*(latent.z for latent in latents))
        latents.append(label)
        if self.auxiliary and a is not None:
            q_a = self.auxiliary.posterior(of_a)
            p_a = self.auxiliary.prior(self._generated_features(self.auxiliary, inputs, codes, labels, seen))
            latents.append(Latent(AUXILIARY, a, q_a, p_a, cases, exact=False))
            if score_of(latents[-1:]) is not None:
                what = "draws of the auxiliary latent carry a part of their gradient alone, and q(y given x, a) has no"
                raise ValueError(f"{what} place for the rest; accepted: a density, or relaxed-categorical")
        px = self.likelihood_at({latent.name: latent.z for latent in latents} | {LABEL: labels}, y)
        return Trace(batch, px, tuple(latents), cases, log_q_label, last=last_weight(self.decoder))

    def likelihood_at(self, z: Mapping[str, Tensor], y: Tensor | None) -> Distribution:
        """As of any other, of which the label is a latent, in place of y."""
        skips = self.auxiliary is not None and self.auxiliary.skip
        return super().likelihood_at(z, beside(z[LABEL], z[AUXILIARY]) if skips else z[LABEL])

    def _label_cases(
        self, q_y: RelaxedOneHot, y: Tensor | None, others: int, exact: bool
    ) -> tuple[Latent, Tensor | None]:
        """The label as a latent of its cases, of data whose first labels are y (L, K), and log q(y given x) of these.

        One that is seen is its class for certain: a single case.
        """
        logits, p_y, classes, log_q_label = q_y.logits, RelaxedOneHot(self.label_logits), self.condition, None
        one_hots = p_y.enumerate_support()
        # Not by repeat_interleave, whose sizes an export takes for those of its example.
        labels = one_hots[torch.arange(classes * others, device=one_hots.device) // max(others, 1)]
        if y is not None:
            known = logits[..., : len(y), :]
            log_q_label = (y * known).sum(-1)
            certain = ((1 - y) * IMPOSSIBLE).expand_as(known)
            labels = torch.cat([y, labels])
            logits = torch.cat([certain, logits[..., len(y) :, :]], -2) if others else certain
        seen = labels.shape[0] - classes * others  # not by len(): an export would take it for a constant
        q_y = RelaxedOneHot(repeated(logits, seen, classes, -2) if others else logits)
        cases = Cases(q_y.log_prob(labels), seen, classes) if others else None
        label = Latent(LABEL, labels.unsqueeze(0), q_y, p_y, cases, exact or not others, label=True, enumerated=True)
        return label, log_q_label

    def _of_cases(self, network: nn.Module, inputs: Tensor, conditions: Tensor, seen: int) -> Tensor:
        """What a network of x and a condition gives of cases whose conditions are (…, R, C): (…, R, F).

        x is given to it once, not once for each class, so that what it does with x alone it does once.
        """
        found = []
        if seen:
            given = conditions[..., :seen, :]
            made = self._of_network(network, inputs[:seen], given)
            found.append(made.expand(*given.shape[:-1], made.shape[-1]))
        if others := inputs.shape[0] - seen:
            given = conditions[..., seen:, :].unflatten(-2, (self.condition, others))
            # Without an auxiliary latent, all data have the same conditions.
            made = self._of_network(network, inputs[seen:], given if self.auxiliary else given[..., :1, :])
            found.append(made.expand(*given.shape[:-1], made.shape[-1]).flatten(-3, -2))
        return torch.cat(found, -2) if len(found) > 1 else found[0]

    def _generated_features(
        self, auxiliary: Auxiliary, inputs: Tensor, codes: Tensor, labels: Tensor, seen: int
    ) -> Tensor:
        """What p(a) is made from, of cases."""
        if auxiliary.skip:
            return self._of_network(auxiliary.generator, codes, labels)
        return self._of_cases(auxiliary.generator, inputs, beside(labels, codes), seen)

    def latents(self, batch: Batch) -> tuple[Latent, ...]:
        """A draw of the label of a batch, where it is not seen."""
        batch = self.typed(batch)
        q_y, _, _ = self._label(self.inputs(batch.x, batch.observed), lambda _, q: q.rsample((1,)))
        return (Latent(LABEL, q_y.rsample((1,)), q_y, RelaxedOneHot(self.label_logits), label=True),)

    def _label(self, inputs: Tensor, draw: Draw) -> tuple[RelaxedOneHot, Tensor | None, Tensor | None]:
        """q(y given x); with an auxiliary latent also what q(a given x) is made from, and the draws of a (S, B, A) that
        y is given.
        """
        if self.auxiliary is None:
            return RelaxedOneHot(self._of_network(self.classifier, inputs, None)), None, None
        of_a = self._of_network(self.auxiliary.encoder, inputs, None)
        a = draw(AUXILIARY, self.auxiliary.posterior(of_a))
        return RelaxedOneHot(self._of_network(self.classifier, inputs, a)), of_a, a

    def posterior(self, batch: Batch, samples: int | None = None) -> dict[str, Distribution]:
        """q of each latent given a batch and its label, the likeliest where that is not given."""
        inputs = self.inputs(batch.x, batch.observed)
        labels = self._classified(inputs).argmax(-1) if batch.y is None else batch.y
        y = one_hots(labels, self.condition, self.scale)
        if self.auxiliary:
            q = self.auxiliary.posterior(self._of_network(self.auxiliary.encoder, inputs, None))
            a = center(q) if samples is None else q.sample(torch.Size((samples,)))
            y = beside(y, a)
        features = self._of_network(self.encoder, inputs, y)
        lead = broadcast_shapes(y.shape[:-1], inputs.shape[:1])
        return self.posteriors_of(features.expand(*lead, features.shape[-1]))

    def _drawn(self, batch: Batch, samples: int) -> Tensor:
        if self.auxiliary is None:
            return super()._drawn(batch, samples)
        return beside(*(q.sample() for q in self.posterior(batch, samples).values()))

    def generated(self, z: Tensor, y: Tensor | None, draw: bool) -> Distribution:
        if self.auxiliary is None or not self.auxiliary.skip:
            return self.likelihood_of(z, y)
        p = self.auxiliary.prior(self._of_network(self.auxiliary.generator, z, y))
        return self.likelihood_of(z, beside(y, p.sample() if draw else center(p)))  # type: ignore[arg-type]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """As of `VAE`, by the likeliest class where y is not given."""
        if y is None:
            batch = unchecked(self, x, None)
            y = self._classified(self.inputs(batch.x, batch.observed)).argmax(-1)
        return super().forward(x, y)

    @property
    def conditional(self) -> bool:
        return False

    @torch.no_grad()
    def reconstruct(
        self,
        x: ArrayLike | Tensor | Batch,
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
        x: ArrayLike | Tensor | Batch,
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
    def classify(self, x: ArrayLike | Tensor | Batch, samples: int | None = None, seed: int | None = None) -> Tensor:
        """q(y given x) of x (B, *event), (B, K) probabilities.

        With an auxiliary latent, at its posterior's mean, or averaged over S = `samples` draws of it.
        """
        batch = checked(self, x, None)
        with seeded(seed), evaluating(self):
            return self._classified(self.inputs(batch.x, batch.observed), samples)

    def _classified(self, inputs: Tensor, samples: int | None = None) -> Tensor:
        if self.auxiliary is None:
            return self._of_network(self.classifier, inputs, None).softmax(-1)
        q = self.auxiliary.posterior(self._of_network(self.auxiliary.encoder, inputs, None))
        a = center(q).unsqueeze(0) if samples is None else q.sample(torch.Size((samples,)))
        return self._of_network(self.classifier, inputs, a).softmax(-1).mean(0)
