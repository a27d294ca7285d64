"""What skip-gram and CBOW draw from a text: which words are kept, their windows, and noise.

All of it is a function of (seed, epoch, place in the text): nothing is carried from one stretch to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nlpseq.batches import Ragged
from nlpseq.errors import UsageError, sentence
from nlpseq.nn.nce import BAND, Block, Shape
from nlpseq.settings import EmbeddingConfig

__all__ = ["Chances", "Stretch", "block_shape", "chances", "draw", "keep_probability", "stretch_tokens"]

_GROUP = {"skipgram": 256, "cbow": 128}  # tokens that share their noise words
_WINDOWS = 25  # that a passage is long at least: few pairs are lost at its ends
_SLOTS = 1 << 22  # of the table that noise is drawn from
_STRETCH = 1 << 16  # tokens that are drawn for at once, little enough to stay in the cache …
_BLOCKS = 64  # … but of so many blocks …
_WEIGHTS = 1 << 25  # … and no more than make so many numbers in `Block.near`, or one block

Ints = npt.NDArray[np.int64]
Whole = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


class Chances(NamedTuple):
    """The probabilities of a text's words.

    keep: (V,) of not being thinned out; word: (V,) of a word of the thinned text; noise: (V,) of a noise word, exactly
    as they are drawn; slots: the words, each as often as `noise` says, that noise is drawn from.
    """

    keep: Floats
    word: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    slots: npt.NDArray[np.int32]


class Stretch(NamedTuple):
    """All that is drawn for a stretch of text, block after block."""

    blocks: Block  # the tensors of all blocks: (blocks, ..), but `words` and `starts` one after the other
    distinct: list[int]  # different words, in every block
    tokens: int  # that were read
    kept: int  # of them, after subsampling
    noise_words: list[int]  # k for each true pair, in every block


def keep_probability(counts: Ints, subsample: float | None) -> Floats:
    """Return the probability that an occurrence of a word is kept, (V,), as word2vec's code and gensim have it.

    counts: (V,); subsample: the share t of the text above which a word with share f is thinned out, to
    sqrt(t / f) + t / f of what it was (the paper, Mikolov et al. 2013, has the first term only); absent or 0: none is.
    """
    if not subsample:
        return np.ones(len(counts), np.float32)
    share = subsample * counts.sum() / np.maximum(counts, 1)
    keep: Floats = np.minimum(1.0, np.sqrt(share) + share).astype(np.float32)
    return keep


def chances(counts: Ints, config: EmbeddingConfig) -> Chances:
    """Return the probabilities that training draws by; counts: (V,) of the text's words, not all of them zero.

    Raises UsageError where fewer than two words occur: there is nothing to tell apart.
    """
    if np.count_nonzero(counts) < 2:
        found = f"{np.count_nonzero(counts)} of them"
        raise UsageError(sentence("text", "hold at least two words that are common enough", found, quote=False))
    keep = keep_probability(counts, config.subsample)
    thinned = counts * keep.astype(np.float64)
    power = np.where(counts > 0, np.maximum(counts, 1).astype(np.float64) ** config.noise_power, 0.0)
    often = np.where(counts > 0, np.maximum(1, np.rint(power / power.sum() * max(_SLOTS, 8 * len(counts)))), 0)
    slots = np.repeat(np.arange(len(counts), dtype=np.int32), often.astype(np.int64))
    return Chances(keep, thinned / thinned.sum(), often / often.sum(), slots)


def block_shape(config: EmbeddingConfig, width: int) -> Shape:
    """Return the sizes of a block: `block`, or a whole window where it is longer, rounded up.

    It is rounded up to whole passages, which are so long that few pairs are lost at their ends; one that is no longer
    than a passage loses none and is rounded up to whole groups, or to one where it is shorter than that.
    """
    step = max(config.step_tokens, 2 * config.window)
    most = _GROUP[config.architecture]
    group = min(most, -(-step // BAND) * BAND)
    passage = max(most, 1 << (_WINDOWS * config.window - 1).bit_length())
    cut = step > passage
    whole = passage if cut else group
    tokens = -(-step // whole) * whole
    cbow = config.architecture == "cbow"
    asked = config.noise * (1 if cbow else config.window + 1 if config.dynamic_window else 2 * config.window)
    shared = config.shared_noise or -(-asked * (1 if cbow else 2) // 8) * 8
    passage = passage if cut else tokens
    return Shape(tokens, config.window, passage, group, shared, config.embed_size, width, cbow)


def stretch_tokens(shape: Shape) -> int:
    """Return how many tokens of the text are drawn for at once."""
    most = _WEIGHTS // (2 * shape.window + 1) // shape.tokens * shape.tokens
    length = min(most, max(_STRETCH, _BLOCKS * shape.tokens))
    lead = shape.passage if shape.passage < shape.tokens else 0  # see `draw`
    return max(shape.tokens, length - lead)


def draw(
    text: Ragged, start: int, stop: int, *, shape: Shape, odds: Chances, config: EmbeddingConfig, random: list[int]
) -> Stretch:
    """Return blocks with windows and noise for the tokens from start to stop, on the CPU, filled up to whole ones.

    random: numbers that seed all that is drawn. A window ends where its document, its passage or the stretch does.
    """
    dice = np.random.Generator(np.random.SFC64(random))
    words = text.ids[start:stop]
    kept = np.flatnonzero(dice.random(len(words), np.float32) < odds.keep[words])
    shuffled = shape.passage < shape.tokens < len(kept)
    first = int(dice.integers(shape.passage)) if shuffled else 0
    count = max(1, -(-(first + len(kept)) // shape.tokens))
    ids, sides = np.zeros(count * shape.tokens, np.int32), np.zeros((2, count * shape.tokens), np.int32)
    size = dice.integers(1, config.window + 1, len(kept), np.int32) if config.dynamic_window else config.window
    ids[first : first + len(kept)] = words[kept]
    for side, reach in zip(sides, _reach(kept, text.offsets, start, stop), strict=True):
        np.minimum(size, reach, out=side[first : first + len(kept)])
    if shuffled:
        ids, sides = _shuffled(ids, sides, shape)
    slabs = np.lib.stride_tricks.sliding_window_view(np.pad(ids, shape.window), shape.slab)[:: shape.tokens]
    noise = odds.slots[dice.integers(0, len(odds.slots), (count, shape.rows - shape.slab))]
    rows = np.concatenate([slabs, noise], 1)
    neighbours = (sides[0] + sides[1]).reshape(count, -1)
    pairs = neighbours.clip(max=1) if shape.cbow else neighbours
    weight = torch.from_numpy(pairs.astype(np.float32) * np.float32(config.noise / shape.shared))
    different, order, starts, distinct = _together(rows)
    blocks = Block(
        torch.from_numpy(rows),
        _near(sides, shape).view(count, shape.tokens, -1),
        weight.unsqueeze(2),
        torch.from_numpy(different),
        torch.from_numpy(order),
        torch.from_numpy(starts),
    )
    asked = (pairs.sum(1) * config.noise).tolist()
    return Stretch(blocks, distinct, len(words), len(kept), asked)


def _shuffled(ids: Whole, sides: Whole, shape: Shape) -> tuple[Whole, Whole]:
    """Return a stretch in which a block has passages from all over it, with windows that end where a passage does.

    A word that comes back soon after would else be in one block several times, and its gradients, made as if the
    others did not exist, would add up to too long a step. It costs a pair or two in a hundred, others in every epoch,
    since `draw` lets the first passage begin anywhere.
    ids: (tokens,); sides: (2, tokens), how many neighbours a token has before and after it.
    """
    place = np.arange(len(ids), dtype=np.int32) % shape.passage
    np.minimum(sides, [place, shape.passage - 1 - place], out=sides)
    passages = (shape.tokens // shape.passage, -1, shape.passage)
    return ids.reshape(passages).swapaxes(0, 1).ravel(), sides.reshape(2, *passages).swapaxes(1, 2).reshape(2, -1)


def _together(rows: Whole) -> tuple[Ints, Whole, Whole, list[int]]:
    """Return, for every line of (blocks, rows), its different words, the order that brings each word's rows together,
    where each word starts in it (words and starts of all lines one after the other), and how many words there are.
    """
    bits = rows.shape[1].bit_length()
    fits = int(rows.max()).bit_length() + bits < 32  # small keys are sorted twice as fast
    keys = np.sort(rows.astype(np.int32 if fits else np.int64) << bits | np.arange(rows.shape[1], dtype=np.int32), 1)
    words = keys >> bits
    keys &= (1 << bits) - 1
    order = keys.astype(np.int32, copy=False)
    first = np.ones(rows.shape, bool)
    np.not_equal(words[:, 1:], words[:, :-1], out=first[:, 1:])
    distinct = np.count_nonzero(first, 1)
    places = np.flatnonzero(first)
    starts = (places - np.repeat(np.arange(0, rows.size, rows.shape[1]), distinct)).astype(np.int32)
    return words.ravel()[places].astype(np.int64), order, starts, distinct.tolist()


def _reach(kept: Ints, offsets: Ints, start: int, stop: int) -> tuple[Ints, Ints]:
    """Return how many kept tokens of its document stand before and after every kept token of the stretch."""
    first, last = np.searchsorted(offsets, [start, stop], side="right")
    ends = np.append(np.searchsorted(kept, offsets[first:last] - start), len(kept))
    lengths = np.diff(ends, prepend=0)
    place = np.arange(len(kept))
    back = place - np.repeat(ends - lengths, lengths)
    return back, np.repeat(lengths, lengths) - 1 - back


def _near(sides: Whole, shape: Shape) -> Tensor:
    """Return what `Block.near` holds, for any number of tokens.

    sides: (2, tokens), how many neighbours a token has before and after it.
    """
    apart = torch.arange(-shape.window, shape.window + 1).float()
    apart[shape.window] = torch.inf  # a token is no neighbour of its own
    before, after = torch.from_numpy(sides).float().unsqueeze(2)
    near: Tensor = (apart - (after - before) / 2).abs_().le_((before + after) / 2)
    return near.div_((before + after).clamp(min=1)) if shape.cbow else near
