import numpy as np
import pytest
import torch

from nlpseq.batches import Ragged
from nlpseq.nn import nce
from nlpseq.settings import EmbeddingConfig
from nlpseq.word_draws import block_shape, chances, draw
from nlpseq.word_work import blocks_of

WORDS, SIZE, WIDTH = 30, 5, 8


@pytest.fixture(autouse=True)
def groups(monkeypatch):
    """Two of them in a block."""
    monkeypatch.setattr("nlpseq.word_draws._GROUP", {"skipgram": 32, "cbow": 32})


def made(architecture, window=3, dtype=torch.float64, **settings):
    """A table, blocks of a text of several documents, and the sizes."""
    config = EmbeddingConfig(
        architecture=architecture,
        embed_size=SIZE,
        block=64,
        window=window,
        shared_noise=6,
        noise=4,
        subsample=None,
        **settings,
    )
    dice = np.random.default_rng(3)
    ids = dice.integers(0, WORDS, 150).astype(np.int32)
    text = Ragged(ids, np.array([0, 0, 40, 41, 43, 150]))
    shape = block_shape(config, WIDTH)
    odds = chances(np.bincount(ids, minlength=WORDS), config)
    drawn = draw(text, 0, 150, shape=shape, odds=odds, config=config, random=[1])
    torch.manual_seed(4)
    table = torch.randn(WORDS, 2 * WIDTH, dtype=dtype)
    table[:, SIZE], table[:, SIZE + 1 : WIDTH], table[:, WIDTH + SIZE + 1 :] = 1.0, 0.0, 0.0
    return (
        table,
        [exact(block, shape, dtype) for block in blocks_of(drawn, table.device)],
        shape,
    )


def exact(block, shape, dtype):
    """A block whose weights, which are drawn in float32, are of dtype."""
    count = (block.near > 0).sum(1, keepdim=True).to(dtype)
    near, pairs = (block.near > 0).to(dtype), count
    if shape.cbow:
        near, pairs = near / count.clamp(min=1), count.clamp(max=1)
    weight = pairs * 4 / shape.shared
    torch.testing.assert_close(block.near, near.float())
    torch.testing.assert_close(block.weight, weight.float())
    return block._replace(near=near, weight=weight)


def neighbours(block, shape, i):
    """The places in the slab of the neighbours of token i."""
    return [i + int(d) for d in block.near[i].nonzero()]


def _mean(rows):
    """Their mean, by which each of them moves as if it stood there alone: as word2vec's code does it."""
    return rows.mean(0).detach() + (rows - rows.detach()).sum(0)


def pair_by_pair(table, block, shape):
    """The same likelihood, written as the papers do."""
    x, y, b = table[:, :SIZE], table[:, WIDTH : WIDTH + SIZE], table[:, WIDTH + SIZE]
    noise = block.rows[shape.slab :].view(-1, shape.shared)
    total = table.new_zeros(())
    for i in range(shape.tokens):
        word, near = block.rows[i + shape.window], [block.rows[j] for j in neighbours(block, shape, i)]
        given = _mean(x[torch.stack(near)]) if shape.cbow and near else x[word]
        asked = ([word] if near else []) if shape.cbow else near
        for true in asked:
            total = total + torch.sigmoid(given @ y[true] + b[true]).log()
            for false in noise[i % len(noise)]:
                total = total + 4 / shape.shared * torch.sigmoid(-(given @ y[false]) - b[false]).log()
    return total


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])  # bags of float32 have code of their own
@pytest.mark.parametrize("window", [1, 3, 20, 40])
@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_the_likelihood_is_that_of_single_pairs_and_the_ascent_as_word2vecs_code_has_it(architecture, window, dtype):
    table, blocks, shape = made(architecture, window, dtype)
    assert len(blocks) * shape.tokens > 150  # filled up
    assert shape.tokens >= 2 * shape.group
    close = {} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 2e-5}  # sums of a thousand terms
    for block in blocks:
        variable = table.clone().requires_grad_()
        expected = pair_by_pair(variable, block, shape)
        torch.testing.assert_close(nce.log_likelihood(table, block, shape), expected.detach(), **close)
        (gradient,) = torch.autograd.grad(expected, variable)
        moved = table.clone()
        nce.ascender(moved, shape, cap=1e9)(block, 0.1)
        torch.testing.assert_close(moved - table, 0.1 * gradient, **close)
        assert gradient[:, WIDTH + SIZE].abs().max() > 0.1  # the bias moves


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_negative_sampling_has_no_bias_and_gets_none(architecture):
    table, blocks, shape = made(architecture, objective="negative")
    table[:, SIZE] = table[:, WIDTH + SIZE] = 0.0
    moved = table.clone()
    nce.ascender(moved, shape, cap=1e9)(blocks[0], 0.1)
    assert (moved != table).any()
    torch.testing.assert_close(moved[:, SIZE:WIDTH], table[:, SIZE:WIDTH], rtol=0, atol=0)
    torch.testing.assert_close(moved[:, WIDTH + SIZE :], table[:, WIDTH + SIZE :], rtol=0, atol=0)
