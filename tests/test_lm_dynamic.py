"""Dynamic evaluation: nothing is predicted by what has seen it, and what comes again is learnt."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nlpseq import UsageError
from nlpseq.language_model import held_out
from nlpseq.lm_dynamic import adapted, check_rate
from nlpseq.loop import unwatched
from nlpseq.nn.lm import LMDropout, LMShape, RecurrentLM
from nlpseq.vocab import EOS


def network(cell="lstm"):
    torch.manual_seed(0)
    return RecurrentLM(
        LMShape(20, 8, 12, cell=cell, residual=cell == "lstm", tied=False), LMDropout(0.1, 0.5, 0.5)
    ).eval()


def text(units):
    return np.append(np.random.default_rng(1).integers(5, 20, units), EOS).astype(np.int32)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_is_its_definition_and_leaves_the_model_as_it_was(cell):
    model, ids = network(cell), text(100)
    before = [p.clone() for p in model.parameters()]
    events = []
    with torch.no_grad():  # a caller's
        found = adapted(model, ids, rate=0.3, watch=events.append)
    assert (events[-1].step, events[-1].total) == (100, 100)
    assert all(map(torch.equal, before, model.parameters()))
    fed, targets = torch.tensor([EOS, *ids[:-2]]), torch.tensor(ids[:-1]).long()
    state, nats = None, 0.0
    for start in range(0, 100, 32):
        part = slice(start, start + 32)
        features, state = model(fed[None, part], state)
        state = state.detach()
        loss = F.cross_entropy(model.output(features[0]), targets[part], reduction="none")
        nats += float(loss.detach().sum())
        gradients = torch.autograd.grad(loss.mean(), list(model.parameters()))
        norm = torch.stack([g.norm() for g in gradients]).norm()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.data -= 0.3 * gradient * min(1.0, 1.0 / float(norm))
    assert found.units == 100
    assert found.nats == pytest.approx(nats, rel=1e-4)


def test_the_first_segment_is_predicted_by_the_model_as_it_is_and_repeats_are_learnt():
    model = network()
    short = text(32)
    assert adapted(model, short, rate=5.0, watch=unwatched).nats == pytest.approx(held_out(model, short).nats, rel=1e-5)
    again = np.append(np.tile(short[:-1], 40), EOS).astype(np.int32)
    assert adapted(model, again, rate=0.5, watch=unwatched).loss < 0.8 * held_out(model, again).loss


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), 1e30])
def test_a_rate_that_is_none(rate):
    with pytest.raises(UsageError, match="`dynamic` must be a learning rate above 0"):
        check_rate(rate)
