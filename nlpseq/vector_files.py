"""Word vectors as files: word2vec's text and binary formats and GloVe's text are read, these and tables are written.

Which of them a file is, and whether it is gzipped, its bytes say and not its name. A row of text is a word, a space and
the numbers; word2vec's begins with a line that says how many words and numbers there are, GloVe's does not. A row
of the binary format is the word, a space and float32 numbers, with or without a line feed before the word.

A word may hold spaces in text that is read (some of GloVe's do), as long as what follows its first space is not itself
a number: that row has a number too many. The binary format cannot hold such a word, nor can gensim read it
from text, so it is written with underscores, as the field writes phrases.

A byte order mark at the beginning of a file is no part of the first word.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nlpseq.errors import UsageError, WorkError, sentence
from nlpseq.readers import fault

__all__ = ["Format", "WordVectors", "check_target", "read_vectors", "write_vectors"]

Format = Literal["word2vec", "word2vec-binary", "glove", "tsv"]
Matrix = npt.NDArray[np.float32]

_BLOCK = 1 << 22  # bytes read at a time
_ROWS = 4096  # rows written at a time
_WIDEST = 65536  # numbers of a word; a header that says more is damaged, and would ask for any amount of memory
_GUESSED = 100  # rows from which the number of numbers is told where there is no header
_HEADER = re.compile(rb"[ \t]*(\d{1,18})[ \t]+(\d{1,18})[ \t\r]*")
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf|infinity)")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_FOREIGN: Mapping[bytes, str] = MappingProxyType(
    {
        b"\x80": "is a pickle, which could run code (save it from gensim with save_word2vec_format)",
        b"PK\x03\x04": "is a zip archive (unpack it)",
        b"PAR1": "is a Parquet file",
        b"BZh": "is packed by bzip2 (unpack it)",
        b"\xfd7zXZ": "is packed by xz (unpack it)",
        b"\xba\x16\x4f\x2f": "is a fastText model (take the .vec file beside it)",
    }
)


class WordVectors(NamedTuple):
    """What a file holds: distinct words, their vectors (V, E) float32, and how many rows repeated an earlier word."""

    words: list[str]
    vectors: Matrix
    repeated: int
    format: Format


class _Layout(NamedTuple):
    """How a file is to be read: words by the header (None without one), numbers of a word, where the rows begin."""

    format: Format
    words: int | None
    size: int
    start: int


def read_vectors(path: str | Path) -> WordVectors:
    """Return the vectors in a word2vec text or binary file or a GloVe file, gzipped or not.

    Of a word that stands there twice the first vector counts, as in gensim, and the others are counted in `repeated`.
    Memory beyond the result is some tens of megabytes, and a second copy where words repeat.
    Raises CorpusError, with the line or row, for a file that is empty, cut short, ragged, not UTF-8, not what its
    header says, or has a number that is not finite.
    """
    path = Path(path)
    try:
        with _open(path) as stream:
            head = stream.read(_BLOCK).removeprefix(codecs.BOM_UTF8)
            layout = _layout(path, head)
            read = _binary if layout.format == "word2vec-binary" else _text
            names, numbers = read(path, stream, head[layout.start :], layout)
    except (OSError, EOFError, zlib.error) as error:
        found = "is a folder" if path.is_dir() else f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise fault(path.name, "be a whole file of word vectors", found, path) from None
    if layout.words is not None and len(names) != layout.words:
        raise fault(path.name, f"hold {layout.words:,} words, as its header says", f"holds {len(names):,}", path)
    vectors = np.frombuffer(numbers, np.float32).reshape(-1, layout.size)
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places.setdefault(name, place)
    repeated = len(names) - len(places)
    return WordVectors(list(places), vectors[list(places.values())] if repeated else vectors, repeated, layout.format)


def _open(path: Path) -> BufferedIOBase:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")


def _layout(path: Path, head: bytes) -> _Layout:
    """Tell the format from the first block of a file."""
    must = "hold word2vec or GloVe vectors"
    if not head.strip():
        raise fault(path.name, must, "is empty", path)
    for start, found in _FOREIGN.items():
        if head.startswith(start):
            raise fault(path.name, must, found, path)
    line, _, body = head.partition(b"\n")
    if header := _HEADER.fullmatch(line):
        words, size = int(header[1]), int(header[2])
        if not words or not 1 <= size <= _WIDEST:
            must = f"say in its header how many words and numbers (1 to {_WIDEST:,}) there are"
            raise fault(path.name, must, f'says "{line.decode().strip()}"', f"{path}, line 1")
        text = _is_row(body.partition(b"\n")[0], size) or not _is_binary(body)
        return _Layout("word2vec" if text else "word2vec-binary", words, size, len(line) + 1)
    if len(head) == _BLOCK:
        head = head[: head.rfind(b"\n") + 1] or head
    rows = [row for row in head.split(b"\n", _GUESSED)[:_GUESSED] if row.strip()]
    if all(b"\t" in row and b" " not in row and _NUMBER.fullmatch(row.partition(b"\t")[0]) for row in rows):
        raise fault(path.name, must, "has numbers alone (a projector's words stand in its metadata.tsv)", path)
    sizes = Counter(len(row.split()) - (row[:1] != b" ") for row in rows)  # before a space stands the empty word
    most = max(sizes.values())
    size = min(size for size, rows in sizes.items() if rows == most)  # spaces in words only ever make a row longer
    if not 1 <= size <= _WIDEST:
        raise fault(path.name, must, "has lines without numbers", f"{path}, line 1")
    return _Layout("glove", None, size, 0)


def _is_row(line: bytes, size: int) -> bool:
    fields = line.rsplit(None, size)
    return len(fields) == size + 1 and all(map(_NUMBER.fullmatch, fields[1:]))


def _is_binary(body: bytes) -> bool:
    """Return whether the first rows are no text: the bytes of float32 numbers are full of control characters."""
    sample = body[:4096]
    if _CONTROL.search(sample):
        return True
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.start < len(sample) - 3  # nearer to the end a character may just be cut
    return False


def _blocks(stream: BufferedIOBase, first: bytes) -> Iterator[bytes]:
    """Yield what was read and what follows it, and at the end an empty block."""
    yield first
    while block := stream.read(_BLOCK):
        yield block
    yield b""


def _binary(path: Path, stream: BufferedIOBase, first: bytes, layout: _Layout) -> tuple[list[str], bytearray]:
    wanted, width = layout.words or 0, 4 * layout.size
    names: list[str] = []
    numbers = bytearray()
    left = b""
    for block in _blocks(stream, first):
        left += block
        place = 0
        tokens: list[bytes] = []
        rows: list[bytes] = []
        while len(names) + len(tokens) < wanted:
            space = left.find(b" ", place)
            end = space + 1 + width
            if space < 0 or end > len(left):
                break
            tokens.append(left[place:space].lstrip(b"\n"))
            rows.append(left[space + 1 : end])
            place = end
        left = left[place:]
        values = np.frombuffer(b"".join(rows), np.float32).reshape(-1, layout.size)
        names += _binary_words(path, tokens, values, len(names))
        numbers += values.tobytes()
        if len(left) > _BLOCK + 2 * width:  # no space for so long, or more than the header says
            break
    if len(names) < wanted and left.strip(b"\n"):
        must = f"be whole, with {wanted:,} words of {layout.size:,} numbers, as its header says"
        raise fault(path.name, must, f"ends inside row {len(names) + 1:,}", path)
    if left.strip():
        raise fault(path.name, f"hold {wanted:,} words, as its header says", "holds more", path)
    return names, numbers


def _binary_words(path: Path, tokens: Sequence[bytes], values: Matrix, before: int) -> list[str]:
    """Return the words of some rows; a row that is not one shows that the rows are not where the header has them."""
    finite = np.asarray(np.isfinite(values).all(axis=1))
    for row, token in enumerate(tokens):
        found = "has a number that is not finite" if not finite[row] else ""
        if _CONTROL.search(token) or b"\n" in token:
            found = "does not (another size in the header, or a word with a space?)"
        if found:
            must = f"hold a word and {values.shape[1]:,} finite numbers in each row"
            raise fault(path.name, must, found, f"{path}, row {before + row + 1:,}")
    return _decoded(path, tokens, lambda row: f"row {before + row + 1:,}")


def _decoded(path: Path, tokens: Sequence[bytes], place: Callable[[int], str]) -> list[str]:
    """Return tokens, none of which holds a line feed, as text; place: what to call a row in messages."""
    joined = b"\n".join(tokens)
    try:
        if b"\0" not in joined:
            return joined.decode().split("\n") if tokens else []
        row, found = joined.count(b"\n", 0, joined.index(b"\0")), "holds a NUL byte"
    except UnicodeDecodeError as error:
        row, found = joined.count(b"\n", 0, error.start), f"is not (byte 0x{joined[error.start]:02x})"
    raise fault(path.name, "be UTF-8 text", found, f"{path}, {place(row)}")


def _text(path: Path, stream: BufferedIOBase, first: bytes, layout: _Layout) -> tuple[list[str], bytearray]:
    names: list[str] = []
    numbers = bytearray()
    done = 1 if layout.start else 0  # lines
    left = b""
    for block in _blocks(stream, first):
        lines = (left + block).split(b"\n")
        left = lines.pop() if block else b""
        if len(left) > 4 * _BLOCK:
            raise fault(path.name, "hold one word in each line", "has an endless line", f"{path}, line {done + 1:,}")
        tokens, values = _text_rows(path, lines, layout.size, done)
        names += tokens
        numbers += values.tobytes()
        done += len(lines)
        if layout.words is not None and len(names) > layout.words:
            raise fault(path.name, f"hold {layout.words:,} words, as its header says", "holds more", path)
    return names, numbers


def _text_rows(path: Path, lines: Sequence[bytes], size: int, done: int) -> tuple[list[str], Matrix]:
    """Return the words and numbers of some lines, of which empty ones do not count; done: lines before these."""
    rows = [(number, row) for number, line in enumerate(lines, done + 1) if (row := line.rstrip())]
    parts = [(token, rest) for token, _, rest in (row.partition(b" ") for _, row in rows)]
    values = None
    if all(rest.count(b" ") == size - 1 for _, rest in parts):
        values = _parsed(parts, size)
    if values is None:  # a word with spaces, tabs for spaces, or a fault
        parts = [_parted(path, number, row, size) for number, row in rows]
        values = _parsed(parts, size)
    if values is None:
        _refuse_numbers(path, rows, parts)
        raise fault(path.name, f"hold a word and {size:,} numbers in each line", "does not", path)
    finite = np.asarray(np.isfinite(values).all(axis=1))
    if not finite.all():
        place = f"{path}, line {rows[int(finite.argmin())][0]:,}"
        raise fault(path.name, "hold finite numbers", "has one that is not finite", place)
    return _decoded(path, [token for token, _ in parts], lambda row: f"line {rows[row][0]:,}"), values


def _parsed(parts: Sequence[tuple[bytes, bytes]], size: int) -> Matrix | None:
    """Return the numbers of rows that have at most `size` of them each, None where one has fewer or something else."""
    joined = b" ".join(rest for _, rest in parts)
    if any(space in joined for space in (b"\t", b"\r", b"\v", b"\f")):  # which could part more than `size` numbers
        return None
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            values = np.fromstring(joined, np.float32, sep=" ") if joined else np.zeros(0, np.float32)
    except ValueError:
        return None
    return values.reshape(-1, size) if len(values) == size * len(parts) else None


def _parted(path: Path, number: int, row: bytes, size: int) -> tuple[bytes, bytes]:
    """Return word and numbers of a row, between whatever white space; the last `size` fields are the numbers."""
    fields = row.rsplit(None, size)
    if len(fields) == size and row[:1] == b" ":
        fields.insert(0, b"")  # the empty word
    _, space, last = fields[0].rpartition(b" ")
    more = bool(space and _NUMBER.fullmatch(last))
    if len(fields) <= size or more:
        found = f"has more than {size:,}" if more else f"has {len(fields) - 1:,}"
        raise fault(path.name, f"hold a word and {size:,} numbers in each line", found, f"{path}, line {number:,}")
    return fields[0], b" ".join(fields[1:])


def _refuse_numbers(path: Path, rows: Sequence[tuple[int, bytes]], parts: Sequence[tuple[bytes, bytes]]) -> None:
    for (number, _), (_, rest) in zip(rows, parts, strict=True):
        for field in rest.split():
            if not _NUMBER.fullmatch(field):
                shown = field[:40].decode(errors="replace")
                raise fault(path.name, "hold numbers behind each word", f'has "{shown}"', f"{path}, line {number:,}")


def write_vectors(
    path: str | Path,
    words: Sequence[str],
    vectors: Matrix,
    *,
    format: Format,
    counts: Sequence[int] | None = None,
    replace: bool = False,
) -> int:
    """Write vectors, and return how many words had spaces that became underscores (see the module's docstring).

    path: the file, gzipped where its name ends in .gz; for "tsv" the folder that gets vectors.tsv and metadata.tsv for
    the embedding projector. words, vectors: V words and (V, E) float32; numbers are written so that they come back bit
    for bit. counts: (V,), a second column of metadata.tsv. Nothing is there until all is written. Raises UsageError
    for what is there already, unless `replace`, and for words that the format cannot hold, WorkError for a full disk.
    """
    names = list(words) if format == "tsv" else [word.replace(" ", "_") for word in words]
    _check_words(names, words, format)
    with _written(check_target(path, format=format, replace=replace)) as files:
        if format == "tsv":
            files[0].writelines(_lines(vectors, "\t"))
            files[1].writelines(_metadata(names, counts))
            return 0
        if format != "glove":
            files[0].write(f"{len(names)} {vectors.shape[1]}\n".encode())
        rows = (row.tobytes() for row in vectors) if format == "word2vec-binary" else _lines(vectors, " ")
        for name, row in zip(names, rows, strict=True):
            files[0].write(name.encode() + b" " + row)
    return sum(name != word for name, word in zip(names, words, strict=True))


def check_target(path: str | Path, *, format: Format, replace: bool) -> list[Path]:
    """Return the files that `write_vectors` would write; raises UsageError for one that is there, unless `replace`."""
    path = Path(path)
    if format == "tsv" and path.exists() and not path.is_dir():
        raise UsageError(sentence("out", "be a folder for tsv", "none", str(path), quote=False))
    targets = [path / "vectors.tsv", path / "metadata.tsv"] if format == "tsv" else [path]
    for target in targets:
        if target.exists() and not (replace and target.is_file()):
            found = "there already (--replace overwrites it)" if target.is_file() else "a folder or a device"
            raise UsageError(sentence("out", "be a new file", found, str(target), quote=False))
    return targets


def _check_words(names: Sequence[str], words: Sequence[str], format: Format) -> None:
    """Raise UsageError for a word that would not come back as it is."""
    breaking = re.compile(r"[\0\n\t\ud800-\udfff]" if format == "tsv" else r"[\0\n\ud800-\udfff]")
    for name in names:
        if breaking.search(name):
            raise UsageError(sentence("words", f"be such as {format} can hold", repr(name), quote=False))
    if format == "glove" and names[0].startswith("\ufeff"):
        raise UsageError(sentence("words", "not begin with a byte order mark", repr(names[0]), quote=False))
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        alike = " and ".join(f'"{word}"' for name, word in zip(names, words, strict=True) if name == twice)
        raise UsageError(sentence("words", "differ in more than spaces and underscores", alike, quote=False))


def _metadata(names: Sequence[str], counts: Sequence[int] | None) -> Iterator[bytes]:
    """Yield the lines that the projector reads: a header only where there are two columns."""
    if counts is None:
        return (f"{name}\n".encode() for name in names)
    return chain([b"word\tcount\n"], (f"{n}\t{count}\n".encode() for n, count in zip(names, counts, strict=True)))


def _lines(vectors: Matrix, separator: str) -> Iterator[bytes]:
    """Yield the rows as text, with as few digits as float32 needs; pyarrow does that ten times faster than Python."""
    import pyarrow as pa
    from pyarrow import csv

    options = csv.WriteOptions(include_header=False, delimiter=separator)
    for start in range(0, len(vectors), _ROWS):
        block = np.ascontiguousarray(vectors[start : start + _ROWS].T)
        sink = pa.BufferOutputStream()
        csv.write_csv(pa.table(list(block), names=list(map(str, range(len(block))))), sink, options)
        yield from sink.getvalue().to_pybytes().splitlines(keepends=True)


@contextmanager
def _written(targets: Sequence[Path]) -> Iterator[Sequence[BufferedIOBase]]:
    """Open files under temporary names, which take their places only when all are whole and on the disk."""
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in targets]
    try:
        targets[0].parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            files = [stack.enter_context(open(part, "wb")) for part in parts]
            packed = [
                stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0)) if path.suffix == ".gz" else file
                for file, path in zip(files, targets, strict=True)
            ]
            yield packed
            for file, pack in zip(files, packed, strict=True):
                if pack is not file:
                    pack.close()
                file.flush()
                os.fsync(file.fileno())
        for part, path in zip(parts, targets, strict=True):
            os.replace(part, path)
    except OSError as error:
        found = error.strerror or str(error)
        raise WorkError(sentence(str(targets[0]), "be written whole", found, quote=False)) from None
    finally:
        for part in parts:
            with suppress(OSError):
                part.unlink()
