"""Running text as ids on disk: what a language model trains on.

A text is any file, every file of a folder, or a column of a corpus. What it is cut into depends on what it is: the
splits of a corpus are its own; a folder of files is cut by whole files, one file in place, 90 / 5 / 5.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from gzip import GzipFile
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nlpseq.artefact import read_table, write_table
from nlpseq.batches import Ragged, RaggedWriter, load_ragged
from nlpseq.corpora import is_document
from nlpseq.cuts import PARTS, Told
from nlpseq.errors import ArtefactError, CorpusError, did_you_mean, sentence
from nlpseq.pairs import open_text, texts
from nlpseq.readers import fault, file_format
from nlpseq.settings import LMTextConfig, PairConfig
from nlpseq.tokenizer import Tokenizer, normalised
from nlpseq.units import Characters, Ids, TokenUnits, Units
from nlpseq.vocab import EOS, UNK

__all__ = ["HELD_OUT", "Counts", "Source", "Text", "encode_text", "learn_units", "open_source", "training_rows"]

Rows = Callable[[], Iterator[str]]

HELD_OUT = "held-out"
_FEW = 20  # rows below which a text is held out by its end instead of by whole rows
_AT_ONCE = 2048  # lines encoded together
_SHARE = 0.05  # of a file of one's own that is validation, and test
_STEMS = {"valid": "validation", "dev": "validation", "val": "validation"} | {part: part for part in PARTS}


class Source(NamedTuple):
    """A text by its splits, each of which can be read as often as it is asked, row by row.

    running: rows of one split after the other are one text without a break, as where a single text was cut; python:
    whether it is source of Python; left_out: what of it is not read, and why, for whoever asked.
    """

    name: str
    splits: Mapping[str, Rows]
    running: bool = False
    python: bool = False
    left_out: tuple[str, ...] = ()

    def rows(self, names: str) -> Iterator[str]:
        """Yield the rows of several splits, as in `validation,test`; CorpusError for one that is not there."""
        parts = [self._split(name.strip()) for name in names.split(",")]
        return chain.from_iterable(part() for part in parts)

    def _split(self, name: str) -> Rows:
        if name not in self.splits:
            must = f"be a split of {self.name} ({', '.join(self.splits)})"
            hint = did_you_mean(name, self.splits)
            raise fault(name, must, "is not there", self.name, hint=hint)
        return self.splits[name]


@dataclass(frozen=True)
class Counts:
    """What a text is made of; units without `<eos>`."""

    rows: int = 0
    documents: int = 0
    characters: int = 0
    units: int = 0
    unknown: int = 0


class Text(NamedTuple):
    """A text as ids: documents one after the other, `<eos>` behind each."""

    ids: Ids
    counts: Counts


def open_source(name: str, column: str | None, *, as_bytes: bool) -> Source:
    """Return the text of a file, a folder or a corpus.

    name: a file that is no table (.txt, .py, .tex …), or a folder of such files, of which those that are not text are
    left out; else as for `load_corpus`; column: of the text; as_bytes: files need not be text. Raises CorpusError for
    what cannot be found or read.
    """
    path = Path(name).expanduser()
    files = _plain_files(path) if path.is_dir() and not _is_of_tables(path) else []
    plain = path.is_file() and file_format(path) in (None, ".txt")
    if column is not None and (plain or files):
        raise CorpusError(sentence("text", "be left out for files of text, which have no columns", column, str(path)))
    if plain:
        return _cut(path.name, lambda: _read(path, as_bytes), python=path.suffix == ".py")
    if files:
        return _folder(path, files, as_bytes)
    corpus, columns = open_text(name, column, PairConfig())
    if len(columns) > 1:
        must = f"be given where a corpus has pairs ({', '.join(columns)})"
        raise CorpusError(sentence("text", must, "absent", corpus.name, quote=False))

    def rows(split: str) -> Rows:
        pair = (columns[0], columns[0])
        return lambda: (text for text, _ in texts(corpus.split(split), pair) if text.strip())

    running = corpus.card is not None and corpus.card.source.format == "whole"
    python = corpus.card is not None and corpus.card.languages == ("python",)
    return Source(corpus.name, {split: rows(split) for split in corpus.splits}, running, python)


def _plain_files(folder: Path) -> list[Path]:
    """Return the files below a folder that are no tables, in the order of their names; hidden ones are left out."""
    return [path for path in _shown(folder) if not _is_table(path)]


def _shown(folder: Path) -> Iterator[Path]:
    inside = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return (path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _is_table(path: Path) -> bool:
    return file_format(path) not in (None, ".txt", ".conll")


def _is_of_tables(folder: Path) -> bool:
    """Return whether a folder holds the tables of a corpus: named as splits are, or with no text but documents."""
    shown = list(_shown(folder))
    tables = [path for path in shown if _is_table(path)]
    named = any(path.parent == folder and path.name.split(".")[0] in _STEMS for path in tables)
    return bool(tables) and (named or all(_is_table(path) or is_document(path) for path in shown))


def _cut(name: str, read: Callable[[], str], *, python: bool, left_out: tuple[str, ...] = ()) -> Source:
    """Return one text, cut in place."""
    text = read()
    first, second = (_line_end(text, int(len(text) * share)) for share in (1 - 2 * _SHARE, 1 - _SHARE))
    parts = {"train": (0, first), "validation": (first, second), "test": (second, len(text)), "all": (0, len(text))}

    def rows(start: int, stop: int) -> Rows:
        return lambda: iter([read()[start:stop]])

    return Source(name, {name: rows(*part) for name, part in parts.items()}, True, python, left_out)


def _line_end(text: str, place: int) -> int:
    """Return the end of the line that a place is in, or the place where that is far away."""
    end = text.find("\n", place, place + len(text) // 100 + 1)
    return place if end < 0 else end + 1


def _folder(folder: Path, files: list[Path], as_bytes: bool) -> Source:
    """Return a folder's own splits where its files are named by them; else whole files are held out by their names."""
    files, left_out = _readable(folder, files, as_bytes)
    name, python = folder.name or str(folder), all(path.suffix == ".py" for path in files)
    if tables := [path for path in _shown(folder) if _is_table(path)]:
        left_out.append(f"{folder}: {_few(tables)} left out, which are tables")
    named: dict[str, list[Path]] = {}
    for path in files:
        named.setdefault(_part_of(path.relative_to(folder)), []).append(path)
    rest = named.pop("", [])
    if "train" in named and (len(named) > 1 or all(map(is_document, rest))):
        groups = {part: named[part] for part in PARTS if part in named}
        files = [path for path in files if path not in rest]
        if rest:
            found = f"the files beside train, validation and test ({_few(rest)})"
            left_out.append(f"{folder}: {found} are left out")
    elif len(files) < 3:
        whole = files
        return _cut(name, lambda: "".join(_read(p, as_bytes) for p in whole), python=python, left_out=tuple(left_out))
    else:
        order = sorted(files, key=lambda path: _hash(path.relative_to(folder).as_posix()))
        size = max(1, len(order) // 20)
        test, validation = set(order[:size]), set(order[size : 2 * size])
        groups = {"train": [path for path in files if path not in test | validation]}
        groups |= {"validation": [p for p in files if p in validation], "test": [p for p in files if p in test]}
    groups["all"] = files

    def rows(paths: list[Path]) -> Rows:
        return lambda: (_read(path, as_bytes) for path in paths)

    return Source(name, {part: rows(paths) for part, paths in groups.items()}, False, python, tuple(left_out))


def _part_of(path: Path) -> str:
    """Return the split that a file in a folder is of, by the first folder on its way or a part of its name, or ""."""
    if len(path.parts) > 1:
        return _STEMS.get(path.parts[0], "")
    words = path.name.split(".") if path.suffix != ".py" else ()  # test.py is a program
    return next((_STEMS[word] for word in words if word in _STEMS), "")


def _readable(folder: Path, files: list[Path], as_bytes: bool) -> tuple[list[Path], list[str]]:
    """Return the files that hold text, and what is to be said of those that are none; blank ones are passed over."""
    kept, faults = [], []
    for path in files:
        if not (content := _content(path)).strip():
            continue
        try:
            _text(content, path, as_bytes)
            kept.append(path)
        except CorpusError as error:
            faults.append((path, error))
    if not kept:
        raise faults[0][1] if faults else fault(folder.name, "hold text", "is empty", folder)
    names = _few([path for path, _ in faults])
    return kept, [f"{folder}: {names} left out, not UTF-8 text (--units byte reads any file)"] if faults else []


def _few(paths: list[Path]) -> str:
    names = ", ".join(path.name for path in paths[:3]) + (", …" if len(paths) > 3 else "")
    return f"{len(paths):,} file{'s' * (len(paths) != 1)}, {names}"


def _read(path: Path, as_bytes: bool) -> str:
    """Return the text of a file; what is not UTF-8 stands in it as lone surrogates where bytes are asked for."""
    content = _content(path)
    if not content.strip():
        raise fault(path.name, "hold text", "is empty", path)
    return _text(content, path, as_bytes)


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return GzipFile(fileobj=file).read() if path.suffix == ".gz" else file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise fault(path.name, "be a readable file", "cannot be read", f"{path}: {error}") from None


def _text(content: bytes, path: Path, as_bytes: bool) -> str:
    if as_bytes:
        return content.decode("utf-8", "surrogateescape")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"is not (byte 0x{content[error.start]:02x}; a model of --units byte reads any file)"
        raise fault(path.name, "be UTF-8 text", found, f"{path}, line {line}") from None
    if (nul := text.find("\0")) >= 0:
        found = "holds a NUL byte (a model of --units byte reads any file)"
        raise fault(path.name, "be UTF-8 text", found, f"{path}, line {text.count(chr(10), 0, nul) + 1}")
    return text


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def training_rows(source: Source, config: LMTextConfig, *, held: bool | None) -> Iterator[str]:
    """Yield the rows of the training text: all (None), what is held out of it (True), or the rest.

    Where there are few rows, the end of each is held out, else whole rows, equal ones together.
    """
    rows = source.rows(config.splits)
    if config.limit is not None:
        rows = _limited(rows, config.limit)
    if held is None:
        yield from rows
        return
    first = list(islice(rows, _FEW))
    if len(first) < _FEW:
        for row in first:
            cut = _line_end(row, int(len(row) * (1 - config.held_out)))
            yield row[cut:] if held else row[:cut]
        return
    least = min(map(_hash, first))  # so that something is held out however small the share
    for row in chain(first, rows):
        value = _hash(row)
        if (value == least or value < config.held_out * 2**64) == held:
            yield row


def _limited(rows: Iterable[str], limit: int) -> Iterator[str]:
    for row in rows:
        yield row[:limit]
        limit -= len(row)
        if limit <= 0:
            return


def learn_units(rows: Rows, config: LMTextConfig) -> Units:
    """Return the units of a training text; rows: yields it anew each time. Raises CorpusError where it is empty."""
    if config.tokenizer is not None:
        return TokenUnits(Tokenizer.load(config.tokenizer))
    if config.units == "byte":
        return Characters(None)
    if config.units == "char":
        return Characters.learn(rows(), min_count=config.min_count)
    settings = config.vocabulary
    every = max(1, -(-sum(1 for _ in _lines(rows())) // settings.sample))
    drawn = (normalised(line, settings).text for line in islice(_lines(rows()), 0, None, every))
    return TokenUnits(Tokenizer.train(drawn, settings))


def _lines(rows: Iterable[str]) -> Iterator[str]:
    return (line for row in rows for line in row.splitlines() if line.strip())


def encode_text(rows: Iterator[str], units: Units, *, path: Path, joined: bool, told: Told) -> Text:
    """Write a text as ids to `<path>.*` and return it memory-mapped.

    A row is in memory as a whole, as text and as ids, and so is a file: for one of 10 MB the process takes 0.4 GB.
    joined: the rows are one document, and in memory together. A text that has been written whole is not written again;
    one that was damaged since is, as the same rows give the same ids. told: is told how many rows are done.
    """
    if (held := _held(path)) is not None:
        return held
    writer = RaggedWriter(path)
    counts = [0, 0, 0, 0, 0]
    for texts_, done in _blocks(iter(["".join(rows)]) if joined else rows, whole=units.whole):
        encoded = [ids for ids in units.encode(texts_) if len(ids)]
        writer.write([np.append(ids, np.int32(EOS)) for ids in encoded])
        unknown = sum(int((ids == UNK).sum()) for ids in encoded)
        more = done, len(encoded), sum(map(len, texts_)), sum(map(len, encoded)), unknown
        counts = [a + b for a, b in zip(counts, more, strict=True)]
        told(counts[0])
    writer.close()
    table = asdict(Counts(*counts))
    write_table(Path(f"{path}.json"), table)
    return Text(load_ragged(path).ids, Counts(*counts))


def _blocks(rows: Iterator[str], *, whole: bool) -> Iterator[tuple[list[str], int]]:
    """Yield documents that are encoded together, and how many rows they are of."""
    if whole:
        yield from (([row], 1) for row in rows)
        return
    waiting: list[str] = []
    done = 0
    for row in rows:
        waiting += _lines([row])
        done += 1
        while len(waiting) >= _AT_ONCE:
            yield waiting[:_AT_ONCE], done
            waiting, done = waiting[_AT_ONCE:], 0
    yield waiting, done


def _held(path: Path) -> Text | None:
    """Return a text that was written whole and is so still; None for any other."""
    try:
        table = read_table(Path(f"{path}.json"))
        counts, data = Counts(**table), load_ragged(path)
    except (TypeError, ArtefactError):  # the first for counts of another version
        return None
    return Text(data.ids, counts) if _size(data) == (counts.documents, counts.units) else None


def _size(data: Ragged) -> tuple[int, int]:
    return len(data), len(data.ids) - len(data)
