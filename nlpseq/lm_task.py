"""How a text becomes the batches of a language model, and what is descended: parallel streams, or windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nlpseq.batches import Plan
from nlpseq.losses import linear_cross_entropy, noise_contrastive
from nlpseq.nn.lm import RecurrentLM
from nlpseq.settings import EmbeddingConfig, NoiseConfig
from nlpseq.units import Ids
from nlpseq.word_draws import chances

__all__ = ["LMBatch", "Noise", "StreamTask", "WindowTask", "noise_of", "task_of"]

_NOISE, _POWER = 500, 0.75  # of noise-contrastive estimation, unless set


class LMBatch(NamedTuple):
    """A batch as the model takes it."""

    fed: Tensor  # (B, T) int64
    targets: Tensor  # (N,) int64


class Noise(NamedTuple):
    """What noise-contrastive estimation draws from."""

    slots: Tensor  # (..,) int64, words, each as often as it is drawn
    log_noise: Tensor  # (V,) log(K q(word))
    shared: int  # K, words that a batch shares

    def to(self, device: torch.device) -> Noise:
        """Return it on a device."""
        return self._replace(slots=self.slots.to(device), log_noise=self.log_noise.to(device))


def noise_of(counts: npt.NDArray[np.int64], config: NoiseConfig) -> Noise | None:
    """Return the noise of a configuration, None where it asks for the full softmax.

    counts: (V,) of the training text. The draws are those of the embed stage: Raises UsageError where fewer than two
    units occur.
    """
    if config.objective != "nce":
        return None
    count = config.noise or _NOISE
    power = _POWER if config.noise_power is None else config.noise_power
    odds = chances(counts, EmbeddingConfig(noise_power=power, subsample=None))
    log_noise = np.log(count * np.maximum(odds.noise, 1e-12)).astype(np.float32)
    return Noise(torch.from_numpy(odds.slots.astype(np.int64)), torch.from_numpy(log_noise), count)


@dataclass
class StreamTask:
    """Parallel streams with carried state and truncated back-propagation: what `fit` has to know.

    The text is a circle that every epoch is cut at another place, so that each epoch has other bounds between steps and
    no unit is always left out. Stream b goes on in row b of each batch. `carried`: see `training.Carrying`.
    """

    model: RecurrentLM
    ids: Ids
    rows: int
    steps: int
    seed: int
    noise: Noise | None = None
    carried: Tensor | None = None

    def plan(self, epoch: int) -> Plan:
        """Return the epoch's batches: the place in the text at which each row of each batch begins."""
        size = len(self.ids)
        rows = max(1, min(self.rows, size // self.steps))
        batches = max(1, size // (rows * self.steps))
        first = np.random.Generator(np.random.PCG64([self.seed, epoch])).integers(size)
        streams = first + np.arange(rows) * batches * self.steps
        order = (streams[None] + np.arange(batches)[:, None] * self.steps) % size
        return Plan(order.flatten(), np.arange(0, order.size + 1, rows))

    def batch(self, rows: npt.NDArray[np.int64]) -> LMBatch:
        """Return the units from these places on, and those that follow each of them."""
        fed, targets = _gather(self.ids, rows, self.steps)
        return LMBatch(fed, targets.flatten())

    def loss(self, batch: LMBatch, done: float = 0.0) -> tuple[Tensor, Tensor, int]:
        """Return the loss twice, summed in nats, and the number of units."""
        features, state = self.model(batch.fed, self.carried)
        self.carried = state.detach()
        return _descended(self.model, features.flatten(0, 1), batch.targets, self.noise)


@dataclass(frozen=True)
class WindowTask:
    """The textbooks' data set: overlapping windows in random order, each of which predicts the unit behind it."""

    model: RecurrentLM
    ids: Ids
    rows: int
    steps: int
    stride: int
    seed: int
    noise: Noise | None = None

    def plan(self, epoch: int) -> Plan:
        """Return the epoch's batches: the place in the text at which each window begins."""
        starts = np.arange(0, max(1, len(self.ids) - self.steps), self.stride)
        order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(starts)
        return Plan(order, np.append(np.arange(0, len(order), self.rows), len(order)))

    def batch(self, rows: npt.NDArray[np.int64]) -> LMBatch:
        """Return the windows at these places, and the unit behind each."""
        fed, targets = _gather(self.ids, rows, self.steps)
        return LMBatch(fed, targets[:, -1])

    def loss(self, batch: LMBatch, done: float = 0.0) -> tuple[Tensor, Tensor, int]:
        """Return the loss twice, summed in nats, and the number of units that were predicted."""
        features, _ = self.model(batch.fed)
        return _descended(self.model, features[:, -1], batch.targets, self.noise)


def task_of(
    model: RecurrentLM, ids: Ids, *, rows: int, steps: int, stride: int | None, seed: int, noise: Noise | None
) -> StreamTask | WindowTask:
    """Return windows where a stride is given, else streams."""
    if stride is None:
        return StreamTask(model, ids, rows, steps, seed, noise)
    return WindowTask(model, ids, rows, steps, stride, seed, noise)


def _gather(ids: Ids, starts: npt.NDArray[np.int64], steps: int) -> tuple[Tensor, Tensor]:
    """Return (B, T) the units from each place on, and (B, T) those one further on; the text is a circle."""
    places = (starts[:, None] + np.arange(steps + 1)) % len(ids)
    taken = torch.from_numpy(ids[places].astype(np.int64))
    return taken[:, :-1], taken[:, 1:]


def _descended(
    model: RecurrentLM, features: Tensor, targets: Tensor, noise: Noise | None
) -> tuple[Tensor, Tensor, int]:
    output = model.output
    if noise is None:
        loss, plain = linear_cross_entropy(features, output.weight, output.bias, targets)
        return loss, plain, len(targets)
    drawn = noise.slots[torch.randint(len(noise.slots), (noise.shared,), device=features.device)]
    loss = noise_contrastive(features, output.weight, output.bias, targets, noise=drawn, log_noise=noise.log_noise)
    return loss, loss.detach(), len(targets)
