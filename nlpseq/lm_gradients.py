"""How far back a gradient reaches, for the three cells (Bengio et al. 1994; Pascanu et al. 2013)."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from nlpseq.blocks import Chart, Series
from nlpseq.lm_task import StreamTask
from nlpseq.nn.lm import LMDropout, LMShape, RecurrentLM
from nlpseq.settings import TrainingConfig
from nlpseq.training import World, begin, fit
from nlpseq.units import Ids
from nlpseq.vocab import SPECIALS, UNK

__all__ = ["gradient_chart"]

_NAMES = {"rnn": "simple", "lstm": "LSTM", "gru": "GRU"}
_HIDDEN, _EMBED = 64, 32
_ROWS, _STEPS, _UPDATES = 16, 64, 150
_WINDOWS = 64  # that the norm is the mean of
_VOCABULARY = 2000  # units of the small networks: the most frequent ones, the rest are [UNK]


def gradient_chart(ids: Ids, vocabulary: int, *, seed: int) -> Chart:
    """Return the norm of the gradient of one unit's loss with respect to each unit read before it, for the three cells.

    ids: of a text; vocabulary: number of units. Small networks of one layer are trained for a few seconds on the CPU.
    """
    if vocabulary > _VOCABULARY:
        ids, vocabulary = _capped(ids), _VOCABULARY
    series = []
    for cell, name in _NAMES.items():
        norms = _norms(_trained(cell, ids, vocabulary, seed), ids)
        series.append(Series(name, list(range(len(norms))), [float(norm) for norm in norms[::-1]]))
    note = (
        f"Mean norm of the gradient of the last unit's loss in windows of {_STEPS} units with respect to the vector of "
        f"the unit so many before it: networks of one layer of {_HIDDEN} after {_UPDATES} steps on this text. Where it "
        "vanishes nothing is learnt over that distance; gates can let it pass, where the text rewards remembering "
        "(Hochreiter and Schmidhuber 1997)."
    )
    return Chart("Gradient through time", series, "units back", "norm", log=True, note=note)


def _capped(ids: Ids) -> Ids:
    """Return the ids with rare ones as `[UNK]`: a large vocabulary would cost the time and show nothing more."""
    counts = np.bincount(ids, minlength=_VOCABULARY)
    counts[: len(SPECIALS)] = counts.max() + 1  # which stay what they are
    places = np.full(len(counts), UNK, np.int32)
    kept = np.argsort(-counts, kind="stable")[:_VOCABULARY]
    places[kept] = np.arange(_VOCABULARY)
    return np.asarray(places[ids], np.int32)


def _trained(cell: str, ids: Ids, vocabulary: int, seed: int) -> RecurrentLM:
    torch.manual_seed(seed)
    model = RecurrentLM(LMShape(vocabulary, _EMBED, _HIDDEN, cell=cell, tied=False), LMDropout())
    config = TrainingConfig(
        precision="fp32", epochs=10_000.0, max_steps=_UPDATES, learning_rate=5e-3, warmup_steps=10, decay="linear"
    )
    task = StreamTask(model, ids, _ROWS, _STEPS, seed)
    run = begin(model, config, seed=seed, device=torch.device("cpu"), world=World(), batches=len(task.plan(0)))
    for _ in fit(run, task):
        pass
    return model.eval()


def _norms(model: RecurrentLM, ids: Ids) -> np.ndarray:
    """Return the mean norm of the gradient at each unit of a window, first to last."""
    starts = np.linspace(0, len(ids) - 1, _WINDOWS).astype(np.int64)
    places = (starts[:, None] + np.arange(_STEPS + 1)) % len(ids)
    tokens = torch.from_numpy(ids[places].astype(np.int64))
    inputs = model.embedding(tokens[:, :-1]).detach().requires_grad_()
    hidden, _ = model.stack(inputs)
    loss = F.cross_entropy(model.output(hidden[:, -1]), tokens[:, -1], reduction="sum")
    (gradient,) = torch.autograd.grad(loss, [inputs])
    return np.asarray(gradient.norm(dim=2).mean(0).numpy())
