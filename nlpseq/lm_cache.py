"""The continuous cache: a memory of what stood behind states like the one now (Grave, Joulin and Usunier 2017)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Cache", "Memory", "Passed", "fit_cache"]

_SHARPNESS = 5.0, 10.0, 20.0, 40.0, 80.0  # those that are tried
_ROUNDS = 60  # of the search for the weight
_SLOW = 200  # states: a memory of so many is heard half as much as one without end
_BLOCK = 256  # states that are looked up at once: of more, most of the similarities would be for nothing …
_ROOM = 1 << 24  # … with no more similarities than this


class Cache(NamedTuple):
    """How a memory is heard: P(unit) = (1 - w) P_network(unit) + w P_memory(unit).

    P_memory(unit) is the sum of softmax(sharpness * cos(state now, state then)) over those of the last `size` states
    behind which that unit stood. The paper has the inner product of the states: of unit vectors, a sharpness means the
    same for every network. It also has one w for all: a text that has hardly begun would be spoilt by it, as a memory
    of one state is sure of one unit. So w grows with the number m of states remembered, as m / (m + 200), up to
    `weight` where there are `size`.
    """

    size: int
    weight: float
    sharpness: float

    def mix(self, network: Tensor, memory: Tensor, remembered: Tensor) -> Tensor:
        """Return log-probabilities; network: log-probabilities, memory: probabilities of the same shape.

        remembered: how many states the memory had, of a shape that goes with theirs.
        """
        weight = self.weight * _fullness(remembered, self.size)
        return torch.logaddexp(network + (-weight).log1p(), memory.log() + weight.log())


def _fullness(remembered: Tensor, size: int) -> Tensor:
    """Return from 0 to 1 how far a memory is heard that has so many states of `size`."""
    return remembered / (remembered + _SLOW) * ((size + _SLOW) / size)


class Passed(NamedTuple):
    """A part of some texts side by side, as a network passed it."""

    features: Tensor  # (B, T, H)
    targets: Tensor  # (B, T) int64, the unit behind each
    network: Tensor  # (B, T) its log-probability, in nats


class Memory:
    """The last `size` states of each row, as unit vectors, and the unit that stood behind each."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._states = torch.empty(0, 0, 0)  # (B, R, H), R: room for more, so that all is seldom moved
        self._units = torch.empty(0, 0, dtype=torch.int64)  # (B, R)
        self._end = 0

    def __len__(self) -> int:
        return min(self._end, self.size)

    def add(self, features: Tensor, units: Tensor) -> None:
        """Remember features (B, T, H) and the units (B, T) behind them, instead of the oldest."""
        rows, count = units.shape
        states, before = F.normalize(features.float(), dim=2), len(self)
        if self._end + count > self._units.shape[1]:
            old = self._last()
            room = before + max(count, before)  # twice as much, whatever `size` is
            self._states = states.new_empty(rows, room, states.shape[2])
            self._units = units.new_empty(rows, room)
            if before:
                self._states[:, :before], self._units[:, :before] = old
            self._end = before
        place = slice(self._end, self._end + count)
        self._states[:, place], self._units[:, place] = states, units
        self._end += count

    def _last(self) -> tuple[Tensor, Tensor]:
        place = slice(self._end - len(self), self._end)
        return self._states[:, place], self._units[:, place]

    def recall(self, features: Tensor, targets: Tensor, sharpness: Sequence[float]) -> list[Tensor]:
        """Return P_memory of each target, (B, T), with each sharpness; 0 for the very first state of a row.

        features: (B, T, H), the states that follow those remembered, each of which knows the ones before it; targets:
        (B, T) int64. They are remembered too.
        """
        rows = len(targets)
        width = max(1, min(_BLOCK, _ROOM // rows // (self.size + _BLOCK)))
        parts = zip(torch.split(features, width, 1), torch.split(targets, width, 1), strict=True)
        found = [self._recall(*part, sharpness) for part in parts]
        return [torch.cat(pieces, 1) for pieces in zip(*found, strict=True)]

    def _recall(self, features: Tensor, targets: Tensor, sharpness: Sequence[float]) -> list[Tensor]:
        count, before = targets.shape[1], len(self)
        self.add(features, targets)
        first = self._end - before - count
        states, units = self._states[:, first : self._end], self._units[:, first : self._end]
        near = states[:, before:] @ states.mT
        places = torch.arange(before + count, device=near.device)
        age = places[before:, None] - places
        near.masked_fill_((age < 1) | (age > self.size), -torch.inf)
        other = units[:, None] != targets[:, :, None]
        other |= places[before:, None] == 0  # the very first state knows nothing: a softmax of nothing is no number
        return [torch.softmax(sharp * near, 2).masked_fill_(other, 0).sum(2) for sharp in sharpness]

    def log_likelihood(self, passed: Passed, cache: Cache) -> Tensor:
        """Return log P of each target, (B, T), and remember them."""
        remembered = self.counts(passed.targets)
        (memory,) = self.recall(passed.features, passed.targets, [cache.sharpness])
        return cache.mix(passed.network.float(), memory, remembered)

    def counts(self, targets: Tensor) -> Tensor:
        """Return how many states are remembered at each of the targets to come: (B, T) -> (T,)."""
        return (len(self) + torch.arange(targets.shape[1], device=targets.device)).clamp(max=self.size)


def fit_cache(text: Iterable[Passed], size: int) -> Cache:
    """Return the cache of `size` states under which a text is likeliest: a grid of five sharpnesses, each with the best
    weight, which a ternary search finds, as the likelihood is concave in it.

    text: its parts in order, at least one unit in all, best not what the network was trained on.
    """
    memory, network, recalled, remembered = Memory(size), [], [], []
    for part in text:
        remembered.append(memory.counts(part.targets).cpu())
        recalled.append(torch.stack(memory.recall(part.features, part.targets, _SHARPNESS)).flatten(1).cpu().double())
        network.append(part.network.flatten().cpu().double())
    alone, found = torch.cat(network).exp(), torch.cat(recalled, 1)
    fullness = _fullness(torch.cat(remembered), size)

    def likelihood(weight: Tensor) -> Tensor:
        heard = weight[:, None] * fullness
        return ((1 - heard) * alone + heard * found).clamp(min=1e-300).log().sum(1)

    low, high = torch.zeros(2, len(_SHARPNESS), dtype=torch.float64)
    high += 0.999
    for _ in range(_ROUNDS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        better = likelihood(left) < likelihood(right)
        low, high = torch.where(better, left, low), torch.where(better, high, right)
    best = int(likelihood(low).argmax())
    return Cache(size, float(low[best]), _SHARPNESS[best])
