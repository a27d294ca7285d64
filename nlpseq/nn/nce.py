"""Skip-gram and CBOW by noise-contrastive estimation: the likelihood of a block of text and its closed-form ascent.

A word's row is (2W): its input vector (E), the constant that its bias is multiplied by, zeros up to W, then its output
vector (E), its bias, zeros up to W. So the product of two halves is the whole logit, x . y + b. The bias in the row is
the word's own less log(k q(word)), which makes the logit that of noise-contrastive estimation (Gutmann and Hyvärinen
2010; Mnih and Teh 2012): is the word a true neighbour, or one of k drawn from the noise distribution q? With the
constant 0 it is negative sampling (Mikolov et al. 2013).

A block is T tokens, one passage of the text or several, with a halo of w tokens on each side, then the noise words:
every group of tokens in the block shares its own (`_in_groups`), so that noise is one product a group. What a token
takes from its neighbours, and gives to them, is a weighted sum of the 2w + 1 rows around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BAND", "Block", "Shape", "ascender", "contexts", "log_likelihood", "pairs"]


BAND = 16  # tokens whose logits with all around them are one product (skip-gram)


class Shape(NamedTuple):
    """The sizes of a block; BAND divides group; group and passage divide tokens."""

    tokens: int  # T
    window: int  # w
    passage: int  # tokens that stand together in the text
    group: int  # tokens that share their noise words
    shared: int  # noise words of a group
    embed_size: int  # E
    width: int  # W, at least E + 1
    cbow: bool

    @property
    def slab(self) -> int:
        """Tokens of a block with its halo."""
        return self.tokens + 2 * self.window

    @property
    def rows(self) -> int:
        """Rows of a block: its tokens with their halo, then the noise words."""
        return self.slab + self.tokens // self.group * self.shared


class Block(NamedTuple):
    """What is drawn for a block.

    rows: (slab + noise,) int32, word of every row; near: (T, 2w + 1), for the tokens from w before to w after each 1
    where they are a pair (skip-gram) or 1 / n where it is one of n neighbours (CBOW), else 0; weight: (T, 1), what each
    of its group's noise words counts for a token, n k / K, 0 where it has no neighbour; words: (U,) int64, the
    different words of the rows; order: (rows,) int32, the rows such that those of a word stand together;
    starts: (U,) int32, where those of each begin.
    """

    rows: Tensor
    near: Tensor
    weight: Tensor
    words: Tensor
    order: Tensor
    starts: Tensor


def ascender(table: Tensor, shape: Shape, *, cap: float) -> Callable[[Block, float], None]:
    """Return a function that adds to the words of a block a rate times the gradient of `log_likelihood`.

    CBOW: every neighbour moves by the gradient of the mean, whole, as in word2vec's code and in gensim, where the
    likelihood's own gradient has the n-th part of it for one of n neighbours (İrsoy et al. 2021).
    table: (V, 2W); cap: length at which what is added to an input or output vector is cut: the gradients of a word that
    is frequent in the block add up, though each was made as if the others did not exist. Blocks are so small that
    allocating, and even making views, is felt: what can be is done here, once.
    """
    rows = table.new_zeros(shape.rows, table.shape[1])
    ascent = torch.zeros_like(rows)
    constants = ascent[:, shape.embed_size]
    write = (_cbow if shape.cbow else _skipgram)(rows, ascent, shape)

    def ascend(block: Block, rate: float) -> None:
        torch.index_select(table, 0, block.rows, out=rows)
        write(block)
        constants.zero_()
        sums = torch.embedding_bag(ascent, block.order, block.starts)[0]
        vectors = sums.view(-1, 2, shape.width)
        vectors.mul_(torch.linalg.vector_norm(vectors, dim=2, keepdim=True).reciprocal_().mul_(cap).clamp_(max=rate))
        table.index_add_(0, block.words, sums)

    return ascend


def log_likelihood(table: Tensor, block: Block, shape: Shape) -> Tensor:
    """Return the sum over the true pairs and the weighted noise of the log-probability to tell them apart, in nats."""
    rows = table.index_select(0, block.rows)
    x, y, noise = _parts(rows, shape)
    if shape.cbow:
        x = _means(x, block, shape)
        true = (F.logsigmoid((x * y).sum(1, keepdim=True)) * (block.weight > 0)).sum()
    else:
        logits = torch.einsum("tw,tws->ts", x, y.unfold(0, 2 * shape.window + 1, 1))
        true = (F.logsigmoid(logits) * block.near).sum()
    against = F.logsigmoid(-torch.bmm(_in_groups(x, shape), noise.mT))
    return true + (against * _in_groups(block.weight, shape)).sum()


def contexts(table: Tensor, block: Block, shape: Shape) -> Tensor:
    """Return what every token of a block is predicted from or predicts with, as it meets the outputs: (T, W)."""
    x, _, _ = _parts(table.index_select(0, block.rows), shape)
    return _means(x, block, shape) if shape.cbow else x


def pairs(block: Block, shape: Shape) -> tuple[Tensor, Tensor]:
    """Return the block's true pairs as (P,) the token whose context it is, 0 to T - 1, and (P,) the word predicted."""
    if shape.cbow:
        owner = block.weight.flatten().nonzero().flatten()
        return owner, block.rows[owner + shape.window]
    owner, place = block.near.nonzero().unbind(1)
    return owner, block.rows[owner + place]


