"""From a corpus name or a path to splits of rows that stream: `load_corpus`. How one file is cut says `cuts`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from nlpseq.cards import Card, catalogue, read_card
from nlpseq.cuts import PARTS, HashCut, Told, text_hash, untold
from nlpseq.errors import CorpusError, did_you_mean
from nlpseq.fetch import cache_folder, fetch
from nlpseq.library import library_splits, library_version
from nlpseq.readers import (
    FORMATS,
    Record,
    Row,
    Table,
    fault,
    file_format,
    joined_table,
    memory_table,
    open_table,
    parallel_table,
    parquet_table,
)

__all__ = [
    "Corpus",
    "Split",
    "catalogue",
    "corpus_file",
    "corpus_path",
    "corpus_version",
    "is_document",
    "load_corpus",
    "text_hash",
]

_ALIASES = {"valid": "validation", "dev": "validation", "val": "validation"}
_FURTHER_TEST = re.compile(r"test[_\W\d].*")  # test_2016, and no testament
_SHARD = re.compile(r"-\d+-of-\d+$")
_DOCUMENTS = {"readme", "license", "licence", "copying", "notice", "citation", "changelog", "authors", "contributing"}


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
        if self.cut is not None and self.name != "train" and (held := self.cut.held(self.name)) is not None:
            yield from (record._replace(row=copy(record.row)) for record in held)
            return
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

    def part(self, name: str) -> str:
        """Return a split in words, as in "test of imdb"; where nlpseq has cut it off also that it is a part."""
        held_out = self.whole is not None and name in self.splits and name != "train"
        return f"{name} of {self.name}" + (", the part that nlpseq holds out of it (split all: every row)" * held_out)


def load_corpus(name_or_path: str | Path, *, columns: Sequence[str] | None = None, told: Told = untold) -> Corpus:
    """Return a corpus: from a path of yours, else its grammar, the local mirror, what was fetched, the card's source.

    name_or_path: a file (.parquet .tsv .csv .jsonl .txt .conll, each also with .gz); a folder with any of train.*,
    validation.* (or dev.*, valid.*, val.*) and test.*, or shards of them (train-00000-of-00002.parquet), of which
    train.* alone is cut as a single file is, and nothing else that lies there is read; a folder of files of one format,
    which are read one after the other in the order of their names and cut as a single file is (README, LICENSE and the
    like, and what begins with . or _, are left out); the prefix of parallel files (`data/mine` for data/mine.en and
    data/mine.fr; in a folder train.en, train.fr …); or the name of a card. The mirror is
    ``$NLPSEQ_CORPORA/<name>/<split>.parquet``. A path wins over a name if it exists, and nothing over the grammar of an
    embedded corpus.
    columns: what rows shall hold, and, in a single file that is cut into splits, first the column whose text decides;
    all columns where None. All digits: the file has no header line and these are its 1-based column numbers.
    told: is told how many rows have been read while a single file is cut, which happens when a split is first used.
    Raises CorpusError for what cannot be found or read, with all that was tried.
    """
    path = Path(name_or_path).expanduser()
    text = str(name_or_path)
    if path.is_dir():
        return _folder(path, columns, told)
    if path.is_file():
        return _cut(path.name, open_table(path, columns), columns, told)
    if files := _parallel_files(path, columns):
        return _cut(path.name, parallel_table(files, columns), columns, told)
    if _is_a_path(text):
        must = "be a file, a folder of files, or the prefix of parallel files"
        raise fault(text, must, "nothing is there", f"looked in {path.parent.resolve()}")
    return _named(text, columns)


def corpus_path(name_or_path: str | Path, *, columns: Sequence[str] | None = None) -> Path | None:
    """Return where the text of a corpus lies, as an absolute path: None for one that is embedded.

    name_or_path, columns: as for `load_corpus`. A path is returned whatever is there; a name is looked up and, where it
    is nowhere on this machine, fetched. Raises CorpusError for a name that is none, and where that fails.
    """
    path = Path(name_or_path).expanduser()
    if path.exists() or _is_a_path(str(name_or_path)) or _parallel_files(path, columns):
        return path.absolute()
    return _located(str(name_or_path))[0]


def corpus_version(name_or_path: str | Path) -> str:
    """Return what tells the text of an embedded corpus from another of that name; empty for all whose path tells it."""
    card = next((card for card in catalogue() if card.name == str(name_or_path)), None)
    return library_version() if card and card.source.kind == "library" else ""


def _is_a_path(text: str) -> bool:
    return os.sep in text or "/" in text or file_format(Path(text)) is not None


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


def _cut(name: str, table: Table, columns: Sequence[str] | None, told: Told) -> Corpus:
    cut = HashCut(table, tuple(columns[:1]) if columns else table.columns, told)
    return Corpus(name, {split: Split(split, table, cut) for split in PARTS}, whole=Split("all", table))


def _folder(folder: Path, columns: Sequence[str] | None, told: Told) -> Corpus:
    """Read a folder of splits, or of files of one format; these, and a train file alone, are cut as a single file."""
    shown = sorted(path for path in folder.iterdir() if path.name[0] not in "._" and not is_document(path))
    groups: dict[str, list[Path]] = {}
    for path in shown:
        ending = path.name.removesuffix(".gz").partition(".")[2]
        stem = _SHARD.sub("", _stem(path))
        name = _ALIASES.get(stem, stem)
        if path.is_file() and ending and (name in PARTS or _FURTHER_TEST.fullmatch(name)):
            groups.setdefault(name, []).append(path)
    own = folder.absolute().name
    if not groups:
        if _are_shards(shown):
            return _cut(own, joined_table(shown, columns), columns, told)
        kinds = {(path.suffix, path.is_dir()): path.name for path in reversed(shown)}
        held = ", ".join(sorted(kinds.values())[:5]) or "nothing"
        must = "hold train.*, validation.* or test.*, or files of one format alone"
        raise fault(folder, must, f"holds {held}", f"formats: {' '.join(FORMATS)} or one file per language")
    formats = {file_format(path) for files in groups.values() for path in files} - {None}
    named = {path for files in groups.values() for path in files}
    others = [path.name for path in shown if path not in named and path.is_file() and file_format(path) in formats]
    if len(groups) == 1 and others:
        must = "hold files named as splits (train, validation, test) or others, and not both"
        found = f"holds {next(iter(groups.values()))[0].name} and {others[0]}"
        raise fault(folder, must, found, f"{len(others):,} others would not be read")
    tables = {name: _group_table(folder, name, files, columns) for name, files in groups.items()}
    if list(tables) == ["train"]:
        return _cut(own, tables["train"], columns, told)
    return Corpus(own, {name: Split(name, tables[name]) for name in sorted(tables, key=_order)})


def is_document(path: Path) -> bool:
    """Return whether a file tells of what lies beside it, as README.md and LICENSE do, and is no part of a corpus."""
    return path.name.split(".")[0].lower() in _DOCUMENTS and file_format(path) in (None, ".txt")


def _are_shards(files: Sequence[Path]) -> bool:
    """Return whether files are of one format, and none is a packed copy of another."""
    formats = {file_format(path) if path.is_file() else None for path in files}
    return len(formats) == 1 and None not in formats and len({p.name.removesuffix(".gz") for p in files}) == len(files)


def _group_table(folder: Path, name: str, files: Sequence[Path], columns: Sequence[str] | None) -> Table:
    formats = [path for path in files if file_format(path)]
    if len(files) == len(formats) == 1 or (_are_shards(files) and all(_SHARD.search(_stem(path)) for path in files)):
        return joined_table(files, columns)
    parts = [path.name.removesuffix(".gz").partition(".") for path in files]
    sides = {ending: path for (_, _, ending), path in zip(parts, files, strict=True)}
    if formats or not 1 < len(files) == len(sides) or len({stem for stem, _, _ in parts}) > 1:
        found = f"is {', '.join(path.name for path in files)}"
        must = f"be one file with a known ending ({' '.join(FORMATS)}), shards of it (-0-of-2), or one per language"
        raise fault(name, must, found, folder)
    return parallel_table(sides, columns)


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


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
    folder, card = _located(name)
    if folder is None:
        return Corpus(name, _generated(read_card(name), columns), card)
    return Corpus(name, _mirror_splits(sorted(folder.glob("*.parquet")), card, columns), card)


def _located(name: str) -> tuple[Path | None, Card | None]:
    """Return folder and card of a named corpus: no folder for an embedded one, no card for what only a mirror has."""
    folder = next((place / name for place in _mirrors() if any((place / name).glob("*.parquet"))), None)
    try:
        card = read_card(name)
    except CorpusError:
        if folder is None:
            raise
        return folder, None  # a mirror may hold corpora that have no card
    if card.embedded:  # before any copy, which an older grammar may have written
        return None, card
    if folder is None:
        if not card.splits:
            raise fault(name, "be a corpus of rows", f"is the files {', '.join(card.artefacts)}", "a card of files")
        folder = fetch(name, cache_folder())
    return folder, card


def _mirrors() -> list[Path]:
    own = os.environ.get("NLPSEQ_CORPORA")
    return [*([Path(own).expanduser()] if own else []), cache_folder()]


def _mirror_splits(files: Sequence[Path], card: Card | None, columns: Sequence[str] | None) -> dict[str, Split]:
    labels = card.labels if card else {}
    splits = {}
    for path in sorted(files, key=lambda file: _order(file.stem)):
        table = parquet_table(path, None, labels)
        if path.stem in PARTS or set(columns or ()) <= set(table.columns):  # a side split may lack a language
            splits[path.stem] = Split(path.stem, parquet_table(path, columns, labels))
    return splits


def _generated(card: Card, columns: Sequence[str] | None) -> dict[str, Split]:
    from nlpseq.synthetic import generate

    library = card.source.kind == "library"
    splits = library_splits() if library else generate(card.name, seed=card.source.seed)
    return {
        name: Split(name, memory_table(f"{card.name} {name}", rows, columns))
        for name, rows in splits.items()
        if name in PARTS or set(columns or ()) <= rows[0].keys()  # questions have no text
    }


def _order(split: str) -> tuple[int, str]:
    return (PARTS.index(split) if split in PARTS else len(PARTS), split)
