"""Whether lines look like Python: the share that `ast` and `tokenize` accept, each line alone."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Accepted", "accepted"]

# A line that opens or goes on with a block is given what must stand around it.
_FRAMES = ("{}", "{}\n pass", "if x:\n pass\n{}\n pass", "try:\n pass\n{}\n pass", "{}\ndef f(): pass")


class Accepted(NamedTuple):
    """How many lines were read, and how many of them `ast` and `tokenize` accept."""

    lines: int
    ast: int
    tokenize: int


def accepted(text: str) -> Accepted:
    """Return how many of a text's lines that are not blank are accepted, each without its indent and its neighbours.

    So lines inside a longer string, and those that go on with an open bracket, are judged as if they were not: real
    source stays below 100 %, which is why it is measured beside what a model writes.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a backslash that escapes nothing is no fault here
        return Accepted(len(lines), sum(map(_parses, lines)), sum(map(_tokenizes, lines)))


def _parses(line: str) -> bool:
    return any(_parsed(frame.format(line.replace("\f", ""))) for frame in _frames(line))


def _frames(line: str) -> Iterator[str]:
    plain = line.split("#", maxsplit=1)[0].rstrip()
    yield _FRAMES[0]
    if plain.endswith(":"):
        yield from _FRAMES[1:4]
    if line.startswith("@"):
        yield _FRAMES[4]


def _parsed(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _tokenizes(line: str) -> bool:
    try:
        found = list(tokenize.generate_tokens(io.StringIO(line + "\n").readline))
    except (tokenize.TokenError, SyntaxError):
        return False
    return all(token.type != tokenize.ERRORTOKEN for token in found)
