"""What the translator descends: teacher forcing, and scheduled sampling (Bengio et al. 2015) beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nlpseq.batches import Ragged
from nlpseq.nn.seq2seq import Dropout, EncoderDecoder, Shape
from nlpseq.pairs import Counts, PairData
from nlpseq.stages.translate import TranslationTask
from nlpseq.vocab import EOS, GO

V = 30


def ragged(draw: np.random.Generator, rows: int) -> Ragged:
    lengths = draw.integers(2, 9, rows)
    ids = draw.integers(6, V, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids[offsets[1:] - 1] = EOS
    return Ragged(ids, offsets)


def made(sampled: float, dropout: float = 0.0) -> tuple[TranslationTask, object]:
    draw = np.random.default_rng(5)
    data = PairData(ragged(draw, 12), ragged(draw, 12), Counts())
    torch.manual_seed(3)
    model = EncoderDecoder(Shape(V, V, 8, 10), Dropout(output=dropout))
    model.output.weight.data *= 8  # sharp enough that a row's choices depend on what it was fed
    task = TranslationTask(model, data, 100, 1, 0.0, sampled)
    return task, task.batch(np.arange(12))


def test_before_it_has_begun_scheduled_sampling_is_teacher_forcing():
    task, batch = made(0.9)
    plain, _ = made(0.0)
    assert task.loss(batch, 0.0)[0].item() == plain.loss(batch, 0.7)[0].item()
    assert task.loss(batch)[0].item() == plain.loss(batch)[0].item()


def test_the_share_rises_with_the_training(monkeypatch: pytest.MonkeyPatch):
    task, batch = made(0.5)
    shares = []
    monkeypatch.setattr(TranslationTask, "_own_tokens_mixed_in", lambda self, state, fed, s: shares.append(s) or fed)
    for done in (0.1, 0.5, 1.0):
        task.loss(batch, done)
    assert shares == [0.05, 0.25, 0.5]


def test_with_a_share_of_1_the_decoder_is_fed_what_greedy_decoding_feeds_it():
    task, batch = made(1.0)
    state = task.model.encode(batch.source, batch.lengths)
    mixed = task._own_tokens_mixed_in(state, batch.fed, 1.0)
    assert mixed.shape == batch.fed.shape
    for row in range(len(mixed)):
        now = task.model.encode(batch.source[row : row + 1], batch.lengths[row : row + 1])
        tokens = torch.tensor([GO])
        for place in range(mixed.shape[1]):
            assert mixed[row, place] == tokens
            logits, now = task.model.step(tokens, now)
            tokens = logits.argmax(1)


def test_a_share_mixes_both_and_never_replaces_go():
    task, batch = made(1.0)
    state = task.model.encode(batch.source, batch.lengths)
    torch.manual_seed(0)
    replaced = []
    for _ in range(40):
        mixed = task._own_tokens_mixed_in(state, batch.fed, 0.25)
        assert (mixed[:, 0] == GO).all()
        replaced.append((mixed != batch.fed)[:, 1:].float().mean())
    assert 0.2 < torch.stack(replaced).mean() <= 0.26  # now and then the own token is the reference's


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_all_weights_still_learn(precision: str):
    """The choice of tokens runs without gradients; the pass after it has them."""
    task, batch = made(1.0, dropout=0.2)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss, _, _ = task.loss(batch, 1.0)
    loss.backward()
    assert [name for name, p in task.model.named_parameters() if p.grad is None or not p.grad.any()] == []
