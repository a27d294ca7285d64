"""From a corpus name or a path to splits of rows that stream: `load_corpus`.

A single file of one's own is cut into train, validation and test by a hash of each row's text: the texts with the
smallest hashes are the test, the next ones the validation, 5 % each, at least 1 and at most 1,000 texts. So equal texts
always share a split, the cut does not depend on the order of the lines, and a file that grows keeps most of its cut.
The split `all` is the whole file in its own order: for a test set of one's own that stands in one file.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from nlpseq.cards import Card, catalogue, read_card
from nlpseq.errors import CorpusError, did_you_mean
from nlpseq.fetch import cache_folder, fetch
from nlpseq.readers import (
    FORMATS,
    Record,
    Row,
    Table,
    fault,
    file_format,
    memory_table,
    open_table,
    parallel_table,
    parquet_table,
)

__all__ = ["Corpus", "Split", "catalogue", "corpus_file", "load_corpus", "text_hash"]

_ALIASES = {"valid": "validation", "dev": "validation", "val": "validation"}
_MOST = 1000  # texts that a single file gives for validation, and for test
_SHOWN = 3  # faulty lines that a message names
_MAIN = ("train", "validation", "test")


@dataclass(frozen=True)
class HashCut:
    """The cut of one table into train, validation and test; see the module's docstring.

    table: all rows; key: the columns whose text is hashed.
    """

    table: Table
    key: tuple[str, ...]

    def split_of(self, row: Row) -> str:
        """Return the name of the split that a row belongs to."""
        value = text_hash(row, self.key)
        test, validation = self._found[0]
        return "test" if value <= test else "validation" if value <= validation else "train"

    def rows(self, split: str) -> int:
        """Return how many rows a split has."""
        return self._found[1][split]

    @cached_property
    def _found(self) -> tuple[tuple[int, int], dict[str, int]]:
        """The two thresholds and the rows per split, from one pass that keeps the smallest hashes only."""
        heap: list[int] = []  # negated: heapq keeps the smallest first, the largest kept hash must go first
        counts: dict[int, int] = {}
        total = broken = 0
        faults: list[str] = []
        for record in self.table.scan():
            if isinstance(record.row, CorpusError):
                broken += 1
                faults += [str(record.row)] if broken <= _SHOWN else []
                continue
            total += 1
            value = text_hash(record.row, self.key)
            if value in counts:
                counts[value] += 1
            elif len(heap) <= 2 * _MOST:
                heapq.heappush(heap, -value)
                counts[value] = 1
            elif value < -heap[0]:
                counts.pop(-heapq.heapreplace(heap, -value))
                counts[value] = 1
        smallest = sorted(counts)
        size = min(max(total // 20, 1), (len(smallest) - 1) // 2)  # so at most _MOST, and train is never empty
        if size < 1:
            if broken:  # they are the cause, too few rows only what follows from it
                more = [f"{self.table.name}: {broken - _SHOWN:,} more lines cannot be read."] * (broken > _SHOWN)
                raise CorpusError("\n".join(faults + more))
            must = "have at least 3 different rows to be cut into train, validation and test"
            raise fault(self.table.name, must, f"has {len(smallest)}", self.table.name)
        held = [sum(counts[value] for value in part) for part in (smallest[:size], smallest[size : 2 * size])]
        rows = {"train": total - sum(held), "validation": held[1], "test": held[0]}
        return (smallest[size - 1], smallest[2 * size - 1]), rows


@dataclass(frozen=True)
class Split:
    """One split of a corpus: an iterable of rows (dicts) that streams from disk, as often as it is asked.

    name: "train", "validation", "test" …; table: where the rows come from; cut: the cut of a single file, if any.
    """

    name: str
    table: Table
    cut: HashCut | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of every row."""
        return self.table.columns

    def scan(self) -> Iterator[Record]:
        """Yield rows and, in their place, what is wrong with a line; faulty lines of a single file count as train's."""
        for record in self.table.scan():
            owner = self.name
            if self.cut is not None:
                owner = "train" if isinstance(record.row, CorpusError) else self.cut.split_of(record.row)
            if owner == self.name:
                yield record

    def __iter__(self) -> Iterator[Row]:
        for record in self.scan():
            if isinstance(record.row, CorpusError):
                raise record.row
            yield record.row

    def __len__(self) -> int:
        return self._rows

    @cached_property
    def _rows(self) -> int:
        if self.cut is not None:
            return self.cut.rows(self.name)
        return self.table.rows if self.table.rows is not None else sum(1 for _ in self)

    def where(self, index: int) -> str:
        """Return the place of row `index` (0-based) for messages, such as "mine.tsv, line 7"; reads up to it."""
        found = next(islice((r for r in self.scan() if not isinstance(r.row, CorpusError)), index, None), None)
        if found is None:
            raise fault(index, f"be a row of {self.name}", "is beyond the last one", self.table.name)
        return f"{self.table.name}, {self.table.unit} {found.number}"


