"""File formats: every reader gives a `Table`, whose rows are streamed and can be read again and again.

Text files must be UTF-8, with or without a byte-order mark; only a line feed ends a line, so that parallel files stay
parallel whatever odd separators stand inside a sentence. A line that cannot be used is yielded as the CorpusError that
describes it: reading for training raises the first one, the preflight collects them all.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.errors import CorpusError, did_you_mean

__all__ = [
    "FORMATS",
    "Record",
    "Row",
    "Table",
    "column_names",
    "fault",
    "file_format",
    "joined_table",
    "memory_table",
    "open_table",
    "parallel_table",
]

_READ = 1 << 20  # bytes read of a Parquet file at a time

Row = dict[str, Any]


class Record(NamedTuple):
    """One row of a table, or what is wrong with it, and the number of the line (or row) it stands in."""

    number: int
    row: Row | CorpusError


@dataclass(frozen=True)
class Table:
    """Rows of named columns that stream from one place.

    name: the path or what stands for it in messages; columns: the names in every row; scan: starts a pass; rows: how
    many there are where that is known without a pass; unit: what `Record.number` counts, "line" or "row".
    """

    name: str
    columns: tuple[str, ...]
    scan: Callable[[], Iterator[Record]]
    rows: int | None = None
    unit: str = "line"


def fault(name: object, must: str, found: str, where: object, *, hint: str = "") -> CorpusError:
    """Return the error in the project's sentence form where the finding is a phrase ("has 3") and no value to quote."""
    return CorpusError(f"`{name}` must {must}, but {found} ({where}){hint or '.'}")


def open_table(path: Path, wanted: Sequence[str] | None = None) -> Table:
    """Return the table in one file, its format told by the suffix (`FORMATS`, each with or without `.gz`).

    wanted: the columns that rows shall have, all where None; names that are all digits say that a `.tsv` or `.csv` has
    no header line and are its 1-based column numbers. Raises CorpusError for a file that is empty, not text, not whole,
    or lacks a wanted column.
    """
    kind = file_format(path)
    if kind is None:
        must = f"end in one of {' '.join(FORMATS)} (or these with .gz)"
        raise fault(path.name, must, f'ends in "{path.suffix}"', path)
    if kind == ".parquet":
        return parquet_table(path, wanted)
    check_text(path)
    return _OPENERS[kind](path, wanted)


