"""Adversarial training: the loss is also descended where each text's vectors are moved uphill."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nlpseq import SentimentConfig, configure
from nlpseq.classifier import build_classifier
from nlpseq.stages.sentiment import LabelBatch, SentimentTask

SHARE = 0.2


@pytest.fixture
def batch() -> LabelBatch:
    lengths = torch.tensor([9, 4, 7])
    tokens = torch.randint(1, 30, (3, 9), generator=torch.Generator().manual_seed(3))
    tokens[torch.arange(9) >= lengths[:, None]] = 0
    return LabelBatch(tokens, lengths, torch.tensor([0, 1, 1]), 3)


def task(adversarial: float, **settings: Any) -> SentimentTask:
    torch.manual_seed(5)
    off = {"word_dropout": 0.0, "dropout": 0.0, "output_dropout": 0.0}
    config = configure(SentimentConfig, corpus="c", out="o", embed_size=6, hidden_size=5, **(off | settings))
    model = build_classifier(config, 30, 2).double()
    model.embedding.weight.data[0] = 100.0  # what stands at padding must not count
    return SentimentTask(model, None, 100, 1, adversarial=adversarial)  # type: ignore[arg-type] # no data is asked for


def gradients(one: SentimentTask, loss: torch.Tensor) -> list[torch.Tensor]:
    loss.backward()  # type: ignore[no-untyped-call]
    return [p.grad for p in one.model.parameters() if p.grad is not None]


def test_half_is_the_loss_at_vectors_moved_by_their_share_uphill(batch: LabelBatch):
    one = task(0.0)
    vectors = one.model.embed(batch.tokens)
    real = (batch.tokens > 0)[..., None]

    def loss(at: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(one.model.read(at, batch.lengths), batch.targets, reduction="sum")

    (uphill,) = torch.autograd.grad(loss(vectors), [vectors])
    assert not uphill[~real[..., 0]].any()
    vectors = one.model.embed(batch.tokens)
    away = [SHARE * (v * r).norm() * g / g.norm() for v, r, g in zip(vectors.detach(), real, uphill, strict=True)]
    moved = loss(vectors + torch.stack(away))
    assert moved > 1.01 * loss(vectors)
    wanted = gradients(one, (loss(vectors) + moved) / 2)
    other = task(SHARE)
    found, plain, rows = other.loss(batch)
    torch.testing.assert_close(gradients(other, found), wanted)
    torch.testing.assert_close(plain, loss(one.model.embed(batch.tokens)).detach(), check_dtype=False)
    assert rows == 3


def test_both_halves_drop_the_same_words(batch: LabelBatch):
    one = task(1e-9, word_dropout=0.5, dropout=0.5)
    one.model.train()
    torch.manual_seed(8)
    adversarial = gradients(one, one.loss(batch)[0])
    other = task(0.0, word_dropout=0.5, dropout=0.5)
    other.model.train()
    torch.manual_seed(8)
    torch.testing.assert_close(adversarial, gradients(other, other.loss(batch)[0]), rtol=1e-6, atol=1e-7)
