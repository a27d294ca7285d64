"""How far a classifier's probabilities can be believed: a temperature to set them right, and the error that is left."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpseq.blocks import Chart, Series

__all__ = ["expected_calibration_error", "fit_temperature", "reliability"]

_LOG_RANGE = 4.6  # of the temperature: 0.01 to 100; beyond it all probabilities are 0 and 1, or all alike
_HALVINGS = 50


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Return the temperature that logits are to be divided by, so that targets are likeliest (Guo et al. 2017).

    logits: (N, C), N of at least 1, of examples that were not trained on; targets: (N,) int64, the right classes. The
    result is between 0.01 and 100. One imagined example more, shared by all classes, counts too (after Platt 1999), or
    a handful that are all right would make every answer certain; it stays 1 where that one alone asks for another. The
    likelihood is concave in the inverse of the temperature, so the place where its slope is 0 is found by halving.
    """
    scores, right = logits.double(), targets[:, None]
    prior = 1 / (len(scores) + 1)
    wanted = ((1 - prior) * scores.gather(1, right)[:, 0] + prior * scores.mean(1)).mean()
    low, high = -_LOG_RANGE, _LOG_RANGE  # of the logarithm of the inverse
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        shares = torch.softmax(scores * torch.tensor(middle).double().exp(), 1)
        steeper = (shares * scores).sum(1).mean() <= wanted
        low, high = (middle, high) if steeper else (low, middle)
    found = float(torch.tensor(-(low + high) / 2).exp())
    plain, cooled = (F.cross_entropy(scores / temperature, targets) for temperature in (1.0, found))
    return found if cooled < plain else 1.0


def expected_calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """Return the mean distance between confidence and accuracy over bins of equal width, 0 to 1 (Naeini et al. 2015).

    confidence: (N,) probabilities of the classes that were chosen; right: (N,) bool, whether they were the right ones.
    A bin counts as often as it has examples.
    """
    counts, confident, correct = _binned(confidence, right, bins)
    return float((confident - correct).abs().sum() / counts.sum().clamp_min(1))


def reliability(confidence: Tensor, right: Tensor, bins: int = 15) -> Chart:
    """Return the plot of accuracy over confidence, a point for each bin; arguments as for the error."""
    counts, confident, correct = _binned(confidence, right, bins)
    held = counts > 0
    x, y = ((sums[held] / counts[held]).tolist() for sums in (confident, correct))
    ends = [min(x, default=0.0), 1.0]
    error = expected_calibration_error(confidence, right, bins)
    note = f"Expected calibration error {error:.4f}, {bins} bins of equal width, {int(counts.sum()):,} examples."
    series = [Series("measured", x, y), Series("perfect", ends, ends)]
    return Chart("Calibration", series, "confidence", "share that is right", note=note)


def _binned(confidence: Tensor, right: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each bin (low, high] the number of examples, and the sums of their confidence and of those right."""
    values = confidence.detach().cpu().double()
    places = (values * bins).ceil().long().clamp(1, bins) - 1
    empty = torch.zeros(bins, dtype=torch.float64)
    parts = (torch.ones_like(values), values, right.detach().cpu().double())
    counts, confident, correct = (empty.index_add(0, places, part) for part in parts)
    return counts, confident, correct