def file_format(path: Path) -> str | None:
    """Return the suffix that tells the format, such as ".tsv" for "mine.tsv.gz", or None for a foreign one."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    return suffix.lower() if suffix.lower() in FORMATS else None


def memory_table(name: str, rows: Sequence[Row], wanted: Sequence[str] | None = None) -> Table:
    """Return a table over rows that are already in memory, such as a generated corpus."""
    columns = pick(wanted, tuple(rows[0]) if rows else (), name)

    def scan() -> Iterator[Record]:
        for number, row in enumerate(rows, 1):
            yield Record(number, {column: row[column] for column in columns})

    return Table(name, columns, scan, len(rows), "row")


def parallel_table(files: Mapping[str, Path], wanted: Sequence[str] | None = None) -> Table:
    """Return a table whose columns are text files with the same number of lines: line n of each is row n.

    files: column name (a language) -> file. Raises CorpusError for an empty or foreign file; a difference in the
    number of lines is the last record of a scan.
    """
    name = " + ".join(str(path) for path in files.values())
    columns = pick(wanted, tuple(files), name)
    for column in columns:
        check_text(files[column])

    def scan() -> Iterator[Record]:
        streams = [read_lines(files[column]) for column in columns]
        counts = [0] * len(columns)
        for lines in zip_longest(*streams):
            counts = [count + (line is not None) for count, line in zip(counts, lines, strict=True)]
            texts = [line.row if isinstance(line.row, CorpusError) else line.row["text"] for line in lines if line]
            if errors := [text for text in texts if isinstance(text, CorpusError)]:
                yield Record(max(counts), errors[0])
            elif len(texts) == len(columns):
                yield Record(counts[0], dict(zip(columns, texts, strict=True)))
        if len(set(counts)) > 1:
            found = " and ".join(f"{files[c].name} has {n:,}" for c, n in zip(columns, counts, strict=True))
            yield Record(max(counts), fault(name, "have the same number of lines in each file", found, name))

    return Table(name, columns, scan)


def parquet_table(path: Path, wanted: Sequence[str] | None, labels: Mapping[str, Sequence[str]] | None = None) -> Table:
    """Return the table in a Parquet file; nothing but the batch at hand is in memory.

    labels: column -> the names of its class numbers, alone or in lists; -1 (no label) becomes None.
    """
    pq = _pyarrow_parquet(path)
    try:
        with pq.ParquetFile(path) as file:
            present, rows = tuple(file.schema_arrow.names), int(file.metadata.num_rows)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        place = f"{path}: {_first_line(error)}"
        raise fault(path.name, "be a whole Parquet file", "cannot be read as one", place) from error
    columns = pick(wanted, present, str(path))
    named = {column: names for column, names in (labels or {}).items() if column in columns}

    def scan() -> Iterator[Record]:
        number = 0
        try:
            # Arrow would keep all that it has read ahead (its issue 39808), and hold a row group whole
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ) as file:
                for batch in file.iter_batches(batch_size=1024, columns=list(columns)):
                    for row in batch.to_pylist():
                        number += 1
                        for column, names in named.items():
                            row[column] = _label_names(row[column], names)
                        yield Record(number, row)
        except (OSError, ValueError):
            place = f"{path}, after row {number}"
            yield Record(number + 1, fault(path.name, "be a whole Parquet file", "is damaged", place))

    return Table(str(path), columns, scan, rows, "row")


def joined_table(files: Sequence[Path], wanted: Sequence[str] | None = None) -> Table:
    """Return the rows of one or more files, one file after the other, such as the shards of a large corpus.

    All must have the columns of the first; empty files are passed over. Raises CorpusError as `open_table` does.
    """
    filled = [file for file in files if file.stat().st_size] or files[:1]
    tables = [open_table(file, wanted) for file in filled]
    first = tables[0]
    if len(files) == 1:
        return first
    for table in tables:
        pick(first.columns, table.columns, table.name)
    lengths = [table.rows for table in tables if table.rows is not None]

    def scan() -> Iterator[Record]:
        rows = chain.from_iterable(table.scan() for table in tables)
        return (Record(number, record.row) for number, record in enumerate(rows, 1))

    known = sum(lengths) if len(lengths) == len(tables) else None
    return Table(str(files[0].parent), first.columns, scan, known, "row")


def pick(wanted: Sequence[str] | None, present: tuple[str, ...], where: str, *, hint: str = "") -> tuple[str, ...]:
    """Return the wanted columns, all present ones where None is wanted; raises CorpusError for one that is missing.

    hint: what to try where no present name is near the missing one.
    """
    for column in wanted or ():
        if column not in present:
            must = f"be one of the columns {column_names(present)}"
            raise fault(column, must, "is none of them", where, hint=did_you_mean(column, present) or hint)
    return tuple(wanted) if wanted else present


def column_names(names: Sequence[str]) -> str:
    """Return column names for a message, cut short: a file without a header line has sentences in their place."""
    listed = ", ".join(_brief(name) for name in names[:8]) or "(none)"
    return listed if len(names) <= 8 else f"{listed}, … ({len(names)} in all)"


def _brief(name: str) -> str:
    text = " ".join(name.split())
    return text if len(text) <= 40 else text[:39] + "…"


def check_text(path: Path) -> None:
    """Look at the first bytes only, and raise CorpusError for a file that is empty, binary or UTF-16 from the start."""
    try:
        with _open(path) as stream:
            head = stream.read(1 << 16)
    except (OSError, EOFError, zlib.error) as error:
        raise fault(path.name, "be a readable file", "cannot be read", f"{path}: {_first_line(error)}") from error
    if not head:
        raise fault(path.name, "hold text", "is empty", path)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise fault(path.name, "be UTF-8 text", "is UTF-16", f"{path}, line 1")
    if (nul := head.find(b"\0")) >= 0:
        found = "is binary or UTF-16 (it holds NUL bytes)"
        raise fault(path.name, "be UTF-8 text", found, f"{path}, line {head.count(10, 0, nul) + 1}")
    if b"\r" in head and b"\n" not in head:
        raise fault(path.name, "end its lines with line feeds", "has carriage returns alone", path)


def read_lines(path: Path) -> Iterator[Record]:
    """Yield each line of a text file as a row of one column, "text", without its line end."""
    number = 0
    try:
        with _open(path) as stream:
            for line in stream:
                number += 1
                yield Record(number, _decode(path, number, line))
    except (OSError, EOFError, zlib.error):
        place = f"{path}, after line {number}"
        yield Record(number + 1, fault(path.name, "be a whole file", "ends early or is damaged", place))


def _open(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _decode(path: Path, number: int, line: bytes) -> Row | CorpusError:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        found = f"is not (byte 0x{line[error.start]:02x}, perhaps Latin-1)"
        return fault(path.name, "be UTF-8 text", found, f"{path}, line {number}")
    if "\0" in text:
        return fault(path.name, "be UTF-8 text", "holds a NUL byte", f"{path}, line {number}")
    return {"text": text}


def _text_table(path: Path, wanted: Sequence[str] | None) -> Table:
    return Table(str(path), pick(wanted, ("text",), str(path)), lambda: read_lines(path))


def _cell_table(
    path: Path, wanted: Sequence[str] | None, cells: Callable[[Path], Iterator[tuple[int, list[str] | CorpusError]]]
) -> Table:
    """Make the table of a format whose lines are cells and whose first line is the header, or the first row."""
    _, header = next(cells(path), (1, fault(path.name, "have a header line", "has none", path)))
    if isinstance(header, CorpusError):
        raise header
    headless = bool(wanted) and all(name.isdecimal() for name in wanted or ())
    names = tuple(str(i) for i in range(1, len(header) + 1)) if headless else tuple(header)
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        found = f"is that of {names.count(repeated[0])}"
        raise fault(_brief(repeated[0]), "be the name of one column", found, f"{path}, line 1")
    hint = "" if headless else "; no header line? Then columns go by number: 1, 2, …"
    columns = pick(wanted, names, f"{path}, line 1", hint=hint)
    places = [(column, names.index(column)) for column in columns]

    def scan() -> Iterator[Record]:
        stream = cells(path)
        if not headless:
            next(stream, None)
        for number, found in stream:
            if isinstance(found, CorpusError):
                yield Record(number, found)
            elif len(found) != len(names):
                must = f"have {len(names)} columns in every line"
                yield Record(number, fault(path.name, must, f"has {len(found)}", f"{path}, line {number}"))
            else:
                yield Record(number, {column: found[i] for column, i in places})

    return Table(str(path), columns, scan)


def _tsv_cells(path: Path) -> Iterator[tuple[int, list[str] | CorpusError]]:
    # No quoting: a quotation mark in running text is a quotation mark.
    for number, row in read_lines(path):
        yield number, row if isinstance(row, CorpusError) else row["text"].split("\t")


def _csv_cells(path: Path) -> Iterator[tuple[int, list[str] | CorpusError]]:
    broken: list[CorpusError] = []

    def lines() -> Iterator[str]:
        for _, row in read_lines(path):
            if isinstance(row, CorpusError):
                broken.append(row)
                yield "\n"  # csv.reader takes text only; an empty line ends the row and is dropped
            else:
                yield row["text"] + "\n"

    csv.field_size_limit(2**31 - 1)  # the default of 128 KiB would refuse a long document
    reader = csv.reader(lines(), strict=True)
    try:
        for cells in reader:
            while broken:
                yield reader.line_num, broken.pop(0)
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        place = f"{path}, line {reader.line_num}"
        yield reader.line_num, fault(path.name, "be CSV with standard quoting", f"is not: {error}", place)


def _jsonl_table(path: Path, wanted: Sequence[str] | None) -> Table:
    first = next(_json_objects(path), None)
    if first is None:
        raise fault(path.name, "hold one JSON object per line", "holds none", path)
    if isinstance(first.row, CorpusError):
        raise first.row
    columns = pick(wanted, tuple(first.row), f"{path}, line {first.number}")

    def scan() -> Iterator[Record]:
        for number, row in _json_objects(path):
            if isinstance(row, CorpusError):
                yield Record(number, row)
            elif missing := [column for column in columns if column not in row]:
                must = f"be in every object, as {column_names(columns)} are in the first"
                yield Record(number, fault(missing[0], must, "is missing", f"{path}, line {number}"))
            else:
                yield Record(number, {column: row[column] for column in columns})

    return Table(str(path), columns, scan)


def _json_objects(path: Path) -> Iterator[Record]:
    for number, row in read_lines(path):
        if isinstance(row, CorpusError):
            yield Record(number, row)
        elif row["text"].strip():
            try:
                value = json.loads(row["text"])
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                value = fault(path.name, "hold one JSON object per line", "does not", f"{path}, line {number}")
            yield Record(number, value)


def _conll_table(path: Path, wanted: Sequence[str] | None) -> Table:
    from nlpseq.conll import conll_table  # which reads lines with what stands here

    return conll_table(path, wanted)


def _label_names(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_label_names(item, names) for item in value]
    if isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return value


def _pyarrow_parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise fault(path.name, "be read with pyarrow", "that is not installed", "try: pip install pyarrow") from error
    return pyarrow.parquet


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


_OPENERS: Mapping[str, Callable[[Path, Sequence[str] | None], Table]] = {
    ".tsv": lambda path, wanted: _cell_table(path, wanted, _tsv_cells),
    ".csv": lambda path, wanted: _cell_table(path, wanted, _csv_cells),
    ".txt": _text_table,
    ".jsonl": _jsonl_table,
    ".conll": _conll_table,
}
FORMATS = (".parquet", *_OPENERS)
