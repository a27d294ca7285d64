"""Skip-gram and CBOW by noise-contrastive estimation: the likelihood of a block of text and its closed-form ascent.

A word's row is (2W): its input vector (E), the constant that its bias is multiplied by, zeros up to W, then its output
vector (E), its bias, zeros up to W. So the product of two halves is the whole logit, x . y + b. The bias in the row is
the word's own less log(k q(word)), which makes the logit that of noise-contrastive estimation (Gutmann and Hyvärinen
2010; Mnih and Teh 2012): is the word a true neighbour, or one of k drawn from the noise distribution q? With the
constant 0 it is negative sampling (Mikolov et al. 2013).

A block is T tokens, one passage of the text or several, with a halo of w tokens on each side, then the noise words:
every group of tokens in the block shares its own (`_in_groups`). True pairs lie on a diagonal band, so they are small
products of `band` tokens with the band + 2w tokens around them; noise is one product a group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["FAR", "Block", "Shape", "ascender", "contexts", "log_likelihood", "pairs", "surroundings"]

FAR = -1e4  # a logit that makes the sigmoid exactly 0


class Shape(NamedTuple):
    """The sizes of a block; band divides tokens and is at least 2 window, group and passage divide tokens."""

    tokens: int  # T
    window: int  # w
    band: int
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

    rows: (slab + noise,) int64, word of every row; near: (T / band, band + 2w, band), for the tokens around a band and
    each in it 0 where they are a pair and 1 where not (skip-gram), or the weight of the neighbour in the token's mean
    and 0 (CBOW); weight: (T, 1), what each of its group's noise words counts for a token, n k / K;
    live: (T, 1) 1 where the token has a neighbour, else 0; words: (U,) int64, the different words of the rows; order:
    (rows,) int64, the rows such that those of a word stand together; starts: (U,) int64, where those of each begin.
    """

    rows: Tensor
    near: Tensor
    weight: Tensor
    live: Tensor
    words: Tensor
    order: Tensor
    starts: Tensor


def surroundings(rows: Tensor, shape: Shape) -> Tensor:
    """Return for every `band` of tokens the tokens around it, as a view: (slab, ..) -> (T / band, band + 2w, ..)."""
    return rows.unfold(0, shape.band + 2 * shape.window, shape.band).mT


def ascender(table: Tensor, shape: Shape, *, cap: float) -> Callable[[Block, float], None]:
    """Return a function that adds to the words of a block a rate times the gradient of `log_likelihood`.

    CBOW: every neighbour moves by the gradient of the mean, whole, as in word2vec's code and in gensim, where the
    likelihood's own gradient has the n-th part of it for one of n neighbours (İrsoy et al. 2021).
    table: (V, 2W); cap: length at which what is added to an input or output vector is cut: the gradients of a word that
    is frequent in the block add up, though each was made as if the others did not exist. Blocks are so small that
    allocating, and even making views, would be felt: both are done here, once.
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
        x = torch.bmm(block.near.mT, surroundings(x, shape)).flatten(0, 1)
        true = (F.logsigmoid((x * y).sum(1, keepdim=True)) * block.live).sum()
    else:
        pairs = torch.bmm(surroundings(y, shape), x.view(-1, shape.band, shape.width).mT)
        true = (F.logsigmoid(pairs) * (block.near == 0)).sum()
    against = F.logsigmoid(-torch.bmm(_in_groups(x, shape), noise.mT))
    return true + (against * _in_groups(block.weight, shape)).sum()


def contexts(table: Tensor, block: Block, shape: Shape) -> Tensor:
    """Return what every token of a block is predicted from or predicts with, as it meets the outputs: (T, W)."""
    x, _, _ = _parts(table.index_select(0, block.rows), shape)
    return torch.bmm(block.near.mT, surroundings(x, shape)).flatten(0, 1) if shape.cbow else x


def pairs(block: Block, shape: Shape) -> tuple[Tensor, Tensor]:
    """Return the block's true pairs as (P,) the token whose context it is, 0 to T - 1, and (P,) the word predicted."""
    if shape.cbow:
        owner = block.live.flatten().nonzero().flatten()
        return owner, block.rows[owner + shape.window]
    band, column, row = (block.near == 0).nonzero().unbind(1)
    return band * shape.band + row, block.rows[band * shape.band + column]


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
    bands, around = x.view(-1, shape.band, shape.width), surroundings(y, shape)
    true = x.new_empty(len(bands), around.shape[1], shape.band)
    gradient = x.new_empty(x.shape)
    gradients = gradient.view(bands.shape)
    repel = _repulsion(_in_groups(x, shape), noise, _in_groups(gradient, shape), to_noise)
    spread = _spreading(to_y, shape)

    def write(block: Block) -> None:
        torch.baddbmm(block.near, around, bands.mT, beta=FAR, alpha=-1, out=true).sigmoid_()
        torch.bmm(true.mT, around, out=gradients)
        repel(_in_groups(block.weight, shape))
        to_x.copy_(gradient)
        spread(true, bands)

    return write