def _means(x: Tensor, block: Block, shape: Shape) -> Tensor:
    """Return the mean of every token's neighbours: (slab, W) -> (T, W)."""
    return torch.einsum("ts,tws->tw", block.near, x.unfold(0, 2 * shape.window + 1, 1))


def _parts(rows: Tensor, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Return the inputs and outputs that meet (one of them with its halo) and the outputs of each group's noise."""
    inside, slab = slice(shape.window, shape.window + shape.tokens), slice(0, shape.slab)
    given, asked = (slab, inside) if shape.cbow else (inside, slab)
    noise = rows[shape.slab :, shape.width :].view(-1, shape.shared, shape.width)
    return rows[given, : shape.width], rows[asked, shape.width :], noise


def _in_groups(x: Tensor, shape: Shape) -> Tensor:
    """Return the tokens that share their noise words, as a view: (T, ..) -> (T / group, group, ..).

    They stand apart, over all passages of the block: words beside each other, and CBOW's means, which share most of
    their words, would else meet the same noise again and again.
    """
    return x.view(shape.group, -1, *x.shape[1:]).transpose(0, 1)


def _skipgram(rows: Tensor, ascent: Tensor, shape: Shape) -> Callable[[Block], None]:
    """Return a function that writes the gradient of a block's rows into ascent."""
    (x, y, noise), (to_x, to_y, to_noise) = _parts(rows, shape), _parts(ascent, shape)
    wide = BAND + 2 * shape.window
    bands, around = x.view(-1, BAND, shape.width), y.unfold(0, wide, BAND).mT
    logits = x.new_empty(len(bands), wide, BAND)
    true, turned = _turned(rows, shape)
    true_by_band = true.view(len(bands), BAND, -1)
    near = logits.as_strided(true_by_band.shape, (wide * BAND, BAND + 1, BAND))  # [.., r, d] is logits[.., r + d, r]
    halves = rows.view(-1, shape.width)
    from_y = _sums(halves, _around(shape.tokens, shape, rows.device).mul_(2).add_(1))
    from_x = _sums(halves, _tokens_around(shape, rows.device).add_(shape.window).mul_(2))
    x_in_groups, repel = _in_groups(x, shape), _repulsion(noise, to_noise, shape)

    def write(block: Block) -> None:
        torch.bmm(around, bands.mT, out=logits)
        torch.neg(near, out=true_by_band)
        true.sigmoid_().mul_(block.near)
        gradient = from_y(true)
        repel(x_in_groups, _in_groups(gradient, shape), block)
        to_x.copy_(gradient)
        to_y.copy_(from_x(turned()))

    return write


def _cbow(rows: Tensor, ascent: Tensor, shape: Shape) -> Callable[[Block], None]:
    """Return a function that writes what a block's rows move by at the rate 1 into ascent; see `ascender`."""
    (_, y, noise), (to_x, to_y, to_noise) = _parts(rows, shape), _parts(ascent, shape)
    gradient = y.new_empty(y.shape)
    gradient_in_groups = _in_groups(gradient, shape)
    given, turned = _turned(rows, shape)
    mean_of = _sums(rows.view(-1, shape.width), _around(shape.tokens, shape, rows.device).mul_(2))
    from_gradient = _sums(gradient, _tokens_around(shape, rows.device))
    repel = _repulsion(noise, to_noise, shape)

    def write(block: Block) -> None:
        mean = mean_of(block.near)
        torch.mul(mean, y, out=gradient)
        true = gradient.sum(1, keepdim=True).neg_().sigmoid_()
        torch.mul(mean, true, out=to_y)
        torch.mul(y, true, out=gradient)
        repel(_in_groups(mean, shape), gradient_in_groups, block)
        torch.sign(block.near, out=given)
        to_x.copy_(from_gradient(turned()))

    return write


def _repulsion(noise: Tensor, to_noise: Tensor, shape: Shape) -> Callable[[Tensor, Tensor, Block], None]:
    """Return a function that adds the noise's part to the gradient of x and writes that of the noise.

    noise, to_noise: (T / group, K, W); the function's x, gradient: (T / group, group, W).
    """
    false = noise.new_empty(len(noise), shape.group, shape.shared)
    whole = noise.new_empty(noise.shape)  # batched products want a result without gaps

    def repel(x: Tensor, gradient: Tensor, block: Block) -> None:
        torch.bmm(x, noise.mT, out=false)
        false.sigmoid_().mul_(_in_groups(block.weight, shape))
        gradient.baddbmm_(false, noise, alpha=-1)
        torch.neg(torch.bmm(false.mT, x, out=whole), out=to_noise)

    return repel


def _sums(values: Tensor, places: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that gives the sums of values' rows at places by its weights, both (N, 2w + 1): (N, W)."""
    first = torch.arange(0, places.numel(), places.shape[1], dtype=places.dtype, device=places.device)
    index = places.flatten()
    return lambda weights: torch.embedding_bag(values, index, first, per_sample_weights=weights.view(-1))[0]


def _around(count: int, shape: Shape, device: torch.device) -> Tensor:
    """Return 0 to 2w, 1 to 2w + 1, ..: for every token the places in the slab of those around it, (count, 2w + 1)."""
    first = torch.arange(count, dtype=torch.int32, device=device)[:, None]
    return first + torch.arange(2 * shape.window + 1, dtype=torch.int32, device=device)


def _tokens_around(shape: Shape, device: torch.device) -> Tensor:
    """Return for every place in the slab the tokens that have it around them, any where there is none: (slab, ..)."""
    return _around(shape.slab, shape, device).sub_(2 * shape.window).clamp_(0, shape.tokens - 1)


def _turned(like: Tensor, shape: Shape) -> tuple[Tensor, Callable[[], Tensor]]:
    """Return a tensor for what tokens have with those around them, (T, 2w + 1), and a function that gives it turned.

    That is what every place in the slab has with the tokens around it, (slab, 2w + 1), 0 where there is none.
    """
    reach, wide = 2 * shape.window, 2 * shape.window + 1
    held = like.new_zeros(shape.tokens + 2 * reach, wide)
    diagonals = held.as_strided((shape.slab, wide), (wide, wide - 1), reach)
    whole = like.new_empty(diagonals.shape)
    return held[reach : reach + shape.tokens], lambda: whole.copy_(diagonals)
