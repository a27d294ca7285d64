"""Adversarial training: the loss is also descended where each text's vectors are moved uphill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nlpseq import SentimentConfig, configure
from nlpseq.classifier import build_classifier
from nlpseq.losses import _away
from nlpseq.nn.tagger import Dropout, Shape, TaggerNetwork
from nlpseq.stages.ner import TagBatch, TaggingTask
from nlpseq.stages.sentiment import LabelBatch, SentimentTask

SHARE = 0.2


@pytest.fixture
def batch() -> LabelBatch:
    lengths = torch.tensor([9, 4, 7])
    tokens = torch.randint(1, 30, (3, 9), generator=torch.Generator().manual_seed(3))
    tokens[torch.arange(9) >= lengths[:, None]] = 0
    return LabelBatch(tokens, lengths, torch.tensor([0, 1, 1]), 3)


def task(adversarial: float, smoothing: float = 0.0, **settings: Any) -> SentimentTask:
    torch.manual_seed(5)
    off = {"word_dropout": 0.0, "dropout": 0.0, "output_dropout": 0.0}
    config = configure(SentimentConfig, corpus="c", out="o", embed_size=6, hidden_size=5, **(off | settings))
    model = build_classifier(config, 30, 2).double()
    model.embedding.weight.data[0] = 100.0  # what stands at padding must not count
    return SentimentTask(model, None, 100, 1, smoothing, adversarial)  # type: ignore[arg-type] # no data is asked for


def gradients(one: SentimentTask | TaggingTask, loss: torch.Tensor) -> list[torch.Tensor]:
    loss.backward()  # type: ignore[no-untyped-call]
    return [p.grad for p in one.model.parameters() if p.grad is not None]


@pytest.mark.parametrize("freeze", [False, True], ids=["trained", "frozen"])
@pytest.mark.parametrize("settings", [{}, {"smoothing": 0.2}, {"conv": 4}, {"cell": "gru", "pooling": "mean"}], ids=str)
def test_half_is_the_loss_at_vectors_moved_by_their_share_uphill(batch: LabelBatch, settings, freeze: bool):
    one, other = task(0.0, **settings), task(SHARE, **settings)
    vectors = one.model.embed(batch.tokens)
    real = (batch.tokens > 0)[..., None]

    def loss(at: torch.Tensor, smoothing: float = one.smoothing) -> torch.Tensor:
        logits = one.model.read(at, batch.lengths)
        return F.cross_entropy(logits, batch.targets, reduction="sum", label_smoothing=smoothing)

    (uphill,) = torch.autograd.grad(loss(vectors), [vectors])
    assert not uphill[~real[..., 0]].any()
    for each in (one, other):
        each.model.embedding.weight.requires_grad_(not freeze)
    vectors = one.model.embed(batch.tokens)
    away = [SHARE * (v * r).norm() * g / g.norm() for v, r, g in zip(vectors.detach(), real, uphill, strict=True)]
    moved = loss(vectors + torch.stack(away))
    assert moved > 1.001 * loss(vectors)
    wanted = gradients(one, (loss(vectors) + moved) / 2)
    found, plain, rows = other.loss(batch)
    torch.testing.assert_close(gradients(other, found), wanted)
    torch.testing.assert_close(plain.detach(), loss(vectors, 0.0).detach(), check_dtype=False)
    assert rows == 3
    assert (other.model.embedding.weight.grad is None) == freeze


def test_a_text_that_is_sure_is_moved_no_further(batch: LabelBatch):
    one = task(SHARE)
    model = one.model.float()
    vectors = model.embed(batch.tokens).detach()
    for scale in (1e-10, 1e-25, 1e-37, 0.0):
        uphill = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(2)) * scale
        uphill[batch.tokens == 0] = 0.0
        share = _away(vectors, uphill, batch.lengths, SHARE).norm(dim=(1, 2))
        share /= (vectors * (batch.tokens > 0)[..., None]).norm(dim=(1, 2))
        assert share.tolist() == pytest.approx([SHARE * (scale > 0)] * 3, rel=1e-4)


def test_both_halves_drop_the_same_words(batch: LabelBatch):
    one = task(1e-9, word_dropout=0.5, dropout=0.5)
    one.model.train()
    torch.manual_seed(8)
    adversarial = gradients(one, one.loss(batch)[0])
    other = task(0.0, word_dropout=0.5, dropout=0.5)
    other.model.train()
    torch.manual_seed(8)
    torch.testing.assert_close(adversarial, gradients(other, other.loss(batch)[0]), rtol=1e-6, atol=1e-7)


def tagging(adversarial: float, dropout: Dropout | None = None) -> TaggingTask:
    torch.manual_seed(5)
    shape = Shape(words=6, given=8, characters=9, tags=5, embed_size=4, character_size=3, features=6, hidden_size=7)
    model = TaggerNetwork(shape, dropout or Dropout(), torch.ones(6, 6, dtype=torch.bool), trained=True).double()
    torch.nn.init.normal_(model.given)
    model.paces.fill_(0.5)
    return TaggingTask(model, None, 100, 1, np.zeros(8, np.float32), adversarial)  # type: ignore[arg-type]


@pytest.fixture
def tagged() -> TagBatch:
    lengths, dice = torch.tensor([4, 2]), torch.Generator().manual_seed(3)
    words = torch.randint(1, 8, (2, 4), generator=dice)
    tags, spellings = (torch.randint(0, n, (2, 4), generator=dice) for n in (5, 3))
    letters = torch.randint(1, 9, (3, 5), generator=dice)
    return TagBatch(words, torch.zeros(2, 4), spellings, letters, torch.tensor([5, 1, 3]), lengths, tags, 6)


def test_a_taggers_words_and_what_their_letters_give_are_moved_together(tagged: TagBatch):
    one, other = tagging(0.0), tagging(SHARE)

    def loss(at: torch.Tensor) -> torch.Tensor:
        return one.likelihood(one.model.read(at, tagged.lengths), tagged)[0]

    vectors = one.inputs(tagged)
    assert vectors.shape == (2, 4, 10)
    (uphill,) = torch.autograd.grad(loss(vectors), [vectors])
    moved = loss(one.inputs(tagged) + _away(vectors.detach(), uphill, tagged.lengths, SHARE))
    assert moved > 1.001 * loss(vectors)
    wanted = gradients(one, (loss(one.inputs(tagged)) + moved) / 2)
    found, plain, tokens = other.loss(tagged)
    torch.testing.assert_close(gradients(other, found), wanted)
    torch.testing.assert_close(plain, loss(vectors).detach())
    assert tokens == 6


def test_both_halves_drop_the_same_features_of_a_tagger(tagged: TagBatch):
    found = []
    for share in (1e-9, 0.0):
        task = tagging(share, Dropout(characters=0.5, features=0.5))
        torch.manual_seed(8)
        found.append(gradients(task, task.loss(tagged)[0]))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-7)
    task = tagging(0.0, Dropout(features=0.5))
    assert not torch.equal(task.inputs(tagged), task.inputs(tagged))
    task.model.eval()
    assert torch.equal(task.inputs(tagged), task.inputs(tagged))
