"""Dynamic evaluation: a language model that goes on learning from the text that it is scored on."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor

from nlpseq.errors import UsageError, sentence
from nlpseq.language_model import Held, LanguageModel
from nlpseq.losses import linear_cross_entropy
from nlpseq.metrics import Score
from nlpseq.nn.lm import RecurrentLM
from nlpseq.training import float32
from nlpseq.units import Ids
from nlpseq.vocab import EOS

__all__ = ["adapted", "dynamic_scores"]

_SEGMENT = 32  # units that are predicted before the weights move
_CLIP = 1.0  # largest norm of a segment's gradient


def dynamic_scores(lm: LanguageModel, ids: Ids, rate: float) -> dict[str, Score]:
    """Return the loss of `adapted` on a text, in nats per unit, by the name that it has in a report.

    Raises UsageError for a rate that is not above 0.
    """
    if not (rate > 0 and math.isfinite(rate)):
        raise UsageError(sentence("dynamic", "be a learning rate above 0", rate))
    found = adapted(lm.model, ids, rate=rate)
    how = f"dynamic evaluation|learning rate:{rate:g}|units before a step:{_SEGMENT}|gradient clipped at:{_CLIP:g}"
    noun = lm.units.noun
    return {f"nats_per_{noun}_dynamic": Score(found.loss, None, None, found.units, f"unit:{noun}|context:{how}")}


@float32()
def adapted(model: RecurrentLM, ids: Ids, *, rate: float) -> Held:
    """Return the loss over a text in one pass in which the weights learn from what has been predicted already.

    After every 32 units a copy of the model descends their mean loss by plain gradient descent (Mikolov et al. 2010;
    Krause et al. 2018): no unit is predicted by weights that have seen it. ids: documents, `<eos>` behind each; rate:
    of a step. The figure is of a model that goes on learning, and not to be compared with those of models that do not.
    """
    learner = copy.deepcopy(model).eval()
    device = learner.output.weight.device
    targets = torch.from_numpy(ids[:-1].astype(np.int64)).to(device)
    fed = torch.cat([targets.new_tensor([EOS]), targets[:-1]])
    optimiser = torch.optim.SGD(learner.parameters(), lr=rate)
    state: Tensor | None = None
    nats = torch.zeros((), device=device)
    with torch.backends.cudnn.flags(enabled=False):  # whose layers have a gradient in training alone, with dropout
        for now, wanted in zip(torch.split(fed, _SEGMENT), torch.split(targets, _SEGMENT), strict=True):
            features, state = learner(now[None], state)
            state = state.detach()
            loss, plain = linear_cross_entropy(features[0], learner.output.weight, learner.output.bias, wanted)
            nats += plain.detach()
            optimiser.zero_grad()
            (loss / len(wanted)).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learner.parameters(), _CLIP)
            optimiser.step()
    return Held(float(nats), len(targets), int((targets == EOS).sum()))
