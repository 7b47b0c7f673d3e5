"""Quantised posteriors: deterministic, each token of a latent one of K codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor, distributed, nn
from torch.distributions import Distribution

from ..distributions.quantised import Quantised, straight_through
from ..networks.base import BatchNorm, Shape
from ..networks.maps import Maps
from ..system.extras import needing
from ..system.processes import in_company, sum_of_all
from .continuous import head

KEPT = 0.99
"""What of the count of a code's uses is left after a step of training: they are of the last few hundred steps."""
UNUSED = 0.01
"""The count up to which a code is not in use."""
MOST = 1 << 20
"""Codes of a token."""
DEAD = 0.1
"""A code is dead that is used less than this part of what a code is used on average."""


def _library() -> ModuleType:
    """vector-quantize-pytorch, which takes seconds to import."""
    with needing("a quantised posterior", "vector-quantize-pytorch", "tokens"):
        import vector_quantize_pytorch
    return vector_quantize_pytorch


class _Quantiser(nn.Module):
    """What quantised posteriors share: a head, how its numbers are tokens, and how often each code is used.

    Of maps (C, H, W) each place has C / `dim` tokens, in raster order; a flat latent of D numbers has D / `dim`. Each
    is a vector of `dim` numbers, told by `depth` whole numbers below K = `codes`: T = tokens times depth.
    """

    counts: Tensor

    def __init__(
        self, features: int, latent: int, dim: int | None, codes: int, depth: int, shapes: tuple[Shape, Shape]
    ) -> None:
        super().__init__()
        feature_shape, latent_shape = shapes
        self.latent_shape = tuple(latent_shape) or (latent,)
        channels = self.latent_shape[0]
        self.dim, self.depth, self.size = channels if dim is None else dim, depth, math.prod(self.latent_shape)
        if self.dim < 1 or channels % self.dim:
            raise ValueError(f"a token is {self.dim} numbers, which {channels} are no multiple of: change size or dim")
        if not 2 <= codes <= MOST or depth < 1:
            raise ValueError(
                f"codes are {codes:,}, quantizers {depth}; accepted: 2 to {MOST:,} codes, 1 quantizer or more"
            )
        self.tokens = (self.size // self.dim * depth, codes)
        """T and K."""
        self.head = head(features, (latent,), (), "relu", feature_shape, self.latent_shape)
        self.register_buffer("counts", torch.zeros(depth, codes))

    def forward(self, features: Tensor) -> Distribution:
        rows = self._entered(self._split(self.head(features))).reshape(-1, self.size // self.dim, self.dim)
        value, indices, penalties = self._quantised(rows)
        lead = features.shape[:-1]
        shaped = {name: each.view(lead) if each.dim() else each for name, each in penalties.items()}
        z, tokens = self._joined(value.view(*lead, *value.shape[1:])), indices.reshape(*lead, -1)
        return Quantised(z, tokens, shaped, self._counted(indices) if self.training else {})

    def vectors(self, indices: Tensor) -> Tensor:
        """z (…, D) of tokens (…, T), whole numbers below K."""
        return self._joined(self._codes(indices.unflatten(-1, (-1, self.depth))))

    def indices(self, z: Tensor) -> Tensor:
        """The tokens (…, T) of z (…, D), of whose codes it is."""
        return self._nearest(self._split(z)).flatten(-2)

    def _quantised(self, x: Tensor) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        """Of rows of tokens x (R, N, dim) their codes with a gradient, the numbers of these (R, N, depth), and
        penalties, (R,) or scalars.
        """
        raise NotImplementedError

    def _entered(self, tokens: Tensor) -> Tensor:
        """What is quantised, (…, N, dim), of the tokens that the head gives."""
        return tokens

    def _codes(self, indices: Tensor) -> Tensor:
        """The codes (…, N, dim) of numbers (…, N, depth)."""
        raise NotImplementedError

    def _nearest(self, codes: Tensor) -> Tensor:
        """The numbers (…, N, depth) of codes (…, N, dim)."""
        raise NotImplementedError

    def _split(self, z: Tensor) -> Tensor:
        if len(self.latent_shape) == 1:
            return z.unflatten(-1, (-1, self.dim))
        places = math.prod(self.latent_shape[1:])
        return z.unflatten(-1, (-1, self.dim, places)).movedim(-1, -3).flatten(-3, -2)

    def _joined(self, tokens: Tensor) -> Tensor:
        if len(self.latent_shape) == 1:
            return tokens.flatten(-2)
        places = math.prod(self.latent_shape[1:])
        return tokens.unflatten(-2, (places, -1)).movedim(-3, -1).flatten(-3)

    @torch.no_grad()
    def _counted(self, indices: Tensor) -> dict[str, Tensor]:
        """Count codes (R, N, depth), and say how many of all are in use, and of how many equally used ones the entropy
        would be theirs: the mean of each quantizer's.
        """
        numbers = indices.flatten(0, -2).mT
        found = torch.zeros_like(self.counts).scatter_add(1, numbers, torch.ones_like(numbers, dtype=self.counts.dtype))
        self.counts.mul_(KEPT).add_(sum_of_all(found))
        share = self.counts / self.counts.sum(-1, keepdim=True)
        used = (self.counts > UNUSED).to(self.counts.dtype).mean()
        return {"codes used": used, "perplexity": torch.special.entr(share).sum(-1).exp().mean()}


class _Coded(_Quantiser):
    """What quantises by codes that are learned: each of `depth` codebooks the nearest code to what those before it
    left.
    """

    coupled = "codes follow the averages of a batch"

    def __init__(
        self,
        features: int,
        latent: int,
        dim: int | None,
        codes: int,
        depth: int,
        shapes: tuple[Shape, Shape],
        decay: float,
        commitment: float,
    ) -> None:
        super().__init__(features, latent, dim, codes, depth, shapes)
        self.commitment, self.books = commitment, _books(self.dim, codes, depth, decay)

    def _quantised(self, x: Tensor) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        left, value, numbers, distances = x, torch.zeros_like(x), [], []
        for book in self.books:
            code, index, _ = book(left)
            if self.training:
                _revive(book, left.detach().flatten(0, 1))
            value, left = value + code, left - code
            numbers.append(index)
            distances.append(left.square().sum((-1, -2)))
        penalty = self.commitment * torch.stack(distances).sum(0)
        return straight_through(value, x), torch.stack(numbers, -1), {"commitment": penalty}

    def _codes(self, indices: Tensor) -> Tensor:
        each = zip(self.books, indices.unbind(-1), strict=True)
        codes = (_table(book, self.counts).index_select(0, one.flatten()).view(*one.shape, -1) for book, one in each)
        return sum(codes, self.counts.new_zeros(()))

    def _nearest(self, codes: Tensor) -> Tensor:
        if self.depth > 1:
            raise NotImplementedError("the tokens of residual quantisation can't be told from the sum of their codes")
        exact = "donot_use_mm_for_euclid_dist"  # of a code to itself it is 0
        apart = torch.cdist(codes, _table(self.books[0], codes), compute_mode=exact)
        return apart.argmin(-1, keepdim=True)


class VQ(_Coded):
    """Each token of z is that of K `codes` which is nearest to what the encoder gives (van den Oord et al. 2017).

    A token is `dim` numbers: of a latent of maps all channels of a place, else all of z, where nothing else is said.
    Codes are running averages, of that `decay`, of what they stand for; those that hardly any token is near to are put
    to where a token of the batch is. `commitment` times the squared distance between token and code, summed over
    tokens, is added to the loss. The gradient of a code goes to its token as it is.

    By vector-quantize-pytorch (`pip install 'vaekit[tokens]'`), without which it is a `ValueError`.

    >>> posterior = VQ(features=5, latent=6, codes=8, dim=2)
    >>> q = posterior(torch.zeros(4, 5))
    >>> q.value.shape, q.indices.shape, posterior.tokens
    (torch.Size([4, 6]), torch.Size([4, 3]), (3, 8))
    """

    def __init__(
        self,
        features: int,
        latent: int,
        codes: int = 512,
        dim: int | None = None,
        decay: float = 0.99,
        commitment: float = 0.25,
        feature_shape: Shape = (),
        latent_shape: Shape = (),
    ) -> None:
        super().__init__(features, latent, dim, codes, 1, (feature_shape, latent_shape), decay, commitment)


class ResidualVQ(_Coded):
    """Each token of z is the sum of as many codes as there are `quantizers`, each the nearest of its K to what those
    before it left (Zeghidour et al. 2021, algorithm 1).

    All else is as of `VQ`: T is the tokens times the quantizers, those of a token after one another.

    >>> ResidualVQ(features=5, latent=6, codes=8, quantizers=4, dim=2).tokens
    (12, 8)
    """

    def __init__(  # noqa: PLR0913 - those of VQ and one more
        self,
        features: int,
        latent: int,
        codes: int = 512,
        quantizers: int = 4,
        dim: int | None = None,
        decay: float = 0.99,
        commitment: float = 0.25,
        feature_shape: Shape = (),
        latent_shape: Shape = (),
    ) -> None:
        super().__init__(features, latent, dim, codes, quantizers, (feature_shape, latent_shape), decay, commitment)


class _Rounded(_Quantiser):
    """What rounds each number by itself. Its head ends in a batch normalisation of each of a token's numbers, without
    weights (Ioffe & Szegedy 2015): once trained a part of a linear head, so that what is rounded is as published.

    Without it the numbers drift at first, all alike, to where one code is everybody's and `tanh` has no gradient:
    the decoder's first want is another mean image, and codes that are the same for all data give it one.
    """

    def __init__(self, features: int, latent: int, dim: int, codes: int, shapes: tuple[Shape, Shape]) -> None:
        super().__init__(features, latent, dim, codes, 1, shapes)
        self.norm = BatchNorm(dim, affine=False)
        last = self.head.layers[-1] if isinstance(self.head, Maps) else self.head
        last.bias = None  # type: ignore[assignment]  # the norm would take it off

    def _entered(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens)


class FSQ(_Rounded):
    """Each number of a token, standardised over the batch, is bounded by tanh and rounded to one of its `levels`
    (Mentzer et al. 2024, section 3).

    A token is as many numbers as there are `levels`, and one of K = their product codes. Nothing is added to the loss.
    By vector-quantize-pytorch, as `VQ`.

    >>> posterior = FSQ(features=5, latent=6, levels=(5, 4, 3))
    >>> posterior.tokens, posterior.vectors(torch.tensor([[0, 59]]))
    ((2, 60), tensor([[-1.0000, -1.0000, -1.0000,  1.0000,  0.5000,  1.0000]]))
    """

    def __init__(
        self,
        features: int,
        latent: int,
        levels: tuple[int, ...] = (8, 5, 5, 5),
        feature_shape: Shape = (),
        latent_shape: Shape = (),
    ) -> None:
        if not levels or min(levels) < 3:
            raise ValueError(f"levels are {list(levels)}; accepted: a number of 3 or more for each number of a token")
        super().__init__(features, latent, len(levels), math.prod(levels), (feature_shape, latent_shape))
        with torch.device("cpu"):  # it looks at numbers
            self.book: nn.Module = _library().FSQ(list(levels))

    def _quantised(self, x: Tensor) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        rounded, index = self.book(x)
        numbers = index.long().unsqueeze(-1)
        return straight_through(self._codes(numbers).to(x.dtype), rounded), numbers, {}

    def _codes(self, indices: Tensor) -> Tensor:
        codes = self.book.implicit_codebook
        return codes.to(self.counts.dtype).index_select(0, indices.flatten()).view(*indices.shape[:-1], -1)  # type: ignore[operator]

    def _nearest(self, codes: Tensor) -> Tensor:
        return self.book.codes_to_indices(codes).long().unsqueeze(-1)  # type: ignore[operator]


class LFQ(_Rounded):
    """Each number of a token, standardised over the batch, is rounded to -1 or 1 (Yu et al. 2024, section 3.1).

    A token is `dim` numbers, as of `VQ`, and one of K = 2^dim codes. To the loss are added, summed over tokens,
    `entropy` times that of a token's code less that of the batch's codes, in training alone, so that all are used, and
    `commitment` times the squared distance between token and code. By vector-quantize-pytorch, as `VQ`.

    >>> posterior = LFQ(features=5, latent=6, dim=3)
    >>> posterior.tokens, posterior.vectors(torch.tensor([[0, 6]]))
    ((2, 8), tensor([[-1., -1., -1.,  1.,  1., -1.]]))
    """

    coupled = "the entropy of codes is that of a batch"

    def __init__(
        self,
        features: int,
        latent: int,
        dim: int | None = None,
        entropy: float = 0.1,
        commitment: float = 0.25,
        feature_shape: Shape = (),
        latent_shape: Shape = (),
    ) -> None:
        dim = (latent_shape[0] if latent_shape else latent) if dim is None else dim
        if not 1 <= dim <= 18:
            raise ValueError(f"a token of {dim} bits is one of 2^{dim} codes; accepted: 1 to 18, by size or dim")
        super().__init__(features, latent, dim, 2**dim, (feature_shape, latent_shape))
        self.entropy, self.commitment = entropy, commitment
        self.book = _library().LFQ(dim=dim)

    def _quantised(self, x: Tensor) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        (_, index, _), of_batch = self.book(x, return_loss_breakdown=True)
        numbers = index.long().unsqueeze(-1)
        value = self._codes(numbers).to(x.dtype)
        penalties = {"commitment": self.commitment * (x - value).square().sum((-1, -2))}
        if self.training:
            unsure = of_batch.per_sample_entropy - of_batch.batch_entropy
            penalties["entropy"] = self.entropy * x.shape[1] * unsure.to(x.dtype)
        return straight_through(value, x), numbers, penalties

    def _codes(self, indices: Tensor) -> Tensor:
        bits = indices.bitwise_and(self.book.mask) != 0
        return 2 * bits.to(self.counts.dtype) - 1

    def _nearest(self, codes: Tensor) -> Tensor:
        return ((codes > 0) * self.book.mask).sum(-1, keepdim=True)


def _books(dim: int, codes: int, quantizers: int, decay: float) -> nn.ModuleList:
    """The codebooks of quantizers, in step with those of other processes where there are any."""
    from_library = _library().vector_quantize_pytorch.Codebook
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be from 0 to below 1, got {decay}")
    books = nn.ModuleList()
    for _ in range(quantizers):
        # Dead codes are put elsewhere by `_revive`: the library's way reads numbers back from the device in each step.
        book = from_library(dim, codes, decay=decay, threshold_ema_dead_code=0, use_ddp=in_company())
        # Nothing counts as used at first, so that the first batch puts codes to where tokens are.
        book.cluster_size.zero_()
        book.embed_avg.zero_()
        # As a tensor it would be read back as well: whether means have been started, which is not done here.
        del book.initted
        book.initted = True
        books.append(book)
    return books


def _table(book: nn.Module, like: Tensor) -> Tensor:
    """The codes (K, dim) of a `book`, rounded to float32, which the library computes in, as numbers such as `like`."""
    codes: Tensor = book.embed  # type: ignore[assignment]
    return codes[0].float().to(like)


@torch.no_grad()
def _revive(book: nn.Module, tokens: Tensor) -> None:
    """Put the codes of a `book` that are dead to where some of the `tokens` (N, dim) are, drawn at random."""
    size: Tensor = book.cluster_size  # type: ignore[assignment]
    usual = size.mean()
    picked = tokens.index_select(0, torch.randint(len(tokens), size.shape[1:], device=tokens.device)).to(size.dtype)
    if in_company():
        distributed.broadcast(picked, 0)
    dead = size < DEAD * usual
    for kept, new in ((book.embed, picked), (book.embed_avg, usual * picked)):
        kept.copy_(torch.where(dead.unsqueeze(-1), new, kept))  # type: ignore[operator, arg-type]
    size.copy_(torch.where(dead, usual, size))
