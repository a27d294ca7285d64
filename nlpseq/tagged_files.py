"""Tagged sentences written down: CoNLL columns, JSON lines with spans, Parquet with tokens and tags."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from nlpseq.errors import UsageError, WorkError, sentence
from nlpseq.tagger import Tagged
from nlpseq.tags import Scheme, spans, to_tags

__all__ = ["FORMATS", "check_file", "conll_lines", "json_line", "write_tagged"]

FORMATS = (".conll", ".jsonl", ".parquet")
_AT_ONCE = 1024  # sentences in a row group


def json_line(one: Tagged) -> str:
    """Return a text and its entities as a JSON object, which training reads as well."""
    entities = [entity._asdict() | {"confidence": round(entity.confidence, 6)} for entity in one.entities]
    return json.dumps({"text": one.text, "entities": entities}, ensure_ascii=False)


def conll_lines(one: Tagged, scheme: Scheme) -> list[str]:
    """Return a token and its tag for each line, and the empty one that ends a sentence.

    Raises WorkError for a token with a tab or a line break, which the format cannot hold.
    """
    if (broken := next((token for token in one.tokens if "\t" in token or "\n" in token), None)) is not None:
        raise WorkError(sentence("token", "be without tab and line break to stand in CoNLL columns", broken))
    return [f"{token}\t{tag}" for token, tag in zip(one.tokens, _tags(one, scheme), strict=True)] + [""]


def _tags(one: Tagged, scheme: Scheme) -> list[str]:
    return to_tags(spans(one.tags), len(one.tags), scheme)


def check_file(path: str | Path, *, replace: bool) -> None:
    """Raise UsageError for a file of another format, or one that is there and shall not be replaced."""
    if Path(path).suffix not in FORMATS:
        raise UsageError(sentence("out", f"end in one of {' '.join(FORMATS)}", str(path)))
    if Path(path).exists() and not replace:
        raise UsageError(sentence("out", "be a new file (--replace puts another in its place)", str(path)))


def write_tagged(path: str | Path, found: Iterable[Tagged], scheme: Scheme, *, replace: bool = False) -> int:
    """Write tagged sentences to a file, its format told by the suffix, and return how many there were.

    .conll: sentences without tokens are left out, as the format cannot hold them; .jsonl: spans in characters of the
    text; .parquet: the columns tokens and tags. Raises UsageError as `check_file` does, WorkError where the disk does
    not take it; what stood there before stays until the new file is whole.
    """
    check_file(path, replace=replace)
    part = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.part")
    try:
        number = _write_parquet(part, found, scheme) if Path(path).suffix == ".parquet" else 0
        if Path(path).suffix != ".parquet":
            as_json = Path(path).suffix == ".jsonl"
            with open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
                for one in found:
                    number += 1
                    lines = [json_line(one)] if as_json else conll_lines(one, scheme) if one.tokens else []
                    file.writelines(f"{line}\n" for line in lines)
        os.replace(part, path)
    except (OSError, UnicodeError) as error:  # half a surrogate pair, as JSON can name one, is no text
        reason = getattr(error, "strerror", None) or str(error)
        raise WorkError(sentence(str(path), "be written whole", reason, quote=False)) from None
    finally:
        part.unlink(missing_ok=True)
    return number


def _write_parquet(path: Path, found: Iterable[Tagged], scheme: Scheme) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.list_(pa.string())
    schema: Any = pa.schema([("tokens", texts), ("tags", texts)])
    number = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in _blocks(found):
            rows = [{"tokens": one.tokens, "tags": _tags(one, scheme)} for one in block]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            number += len(rows)
    return number


def _blocks(found: Iterable[Tagged]) -> Iterator[list[Tagged]]:
    stream = iter(found)
    while block := list(islice(stream, _AT_ONCE)):
        yield block
