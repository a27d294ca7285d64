"""Dynamic evaluation: a language model that goes on learning from the text that it is scored on."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nlpseq.errors import UsageError, WorkError, sentence
from nlpseq.language_model import Held, LanguageModel
from nlpseq.loop import Watch, counting
from nlpseq.losses import linear_cross_entropy
from nlpseq.metrics import Score
from nlpseq.nn.lm import RecurrentLM
from nlpseq.report import Report
from nlpseq.training import float32
from nlpseq.units import Ids
from nlpseq.vocab import EOS

__all__ = ["adapted", "check_rate", "with_dynamic"]

_SEGMENT = 32  # units that are predicted before the weights move
_CLIP = 1.0  # largest norm of a segment's gradient
_HIGHEST = 1000.0  # rate


def check_rate(rate: float) -> None:
    """Raise UsageError for a rate that cannot be."""
    if not 0 < rate <= _HIGHEST:
        must = f"be a learning rate above 0 and at most {_HIGHEST:,g}"
        raise UsageError(sentence("dynamic", must, rate, "option --dynamic"))


def with_dynamic(report: Report, lm: LanguageModel, ids: Ids, *, rate: float, watch: Watch) -> Report:
    """Return a text's report with the loss of `adapted` as one score more; WorkError where that is not finite."""
    started = time.perf_counter()
    found = adapted(lm.model, ids, rate=rate, watch=watch)
    if not math.isfinite(found.loss):
        must = "stay finite (a lower rate may help)"
        raise WorkError(sentence("loss of dynamic evaluation", must, found.loss, quote=False))
    name = f"nats_per_{lm.units.noun}"
    common = report.scores[name].signature.partition("|context:")[0]
    how = f"one pass, 1 stream, state carried, SGD:{rate:g} after every {_SEGMENT} units, clipped at {_CLIP:g}"
    signature = f"{common}|context:{how}|document ends:{found.ends}"
    scores = {**report.scores, f"{name}_dynamic": Score(found.loss, None, None, found.units, signature)}
    return replace(report, scores=scores, seconds=round(report.seconds + time.perf_counter() - started, 3))


@float32()
@torch.enable_grad()
def adapted(model: RecurrentLM, ids: Ids, *, rate: float, watch: Watch) -> Held:
    """Return the loss over a text in one pass in which the weights learn from what has been predicted already.

    After every 32 units a copy of the model descends their mean loss by plain gradient descent (Mikolov et al. 2010;
    the SGD of Krause et al. 2018): no unit is predicted by weights that have seen it. ids: (N,), documents, `<eos>`
    behind each; rate: of a step; watch: is shown progress. The figure is of a model that goes on learning, not to be
    compared with those of models that do not.
    """
    learner = copy.deepcopy(model).eval()
    device = learner.output.weight.device
    targets = torch.from_numpy(ids[:-1].astype(np.int64)).to(device)
    fed = torch.cat([targets.new_tensor([EOS]), targets[:-1]])
    optimiser = torch.optim.SGD(learner.parameters(), lr=rate)
    state: Tensor | None = None
    nats = torch.zeros((), device=device)
    done, told = 0, counting(watch, "dynamic evaluation", len(targets))
    with torch.backends.cudnn.flags(enabled=False):  # whose layers have a gradient in training mode alone
        for now, wanted in zip(torch.split(fed, _SEGMENT), torch.split(targets, _SEGMENT), strict=True):
            features, state = learner(now[None], state)
            state = state.detach()
            loss, plain = linear_cross_entropy(features[0], learner.output.weight, learner.output.bias, wanted)
            nats += plain.detach()
            optimiser.zero_grad()
            (loss / len(wanted)).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learner.parameters(), _CLIP)
            optimiser.step()
            done += len(wanted)
            if done % (64 * _SEGMENT) == 0 or done == len(targets):
                told(done)
    return Held(float(nats), len(targets), int((targets == EOS).sum()))