@dataclass(frozen=True)
class Corpus:
    """A corpus: its splits, which share no row, by name; its card where it is one that nlpseq knows; `all` of a file.

    card: None for files of one's own; whole: every row of a single file that was cut into the splits, None elsewhere.
    """

    name: str
    splits: Mapping[str, Split]
    card: Card | None = None
    whole: Split | None = None

    @property
    def task(self) -> str | None:
        """What the card says the corpus is for: "translation", "sentiment", "ner", "lm" …"""
        return self.card.task if self.card else None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The language pairs of a translation corpus, the default one first."""
        return self.card.pairs if self.card else ()

    def split(self, name: str) -> Split:
        """Return one split, "all" of a single file too; raises CorpusError that lists what there is."""
        present = {split.name: split for split in (*self.splits.values(), self.whole) if split is not None}
        if name not in present:
            must = f"be a split of {self.name} ({', '.join(present)})"
            raise fault(name, must, "is not there", self.name, hint=did_you_mean(name, present))
        return present[name]


def load_corpus(name_or_path: str | Path, *, columns: Sequence[str] | None = None) -> Corpus:
    """Return a corpus: from a path of yours, else its grammar, the local mirror, what was fetched, the card's source.

    name_or_path: a file (.parquet .tsv .csv .jsonl .txt .conll, each also with .gz), a folder with any of train.*,
    validation.* (or dev.*, valid.*, val.*) and test.* (train.* alone is cut as a single file is), the prefix of
    parallel files (`data/mine` for data/mine.en and data/mine.fr; in a folder train.en, train.fr …), or the name of a
    card. The mirror is ``$NLPSEQ_CORPORA/<name>/<split>.parquet``. A path wins over a name if it exists, and nothing
    over the grammar of an embedded corpus.
    columns: what rows shall hold, and, in a single file that is cut into splits, first the column whose text decides;
    all columns where None. All digits: the file has no header line and these are its 1-based column numbers.
    Raises CorpusError for what cannot be found or read, with all that was tried.
    """
    path = Path(name_or_path).expanduser()
    text = str(name_or_path)
    if path.is_dir():
        return _folder(path, columns)
    if path.is_file():
        return _cut(path.name, open_table(path, columns), columns)
    if files := _parallel_files(path, columns):
        return _cut(path.name, parallel_table(files, columns), columns)
    if os.sep in text or "/" in text or file_format(path):
        must = "be a file, a folder of splits or the prefix of parallel files"
        raise fault(text, must, "nothing is there", f"looked in {path.parent.resolve()}")
    return _named(text, columns)


def corpus_file(name: str, file: str) -> Path:
    """Return the path of a file that is no table, such as the vectors of `glove_6b_100d_top100k`.

    It is looked for in the local mirror and in what was fetched, and fetched otherwise. Raises CorpusError.
    """
    card = read_card(name)
    if file not in card.artefacts:
        must = f"be a file of {name} ({', '.join(card.artefacts) or 'it has none'})"
        raise fault(file, must, "is not", name, hint=did_you_mean(file, card.artefacts))
    for folder in _mirrors():
        if (path := folder / name / file).is_file():
            return path
    return fetch(name, cache_folder()) / file


def text_hash(row: Row, columns: Iterable[str]) -> int:
    """Return a 64-bit hash of the text in some columns of a row; the same on every machine and in every run."""
    text = "\t".join(str(row[column]) for column in columns)
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _cut(name: str, table: Table, columns: Sequence[str] | None) -> Corpus:
    cut = HashCut(table, tuple(columns[:1]) if columns else table.columns)
    return Corpus(name, {split: Split(split, table, cut) for split in _MAIN}, whole=Split("all", table))


def _folder(folder: Path, columns: Sequence[str] | None) -> Corpus:
    """Read a folder of splits; where there is only a train file it is cut as a single file is."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        stem, _, ending = path.name.removesuffix(".gz").partition(".")
        name = _ALIASES.get(stem, stem)
        if path.is_file() and ending and (name in _MAIN or name.startswith("test")):
            groups.setdefault(name, []).append(path)
    if not groups:
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        must = "hold train.*, validation.* or test.*"
        raise fault(folder, must, f"holds {held}", f"formats: {' '.join(FORMATS)} or one file per language")
    tables = {name: _group_table(folder, name, files, columns) for name, files in groups.items()}
    if list(tables) == ["train"]:
        return _cut(folder.name, tables["train"], columns)
    return Corpus(folder.name, {name: Split(name, tables[name]) for name in sorted(tables, key=_order)})