def _cbow(rows: Tensor, ascent: Tensor, shape: Shape) -> Callable[[Block], None]:
    """Return a function that writes what a block's rows move by at the rate 1 into ascent; see `ascender`."""
    (x, y, noise), (to_x, to_y, to_noise) = _parts(rows, shape), _parts(ascent, shape)
    around = surroundings(x, shape)
    mean, gradient = y.new_empty(y.shape), y.new_empty(y.shape)
    means, gradients = (tensor.view(-1, shape.band, shape.width) for tensor in (mean, gradient))
    repel = _repulsion(_in_groups(mean, shape), noise, _in_groups(gradient, shape), to_noise)
    spread, pairs = _spreading(to_x, shape), y.new_empty(len(around), around.shape[1], shape.band)

    def write(block: Block) -> None:
        torch.bmm(block.near.mT, around, out=means)
        torch.mul(mean, y, out=gradient)
        true = gradient.sum(1, keepdim=True).neg_().sigmoid_()
        torch.mul(mean, true, out=to_y)
        torch.mul(y, true, out=gradient)
        repel(_in_groups(block.weight, shape))
        spread(torch.sign(block.near, out=pairs), gradients)

    return write


def _repulsion(x: Tensor, noise: Tensor, gradient: Tensor, to_noise: Tensor) -> Callable[[Tensor], None]:
    """Return a function that adds the noise's part to the gradient of x and writes that of the noise.

    x, gradient: (T / group, group, W); noise, to_noise: (T / group, K, W).
    """
    false = x.new_empty(*x.shape[:2], noise.shape[1])
    whole = noise.new_empty(noise.shape)  # batched products want a result without gaps

    def repel(weight: Tensor) -> None:
        torch.bmm(x, noise.mT, out=false)
        false.sigmoid_().mul_(weight)
        gradient.baddbmm_(false, noise, alpha=-1)
        torch.neg(torch.bmm(false.mT, x, out=whole), out=to_noise)

    return repel


def _spreading(to: Tensor, shape: Shape) -> Callable[[Tensor, Tensor], None]:
    """Return a function that writes what every token gives to those around it, the transpose of a banded product.

    to: (slab, W); the function's near: (T / band, band + 2w, band), rows: (T / band, band, W).
    """
    band, tokens = shape.band, shape.tokens
    given = to.new_empty(tokens // band, band + 2 * shape.window, shape.width)
    own, beyond = to[:tokens].view(-1, band, shape.width), to[band:].unfold(0, 2 * shape.window, band).mT

    def spread(near: Tensor, rows: Tensor) -> None:
        torch.bmm(near, rows, out=given)
        to[tokens:].zero_()
        own.copy_(given[:, :band])
        beyond.add_(given[:, band:])

    return spread
