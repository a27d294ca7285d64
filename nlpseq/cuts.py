"""How a single file of one's own is cut into train, validation and test: by a hash of each row's text.

The texts with the smallest hashes are the test, the next ones the validation, 5 % each, at least 1 and at most 1,000
texts; blank ones do not count. So equal texts always share a split, the cut does not depend on the order of the lines,
and a file that grows keeps most of its cut. The split `all` is the whole file in its own order: for a test set of
one's own that stands in one file.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from operator import itemgetter
from typing import NamedTuple

from nlpseq.errors import CorpusError
from nlpseq.readers import Record, Row, Table, fault

__all__ = ["PARTS", "TOLD_EVERY", "HashCut", "Told", "text_hash", "untold"]

PARTS = ("train", "validation", "test")
TOLD_EVERY = 10_000  # rows
_MOST = 1000  # texts that a single file gives for validation, and for test
_ROOM = 100_000_000  # characters of rows up to which they are kept in memory
_SHOWN = 3  # faulty lines that a message names
Told = Callable[[int], None]  # is told how many rows are done


def untold(rows: int) -> None:
    """Do nothing with what is told."""


class _Smallest:
    """The texts with the smallest hashes: how often each stands in a table, and in which rows where there is room."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.records: dict[int, list[Record]] | None = {}
        self._heap: list[int] = []  # negated: heapq keeps the smallest first, the largest kept hash must go first
        self._room = _ROOM

    def add(self, value: int, record: Record) -> None:
        """Take note of a row whose text has this hash."""
        if value in self.counts:
            self.counts[value] += 1
        elif len(self._heap) <= 2 * _MOST:
            heapq.heappush(self._heap, -value)
            self.counts[value] = 1
        elif value < -self._heap[0]:
            largest = -heapq.heapreplace(self._heap, -value)
            del self.counts[largest]
            self.counts[value] = 1
            if self.records is not None:
                del self.records[largest]
        else:
            return
        if self.records is not None:
            self.records.setdefault(value, []).append(record)
            self._room -= 200 + len(str(record.row))
            self.records = self.records if self._room > 0 else None


class _Parts(NamedTuple):
    """What the cut of a table is: the largest hash of test and validation, rows of each split, and those two's own."""

    test: int
    validation: int
    rows: dict[str, int]
    held: dict[str, list[Record]] | None
    names: dict[str, str]  # of the split that a text is in, where `held` is known and it is not train


@dataclass(frozen=True)
class HashCut:
    """The cut of one table into train, validation and test; see the module's docstring.

    table: all rows; key: the columns whose text is hashed; told: is told how many rows have been read for the cut.
    """

    table: Table
    key: tuple[str, ...]
    told: Told = field(default=untold, compare=False)

    def split_of(self, row: Row) -> str:
        """Return the name of the split that a row belongs to."""
        parts = self._parts
        text = _text_of(row, self.key)
        if parts.held is not None:
            return parts.names.get(text, "train")
        if not text.strip():
            return "train"
        value = _hash(text)
        return "test" if value <= parts.test else "validation" if value <= parts.validation else "train"

    def rows(self, split: str) -> int:
        """Return how many rows a split has."""
        return self._parts.rows[split]

    def held(self, split: str) -> list[Record] | None:
        """Return the rows of a split that is not train, where they are few enough to have been kept."""
        return None if self._parts.held is None else self._parts.held[split]

    @cached_property
    def _parts(self) -> _Parts:
        """The parts, from one pass that keeps the smallest hashes only, and their rows: reading all again is slow."""
        smallest = _Smallest()
        total = blank = broken = 0
        faults: list[str] = []
        for record in self.table.scan():
            if isinstance(record.row, CorpusError):
                broken += 1
                faults += [str(record.row)] if broken <= _SHOWN else []
                continue
            total += 1
            if (text := _text_of(record.row, self.key)).strip():
                smallest.add(_hash(text), record)
            else:  # they count for nothing, and stay in train
                blank += 1
            if total % TOLD_EVERY == 0:
                self.told(total)
        values = sorted(smallest.counts)
        size = min(max((total - blank) // 20, 1), (len(values) - 1) // 2)  # so at most _MOST, and train is never empty
        if size < 1:
            if broken:  # they are the cause, too few rows only what follows from it
                more = [f"{self.table.name}: {broken - _SHOWN:,} more lines cannot be read."] * (broken > _SHOWN)
                raise CorpusError("\n".join(faults + more))
            must = "have at least 3 different rows to be cut into train, validation and test"
            where = f"{self.table.name}, column {', '.join(self.key)}" if self.key else self.table.name
            raise fault(self.table.name, must, f"has {len(values)}", where)
        return self._divided(smallest, {"test": values[:size], "validation": values[size : 2 * size]}, total)

    def _divided(self, smallest: _Smallest, parts: Mapping[str, list[int]], total: int) -> _Parts:
        rows = {name: sum(smallest.counts[value] for value in values) for name, values in parts.items()}
        rows["train"] = total - sum(rows.values())
        held: dict[str, list[Record]] | None = None
        names: dict[str, str] = {}
        if (records := smallest.records) is not None:
            held = {
                n: sorted((r for value in values for r in records[value]), key=itemgetter(0))
                for n, values in parts.items()
            }
            names = {_text_of(r.row, self.key): n for n, kept in held.items() for r in kept if isinstance(r.row, dict)}
        return _Parts(parts["test"][-1], parts["validation"][-1], rows, held, names)


def text_hash(row: Row, columns: Sequence[str]) -> int:
    """Return a 64-bit hash of the text in some columns of a row; the same on every machine and in every run."""
    return _hash(_text_of(row, columns))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _text_of(row: Row, columns: Sequence[str]) -> str:
    return str(row[columns[0]]) if len(columns) == 1 else "\t".join(str(row[column]) for column in columns)
