"""Id sequences on disk, batches of equal length, and an order that is a function of (seed, epoch)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nlpseq.artefact import write_file
from nlpseq.errors import ArtefactError, WorkError, sentence

__all__ = ["Plan", "Ragged", "RaggedWriter", "alike", "load_ragged", "pad", "plan"]

_POOL = 1 << 17  # examples that are sorted by length together: bounds memory and keeps every epoch's batches new
_DIGEST = hashlib.sha256().digest_size // np.dtype(np.int64).itemsize  # behind the offsets, counted in offsets


@dataclass(frozen=True)
class Ragged:
    """Sequences of ids one after the other, usually memory-mapped."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]  # one more than there are sequences

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Length of every sequence, in tokens."""
        return np.diff(self.offsets).astype(np.int32)


class RaggedWriter:
    """Writes sequences to `<path>.ids` and `<path>.offsets` as they come; a file is whole once `close` has returned.

    The offsets end with a SHA-256 of both: a flipped bit in an id would change a model as silently as a wrong corpus.
    Both methods raise WorkError where the disk does not take it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = open(f"{path}.ids", "wb")  # noqa: SIM115 - closed by close()
        self._lengths: list[npt.NDArray[np.int64]] = []
        self._hash = hashlib.sha256()

    def write(self, sequences: Sequence[Sequence[int] | npt.NDArray[np.int32]]) -> None:
        """Append sequences of ids below 2**31."""
        content = np.concatenate([np.asarray(s, np.int32) for s in sequences] or [np.empty(0, np.int32)]).tobytes()
        self._hash.update(content)
        self._lengths.append(np.fromiter(map(len, sequences), np.int64, len(sequences)))
        with self._room():
            self._ids.write(content)

    def close(self) -> None:
        """Finish both files."""
        with self._room():
            self._ids.flush()
            os.fsync(self._ids.fileno())
            self._ids.close()
        offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), *self._lengths])).tobytes()
        self._hash.update(offsets)
        write_file(Path(f"{self._path}.offsets"), offsets + self._hash.digest())

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError):  # what is still in the buffer has no room either
                self._ids.close()
            found = error.strerror or str(error)
            raise WorkError(sentence(f"{self._path}.ids", "be written whole", found, quote=False)) from None


def load_ragged(path: Path) -> Ragged:
    """Return the sequences that a RaggedWriter wrote, every byte verified; ids are memory-mapped.

    Raises ArtefactError where they are not as they were written.
    """
    try:
        content = np.fromfile(f"{path}.offsets", np.int64)
        offsets, digest = content[:-_DIGEST], content[-_DIGEST:].tobytes()
        with open(f"{path}.ids", "rb") as file:
            found = hashlib.file_digest(file, "sha256")
        found.update(offsets.data)
        whole = found.digest() == digest and len(offsets) > 0
    except OSError:
        whole = False
    if not whole:
        raise ArtefactError(sentence(f"{path}.ids", "be whole (--no-resume makes it anew)", "damaged", quote=False))
    if not offsets[-1]:
        return Ragged(np.empty(0, np.int32), offsets)
    return Ragged(np.memmap(f"{path}.ids", np.int32, "r", shape=(int(offsets[-1]),)), offsets)


def pad(data: Ragged, rows: npt.NDArray[np.int64], *, value: int = 0, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Return the chosen sequences as (B, S) int64, padded behind with `value`, and their lengths (B,) int64.

    multiple: S is one of it; kernels keep memory for every shape that they have seen.
    """
    lengths = data.offsets[rows + 1] - data.offsets[rows]
    width = -(-int(lengths.max(initial=0)) // multiple) * multiple
    steps = np.arange(width)[None]
    inside = steps < lengths[:, None]
    index = np.where(inside, data.offsets[rows][:, None] + steps, 0)
    tokens = np.where(inside, data.ids[index], value) if width and len(data.ids) else np.full(index.shape, value)
    return torch.from_numpy(tokens.astype(np.int64)), torch.from_numpy(lengths)


@dataclass(frozen=True)
class Plan:
    """The batches of one epoch: `order` cut at `cuts`, and the turns in which they come, in that order where absent."""

    order: npt.NDArray[np.int64]
    cuts: npt.NDArray[np.int64]  # one more than there are batches
    turns: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def batch(self, number: int) -> npt.NDArray[np.int64]:
        """Return the example numbers of one batch."""
        place = number if self.turns is None else self.turns[number]
        return self.order[self.cuts[place] : self.cuts[place + 1]]


def plan(lengths: Iterable[npt.NDArray[np.integer]], batch_tokens: int, *, seed: int, epoch: int) -> Plan:
    """Return an epoch's batches: every example once, neighbours of like length together, in random order.

    lengths: one array for each side of the examples; batch_tokens: rows times the longest side at most (one example
    always fits); the same (seed, epoch) always gives the same plan, whatever ran before.
    """
    sides = [np.asarray(side) for side in lengths]
    longest = np.maximum.reduce(sides)
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = random.permutation(len(longest))
    cuts = [0]
    for start in range(0, len(order), _POOL):
        pool = order[start : start + _POOL]
        pool[:] = pool[np.lexsort([side[pool] for side in sides])]  # stable: equal lengths stay shuffled
        cuts += [start + end for end in _ends(longest[pool], batch_tokens)]
    return Plan(order, np.array(cuts), random.permutation(len(cuts) - 1))


def _ends(longest: npt.NDArray[np.integer], batch_tokens: int) -> list[int]:
    """Return where batches of sorted examples end, so that rows times the longest of each stays within batch_tokens."""
    ends, start, widest = [], 0, 0
    for end, length in enumerate(longest.tolist()):
        widest = max(widest, length)
        if end > start and (end + 1 - start) * widest > batch_tokens:
            ends.append(end)
            start, widest = end, length
    return [*ends, len(longest)]


def alike(widths: Sequence[int], rows: int) -> list[list[int]]:
    """Return groups of at most `rows` places whose width is the same, wide ones last."""
    groups: list[list[int]] = []
    for place in sorted(range(len(widths)), key=widths.__getitem__):
        if not groups or len(groups[-1]) == rows or widths[groups[-1][0]] != widths[place]:
            groups.append([])
        groups[-1].append(place)
    return groups
