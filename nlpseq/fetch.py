"""From a card's source to Parquet files that are verified: `fetch`.

A corpus is fetched into a temporary folder beside its place and renamed when every split has the rows and the content
hash of its card, so that a half-fetched corpus is never taken for a whole one.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from nlpseq.cards import Card, read_card
from nlpseq.errors import CorpusError
from nlpseq.library import library_splits
from nlpseq.readers import Row, Table, fault, open_table, parallel_table, parquet_table, read_lines

__all__ = ["cache_folder", "content_hash", "fetch"]


def cache_folder() -> Path:
    """Return the folder that `load_corpus` fetches to: ``$XDG_CACHE_HOME/nlpseq/corpora``, else below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nlpseq" / "corpora"


def fetch(name: str, directory: str | Path) -> Path:
    """Return the folder ``directory/name`` that holds a corpus as ``<split>.parquet``, fetched unless it is there.

    name: of a card; directory: is made where it is missing. Raises CorpusError where the source cannot be reached,
    or where rows or content hashes differ from the card; then nothing is left behind.
    """
    card = read_card(name)
    goal = Path(directory).expanduser() / name
    if goal.is_dir() and any(goal.iterdir()):
        return goal
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{name}.", dir=goal.parent) as scratch:
            folder = Path(scratch) / name
            folder.mkdir()
            _ingest(card, folder, Path(scratch))
            os.replace(folder, goal)
    except CorpusError:
        raise
    except Exception as error:  # datasets, urllib and pyarrow each have their own error trees
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        tried = f"no {name} in $NLPSEQ_CORPORA ({os.environ.get('NLPSEQ_CORPORA', 'not set')}) or {goal.parent}"
        found = f"is not: {tried}, and {_source_name(card)} gave: {reason}"
        advice = f"$NLPSEQ_CORPORA may name a folder that holds a copy, {name}/"
        raise fault(name, "be on this machine or within reach", found, advice) from error
    return goal