def _group_table(folder: Path, name: str, files: Sequence[Path], columns: Sequence[str] | None) -> Table:
    formats = [path for path in files if file_format(path)]
    if len(files) == len(formats) == 1:
        return open_table(files[0], columns)
    parts = [path.name.removesuffix(".gz").partition(".") for path in files]
    sides = {ending: path for (_, _, ending), path in zip(parts, files, strict=True)}
    if formats or not 1 < len(files) == len(sides) or len({stem for stem, _, _ in parts}) > 1:
        found = f"is {', '.join(path.name for path in files)}"
        raise fault(name, f"be one file with a known ending ({' '.join(FORMATS)}) or one per language", found, folder)
    return parallel_table(sides, columns)


def _parallel_files(prefix: Path, columns: Sequence[str] | None) -> dict[str, Path]:
    """Return column -> file for all `prefix.<column>`; empty where fewer than two such files stand there.

    A prefix without a folder could be a corpus' name, so there the wanted columns must all be present.
    """
    found = {}
    for path in sorted(prefix.parent.iterdir()) if prefix.parent.is_dir() and prefix.name else ():
        stem, _, ending = path.name.removesuffix(".gz").rpartition(".")
        if stem == prefix.name and path.is_file() and not file_format(path):
            found[ending] = path
    if prefix.parent == Path() and not (columns and set(columns) <= set(found)):
        return {}
    return found if len(found) > 1 else {}


def _named(name: str, columns: Sequence[str] | None) -> Corpus:
    files = next((found for folder in _mirrors() if (found := sorted((folder / name).glob("*.parquet")))), None)
    try:
        card = read_card(name)
    except CorpusError:
        if files is None:
            raise
        return Corpus(name, _mirror_splits(files, None, columns))  # a mirror may hold corpora that have no card
    if card.source.kind == "generated":  # before any copy, which an older grammar may have written
        return Corpus(name, _generated(card, columns), card)
    if files is None:
        if not card.splits:
            raise fault(name, "be a corpus of rows", f"is the files {', '.join(card.artefacts)}", "use corpus_file")
        files = sorted(fetch(name, cache_folder()).glob("*.parquet"))
    return Corpus(name, _mirror_splits(files, card, columns), card)


def _mirrors() -> list[Path]:
    own = os.environ.get("NLPSEQ_CORPORA")
    return [*([Path(own).expanduser()] if own else []), cache_folder()]


def _mirror_splits(files: Sequence[Path], card: Card | None, columns: Sequence[str] | None) -> dict[str, Split]:
    labels = card.labels if card else {}
    splits = {}
    for path in sorted(files, key=lambda file: _order(file.stem)):
        table = parquet_table(path, None, labels)
        if path.stem in _MAIN or set(columns or ()) <= set(table.columns):  # a side split may lack a language
            splits[path.stem] = Split(path.stem, parquet_table(path, columns, labels))
    return splits


def _generated(card: Card, columns: Sequence[str] | None) -> dict[str, Split]:
    from nlpseq.synthetic import generate

    splits = generate(card.name, seed=card.source.seed)
    return {name: Split(name, memory_table(f"{card.name} {name}", rows, columns)) for name, rows in splits.items()}


def _order(split: str) -> tuple[int, str]:
    return (_MAIN.index(split) if split in _MAIN else len(_MAIN), split)
