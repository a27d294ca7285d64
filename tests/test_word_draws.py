"""What is drawn from a text: words kept, windows, noise, and how they are laid out in blocks."""

import math

import numpy as np
import pytest
import torch

from nlpseq.batches import Ragged
from nlpseq.errors import UsageError
from nlpseq.nn.nce import BAND
from nlpseq.settings import EmbeddingConfig
from nlpseq.word_draws import _together, block_shape, chances, draw, keep_probability, stretch_tokens
from nlpseq.word_work import blocks_of

CPU = torch.device("cpu")


def test_keep_probabilities_are_word2vecs():
    counts = np.array([900, 90, 9, 1, 0])
    keep = keep_probability(counts, 0.01)
    assert keep[0] == pytest.approx((math.sqrt(0.9 / 0.01) + 1) * 0.01 / 0.9)
    assert keep[1:4].tolist() == [pytest.approx((math.sqrt(0.09 / 0.01) + 1) * 0.01 / 0.09), 1.0, 1.0]
    assert keep_probability(counts, None).tolist() == [1.0] * 5


def test_noise_is_drawn_from_exactly_the_distribution_that_is_corrected_for():
    counts = np.array([100_000, 1000, 0, 10, 1])
    odds = chances(counts, EmbeddingConfig())
    np.testing.assert_allclose(np.bincount(odds.slots, minlength=5) / len(odds.slots), odds.noise, rtol=1e-12)
    power = counts**0.75
    np.testing.assert_allclose(odds.noise, power / power.sum(), rtol=0.01)
    assert odds.noise[2] == 0


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
@pytest.mark.parametrize(
    ("block", "window"),
    [(16, 1), (100, 1), (100, 5), (257, 5), (512, 5), (1000, 8), (600, 15), (64, 1000), (1024, 1000)],
)
def test_blocks_are_whole_bands_groups_and_passages(architecture, block, window):
    shape = block_shape(EmbeddingConfig(architecture=architecture, block=block, window=window), 104)
    step = max(block, 2 * window)
    assert step <= shape.tokens < step + (shape.passage if shape.passage < shape.tokens else shape.group)
    assert shape.group < step + 16
    assert (shape.tokens % shape.group, shape.group % BAND) == (0, 0)
    asked = 5 * (1 if shape.cbow else window + 1) * (1 if shape.cbow else 2)
    assert asked <= shape.shared < asked + 8
    assert (shape.tokens % shape.passage, shape.passage % shape.group) == (0, 0)
    assert shape.passage == shape.tokens or shape.passage >= max(100, 25 * window)
    assert shape.tokens <= stretch_tokens(shape) <= max(1 << 16, shape.tokens)
    blocks = -(-stretch_tokens(shape) // shape.tokens)
    assert blocks == 1 or blocks * shape.tokens * (2 * window + 1) <= 1 << 25


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 5, 0]])
def test_a_text_of_fewer_than_two_words_is_refused(counts):
    with pytest.raises(UsageError, match="`text` must hold at least two words"):
        chances(np.array(counts), EmbeddingConfig())


def windows(text, config, start=0, stop=None):
    """The neighbours of every kept token, as lists of words, and the token's own word."""
    shape, counts = block_shape(config, 16), np.bincount(text.ids)
    drawn = draw(
        text, start, stop or len(text.ids), shape=shape, odds=chances(counts, config), config=config, random=[5]
    )
    found = []
    for rows, near in zip(drawn.blocks.rows, drawn.blocks.near, strict=True):
        for i in range(shape.tokens):
            found.append((int(rows[i + shape.window]), rows[i + near[i].nonzero().flatten()].tolist()))
    return found[: drawn.kept]


def test_windows_never_cross_documents_and_span_blocks():
    text = Ragged(np.arange(100, dtype=np.int32), np.array([0, 0, 3, 3, 4, 100]))
    config = EmbeddingConfig(window=2, dynamic_window=False, subsample=None, block=16)
    expected = []
    for first, last in ((0, 3), (3, 4), (4, 100)):
        for i in range(first, last):
            expected.append((i, [j for j in range(max(first, i - 2), min(last, i + 3)) if j != i]))
    assert windows(text, config) == expected
    assert windows(text, config, 2, 50)[0] == (2, [])  # a stretch is an end too
    assert windows(text, config, 2, 50)[-1] == (49, [47, 48])


def test_windows_are_drawn_evenly_for_every_token():
    text = Ragged(np.arange(3000, dtype=np.int32), np.array([0, 3000]))
    sizes = [len(near) // 2 for _, near in windows(text, EmbeddingConfig(window=4, subsample=None, block=128))[4:-4]]
    shares = np.bincount(sizes, minlength=5) / len(sizes)
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1:], 0.25, atol=0.03)


@pytest.mark.parametrize("most", [10, 2**25, 2**26, 2**30])
def test_the_rows_of_a_word_are_brought_together_however_many_words_there_are(most):
    rows = np.random.default_rng(1).choice([0, 1, most // 2, most - 1], (2, 40)).astype(np.int32)
    words, order, starts, distinct = _together(rows)
    first = 0
    for line, places, count in zip(rows, order, distinct, strict=True):
        assert sorted(places) == list(range(40))
        here = slice(first, first + count)
        assert words[here].tolist() == sorted(set(line.tolist()))
        for word, own in zip(words[here], np.split(line[places], starts[here][1:]), strict=True):
            assert set(own.tolist()) == {word}
        first += count
    assert first == len(words) == len(starts)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_a_block_has_passages_from_all_over_the_stretch_and_loses_few_pairs(architecture):
    tokens, window = 20_000, 5
    text = Ragged(np.arange(tokens, dtype=np.int32), np.array([0, tokens]))  # a word is its place
    config = EmbeddingConfig(architecture=architecture, subsample=None, dynamic_window=False, window=window)
    shape, odds = block_shape(config, 104), chances(np.ones(tokens, np.int64), config)
    assert shape.tokens > shape.passage == (128 if shape.cbow else 256)
    found = []
    for seed in (1, 2):
        pairs, here = set(), []
        for block in blocks_of(draw(text, 0, tokens, shape=shape, odds=odds, config=config, random=[seed]), CPU):
            token, place = block.near.nonzero().T
            own = block.rows[shape.window + token]
            pairs |= set(zip(own.tolist(), block.rows[token + place].tolist(), strict=True))
            places = own.unique()
            assert len(places) == (block.weight > 0).sum()
            starts = places[places.diff(prepend=torch.tensor([-9])) > 1]
            assert shape.tokens // shape.passage // 2 < len(starts) <= shape.tokens // shape.passage
            assert (starts.diff() > 1000).all()
            here.append(places)
        assert torch.equal(torch.cat(here).sort().values, torch.arange(tokens))
        assert all(0 < abs(a - b) <= window for a, b in pairs)
        assert len(pairs) > 0.97 * 2 * window * tokens
        found.append(pairs)
    assert len(found[0] | found[1]) == 2 * window * tokens - window * (window + 1)  # other cuts in another epoch


def test_a_text_of_one_block_is_left_as_it_stands():
    config, text = EmbeddingConfig(subsample=None), Ragged(np.arange(900, dtype=np.int32), np.array([0, 900]))
    shape, odds = block_shape(config, 104), chances(np.ones(900, np.int64), config)
    drawn = draw(text, 0, 900, shape=shape, odds=odds, config=config, random=[1])
    assert shape.passage < shape.tokens
    assert drawn.blocks.rows[:, shape.window : shape.window + 900].tolist() == [list(range(900))]