def content_hash(rows: Iterable[Row], columns: Iterable[str]) -> str:
    """Return the SHA-256 of the rows as JSON lines of the given columns, whatever file they came from."""
    digest = sha256()
    names = list(columns)
    for row in rows:
        digest.update(json.dumps([row[name] for name in names], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _ingest(card: Card, folder: Path, scratch: Path) -> None:
    if card.source.kind == "generated":
        from nlpseq.synthetic import generate

        splits: Mapping[str, Iterable[Row]] = generate(card.name, seed=card.source.seed)
    elif card.source.kind == "library":
        splits = library_splits()
    elif card.source.kind == "hub":
        splits = {split: _hub_rows(card, split) for split in card.splits}
    else:
        splits = _raw_splits(card, scratch)
    for split, rows in splits.items():
        _write_parquet(folder / f"{split}.parquet", rows)
    for split in card.splits:
        _verify(card, split, folder / f"{split}.parquet")
    for file, artefact in card.artefacts.items():
        _download(artefact.url, scratch / "artefact")
        if artefact.words is None:
            (scratch / "artefact").rename(folder / file)
        else:
            _word2vec_binary(scratch / "artefact", folder / file, artefact.words)
        _check(card, file, _file_hash(folder / file), artefact.sha256)


def _hub_rows(card: Card, split: str) -> Iterator[Row]:
    from datasets import load_dataset

    source = card.source
    revision = None if source.revision == "unverified" else source.revision
    # Streaming keeps the rows out of datasets' own cache: they are written once, here.
    stream = load_dataset(source.id, source.config, split=split, revision=revision, streaming=True)
    yield from islice(stream, source.limit)


def _raw_splits(card: Card, scratch: Path) -> dict[str, Iterable[Row]]:
    splits: dict[str, Iterable[Row]] = {}
    for split, files in card.source.files.items():
        local = {}
        for column, file in files.items():
            local[column] = scratch / f"{split}.{column}.{file.rsplit('/', 1)[-1]}"
            _download(card.source.url + file, local[column])
        splits.update(_FORMATS[card.source.format](card, split, local))
    return splits


def _download(address: str, path: Path) -> None:
    with urllib.request.urlopen(address, timeout=60) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file)


def _strict(table: Table) -> Iterator[Row]:
    for record in table.scan():
        if isinstance(record.row, CorpusError):
            raise record.row
        yield record.row


def _parallel(_card: Card, split: str, files: Mapping[str, Path]) -> dict[str, Iterable[Row]]:
    rows = _strict(parallel_table(files))
    return {split: ({column: text.strip() for column, text in row.items()} for row in rows)}


def _conll(card: Card, split: str, files: Mapping[str, Path]) -> dict[str, Iterable[Row]]:
    names = card.columns["tokens"], card.columns["tags"]
    path = files["conll"].rename(files["conll"].with_suffix(".conll"))
    rows = _strict(open_table(path, ("tokens", "tags")))
    return {split: ({names[0]: row["tokens"], names[1]: row["tags"]} for row in rows)}


def _whole(card: Card, _split: str, files: Mapping[str, Path]) -> dict[str, Iterable[Row]]:
    text = files["text"].read_bytes().decode()
    first, second = card.source.cut
    parts = {"train": text[:first], "validation": text[first:second], "test": text[second:]}
    return {split: [{"text": part}] for split, part in parts.items()}


def _analogies(_card: Card, split: str, files: Mapping[str, Path]) -> dict[str, Iterable[Row]]:
    def rows() -> Iterator[Row]:
        category = ""
        for line in _lines(files["text"]):
            if line.startswith(":"):
                category = line[1:].strip()
            else:
                yield {"category": category, **dict(zip("abcd", line.split(), strict=True))}

    return {split: rows()}


def _scores(_card: Card, split: str, files: Mapping[str, Path]) -> dict[str, Iterable[Row]]:
    def rows() -> Iterator[Row]:
        for line in _lines(files["text"]):
            word1, word2, score = line.split()
            yield {"word1": word1, "word2": word2, "score": float(score)}

    return {split: rows()}


def _lines(path: Path) -> Iterator[str]:
    for _, row in read_lines(path):
        if isinstance(row, CorpusError):
            raise row
        if row["text"].strip():
            yield row["text"]


def _word2vec_binary(source: Path, goal: Path, words: int) -> None:
    """Keep the first (most frequent) words of gzipped text vectors, as the binary format of word2vec, gzipped."""
    import numpy as np

    with gzip.open(source, "rt", encoding="utf-8", newline="\n") as lines, gzip.open(goal, "wb") as file:
        size = next(lines).split()[1]
        file.write(f"{words} {size}\n".encode())
        for line in islice(lines, words):
            word, _, numbers = line.partition(" ")
            file.write(word.encode() + b" " + np.array(numbers.split(), dtype="<f4").tobytes())


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = iter(rows)
    first = pa.Table.from_pylist(list(islice(stream, 10_000)))
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        while batch := list(islice(stream, 10_000)):
            writer.write_table(pa.Table.from_pylist(batch, schema=first.schema))


def _verify(card: Card, split: str, path: Path) -> None:
    facts = card.splits[split]
    table = parquet_table(path, None, card.labels)
    if table.rows != facts.rows:
        raise fault(f"{card.name} {split}", f"have {facts.rows:,} rows", f"has {table.rows or 0:,}", _source_name(card))
    if facts.sha256:
        columns = [column for column in sorted(card.columns.values()) if column in table.columns]
        _check(card, split, content_hash(_strict(table), columns), facts.sha256)


def _check(card: Card, part: str, found: str, expected: str | None) -> None:
    if expected and card.source.same_text and found != expected:
        must = f"have the content hash {expected[:16]} of its card"
        raise fault(f"{card.name} {part}", must, f"has {found[:16]}", f"{_source_name(card)} holds other text")


def _file_hash(path: Path) -> str:
    digest = sha256()
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _source_name(card: Card) -> str:
    source = card.source
    return f"{source.kind} source {source.id or source.url or 'nlpseq.synthetic'}"


_FORMATS: Mapping[str, Callable[[Card, str, Mapping[str, Path]], dict[str, Iterable[Row]]]] = {
    "parallel": _parallel,
    "conll": _conll,
    "whole": _whole,
    "analogies": _analogies,
    "scores": _scores,
}
