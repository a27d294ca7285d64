"""Id sequences on disk, batches of equal length, and an order that is a function of (seed, epoch)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nlpseq.artefact import write_file
from nlpseq.errors import ArtefactError, sentence

__all__ = ["Plan", "Ragged", "RaggedWriter", "load_ragged", "pad", "plan"]

_POOL = 1 << 17  # examples that are sorted by length together: bounds memory and keeps every epoch's batches new


@dataclass(frozen=True)
class Ragged:
    """Sequences of ids one after the other, usually memory-mapped."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]  # one more than there are sequences

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of every sequence, in tokens."""
        return np.diff(self.offsets)


class RaggedWriter:
    """Writes sequences to `<path>.ids` and `<path>.offsets` as they come; a file is whole once `close` has returned."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = open(f"{path}.ids", "wb")  # noqa: SIM115 - closed by close()
        self._lengths: list[npt.NDArray[np.int64]] = []

    def write(self, sequences: Sequence[Sequence[int]]) -> None:
        """Append sequences of ids below 2**31."""
        self._ids.write(
            np.concatenate([np.asarray(s, np.int32) for s in sequences] or [np.empty(0, np.int32)]).tobytes()
        )
        self._lengths.append(np.fromiter(map(len, sequences), np.int64, len(sequences)))

    def close(self) -> None:
        """Finish both files."""
        self._ids.flush()
        os.fsync(self._ids.fileno())
        self._ids.close()
        lengths = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        write_file(Path(f"{self._path}.offsets"), np.cumsum(lengths).astype(np.int64).tobytes())


def load_ragged(path: Path) -> Ragged:
    """Return the sequences that a RaggedWriter wrote, memory-mapped; ArtefactError where they are not whole."""
    try:
        offsets = np.fromfile(f"{path}.offsets", np.int64)
        whole = int(offsets[-1]) * np.dtype(np.int32).itemsize == Path(f"{path}.ids").stat().st_size
    except (OSError, IndexError):
        whole = False
    if not whole:
        raise ArtefactError(sentence(f"{path}.ids", "be whole (--no-resume makes it anew)", "damaged", quote=False))
    if not offsets[-1]:
        return Ragged(np.empty(0, np.int32), offsets)
    return Ragged(np.memmap(f"{path}.ids", np.int32, "r", shape=(int(offsets[-1]),)), offsets)


def pad(data: Ragged, rows: npt.NDArray[np.int64], *, value: int = 0) -> tuple[Tensor, Tensor]:
    """Return the chosen sequences as (B, S) int64, padded behind with `value`, and their lengths (B,) int64."""
    lengths = data.offsets[rows + 1] - data.offsets[rows]
    width = int(lengths.max(initial=0))
    steps = np.arange(width)[None]
    inside = steps < lengths[:, None]
    index = np.where(inside, data.offsets[rows][:, None] + steps, 0)
    tokens = np.where(inside, data.ids[index], value) if width and len(data.ids) else np.full(index.shape, value)
    return torch.from_numpy(tokens.astype(np.int64)), torch.from_numpy(lengths)


@dataclass(frozen=True)
class Plan:
    """The batches of one epoch: `order` cut at `cuts`."""

    order: npt.NDArray[np.int64]
    cuts: npt.NDArray[np.int64]  # one more than there are batches

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def batch(self, number: int) -> npt.NDArray[np.int64]:
        """Return the example numbers of one batch."""
        return self.order[self.cuts[number] : self.cuts[number + 1]]


def plan(lengths: Iterable[npt.NDArray[np.int64]], batch_tokens: int, *, seed: int, epoch: int) -> Plan:
    """Return an epoch's batches: every example once, neighbours of like length together, in random order.

    lengths: one array for each side of the examples; batch_tokens: rows times the longest side at most (one example
    always fits); the same (seed, epoch) always gives the same plan, whatever ran before.
    """
    sides = [np.asarray(side) for side in lengths]
    longest = np.maximum.reduce(sides)
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = random.permutation(len(longest))
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), _POOL):
        pool = order[start : start + _POOL]
        pool = pool[np.lexsort([side[pool] for side in sides])]  # stable: equal lengths stay shuffled
        batches += _cut(pool, longest[pool], batch_tokens)
    batches = [batches[i] for i in random.permutation(len(batches))]
    cuts = np.cumsum([0, *map(len, batches)])
    return Plan(np.concatenate(batches) if batches else order, cuts)


def _cut(pool: npt.NDArray[np.int64], longest: npt.NDArray[np.int64], batch_tokens: int) -> list[npt.NDArray[np.int64]]:
    """Cut sorted examples so that rows times the longest of the batch stays within batch_tokens."""
    batches, start, widest = [], 0, 0
    for end, length in enumerate(longest.tolist()):
        widest = max(widest, length)
        if end > start and (end + 1 - start) * widest > batch_tokens:
            batches.append(pool[start:end])
            start, widest = end, length
    batches.append(pool[start:])
    return batches
