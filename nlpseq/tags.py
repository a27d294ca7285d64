"""Tags that mark entities, one for each token: IOB1, IOB2 and IOBES, what each allows, and what it marks.

======  ==========================================================================================
iob1    I-X inside an entity, B-X only where another of the same type has just ended; O outside
iob2    B-X begins every entity
iobes   E-X also ends it, S-X is one of a single token
======  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

__all__ = [
    "OUTSIDE",
    "Scheme",
    "Span",
    "detect",
    "follows",
    "illegal_places",
    "iobes_tags",
    "is_tag",
    "spans",
    "strict_spans",
    "to_tags",
    "type_of",
]

Scheme = Literal["iob1", "iob2", "iobes"]
OUTSIDE = "O"
_CLOSED = "OES"  # prefixes behind which no entity is open


class Span(NamedTuple):
    """An entity: its tokens are `start` to before `end`."""

    type: str
    start: int
    end: int


def is_tag(tag: object) -> bool:
    """Return whether this is `O`, or one of the prefixes B, I, E and S with a type behind a hyphen."""
    return isinstance(tag, str) and (tag == OUTSIDE or (len(tag) > 2 and tag[0] in "BIES" and tag[1] == "-"))


def type_of(tag: str) -> str:
    """Return the type of a tag, which may hold hyphens; empty for `O`."""
    return tag[2:]


def detect(sequences: Iterable[Sequence[str]]) -> Scheme:
    """Return the scheme that sequences of tags are written in: the one by which the fewest places are not legal.

    Of equal ones IOB2 is first, then IOB1.
    """
    schemes: tuple[Scheme, ...] = ("iob2", "iob1", "iobes")
    wrong = dict.fromkeys(schemes, 0)
    for tags in sequences:
        for scheme in schemes:
            wrong[scheme] += len(illegal_places(tags, scheme))
    return min(schemes, key=lambda scheme: wrong[scheme])


def follows(before: str, tag: str, scheme: Scheme) -> bool:
    """Return whether a tag may stand behind another; the start and the end of a sentence are as `O`."""
    same = type_of(before) == type_of(tag)
    if scheme != "iobes" and tag[0] in "ES":
        return False
    if scheme == "iob1":
        return tag[0] != "B" or (same and before != OUTSIDE)
    if scheme == "iob2":
        return tag[0] != "I" or (same and before != OUTSIDE)
    return tag[0] in "OBS" if before[0] in _CLOSED else tag[0] in "IE" and same


def illegal_places(tags: Sequence[str], scheme: Scheme) -> list[int]:
    """Return where tags stand that cannot follow the one before; the number of tags where the sentence cannot end."""
    around = [OUTSIDE, *tags, OUTSIDE]
    return [place for place, (before, tag) in enumerate(pairwise(around)) if not follows(before, tag, scheme)]


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities that tags of any scheme mark, by the rules of conlleval (Tjong Kim Sang and Buchholz 2000).

    What is not legal is read as well: an I-X that follows nothing begins an entity.
    """
    found: list[Span] = []
    for place, (before, tag) in enumerate(pairwise([OUTSIDE, *tags])):
        if tag == OUTSIDE:
            continue
        begins = tag[0] in "BS" or before[0] in _CLOSED or type_of(before) != type_of(tag)
        start = place if begins else found.pop().start
        found.append(Span(type_of(tag), start, place + 1))
    return found


def strict_spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities that tags mark as strict IOB2, with S read as B and E as I: an I-X alone marks nothing."""
    found: list[Span] = []
    for place, tag in enumerate(tags):
        if tag[0] in "BS":
            found.append(Span(type_of(tag), place, place + 1))
        elif tag != OUTSIDE and found and found[-1].end == place and found[-1].type == type_of(tag):
            found.append(found.pop()._replace(end=place + 1))
    return found


def to_tags(entities: Iterable[Span], length: int, scheme: Scheme) -> list[str]:
    """Return the tags of a sentence of `length` tokens; entities: in order, none inside another."""
    tags = [OUTSIDE] * length
    before = Span("", -1, -1)
    for one in entities:
        adjoins = before.end == one.start and before.type == one.type
        tags[one.start : one.end] = [f"I-{one.type}"] * (one.end - one.start)
        if scheme != "iob1" or adjoins:
            tags[one.start] = f"B-{one.type}"
        if scheme == "iobes":
            tags[one.end - 1] = f"{'S' if one.end - one.start == 1 else 'E'}-{one.type}"
        before = one
    return tags


def iobes_tags(types: Iterable[str]) -> list[str]:
    """Return every tag of IOBES for types of entities, `O` first."""
    return [OUTSIDE, *(f"{prefix}-{kind}" for kind in sorted(set(types)) for prefix in "BIES")]
