"""CoNLL columns: a token a line, its tag in another column of it, a blank line behind each sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nlpseq.errors import CorpusError
from nlpseq.readers import Record, Table, fault, pick, read_lines

__all__ = ["conll_table"]


def conll_table(path: Path, wanted: Sequence[str] | None) -> Table:
    """Return the sentences in a file of CoNLL columns, as lists in the columns "tokens" (the first) and "tags" (last).

    wanted: of these, or column numbers, 1 for the first. Raises CorpusError for any other name or number; a scan yields
    one for each line that has fewer or more columns than the first one.
    """
    places = {"tokens": 0, "tags": -1} | {name: int(name) - 1 for name in wanted or () if name.isdecimal()}
    for name, place in places.items():
        if name.isdecimal() and place < 0:
            raise fault("column", "be a number, 1 for the first", f"is {name}", str(path))
    columns = pick(wanted or ("tokens", "tags"), tuple(places), str(path))

    def scan() -> Iterator[Record]:
        for number, cells in _sentences(path, max(2, *(places[c] + 1 for c in columns))):
            if isinstance(cells, CorpusError):
                yield Record(number, cells)
            else:
                yield Record(number, {c: [row[places[c]] for row in cells] for c in columns})

    return Table(str(path), columns, scan)


def _sentences(path: Path, least: int) -> Iterator[tuple[int, list[list[str]] | CorpusError]]:
    """Yield the line that each sentence begins in, and its cells by line; in its place what is wrong with a line."""
    held: list[list[str]] = []
    start = width = 0
    for number, row in read_lines(path):
        if isinstance(row, CorpusError):
            yield number, row
        elif cells := _cells(row["text"]):
            start, width = (start if held else number), width or len(cells)
            if len(cells) != width or width < least:
                must = f"have {max(width, least)} columns in every line"
                yield number, fault(path.name, must, f"has {len(cells)}", f"{path}, line {number}")
            else:
                held.append(cells)
        elif held:
            yield start, held
            held = []
    if held:
        yield start, held


def _cells(line: str) -> list[str]:
    if not line.strip() or line.startswith("-DOCSTART-"):  # CoNLL-2003's mark of a new document is no sentence
        return []
    return line.split("\t") if "\t" in line else line.split()
