"""The newswire: English sentences in which any name may be that of a person, a place or an organisation.

What stands around a name decides: Jordan says she will resign, Jordan lies north of Lincoln, Jordan beats Lincoln 3-1.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Newswire", "Report", "read_newswire"]

_SLOT = re.compile(r"\{(\w+)\}")
_NAME = re.compile(r"[#@]")
_FUNCTION_WORDS = re.compile(
    r"[.,&]|an?|and|after|as|at|before|between|by|for|from|had|has|he|her|his|in|is|it|its|near|not|of|on|she|that|the|to"
    r"|was|went|when|which|who|with|would",
    re.IGNORECASE,
)


class Report(NamedTuple):
    """A sentence: its tokens, their tags (IOB2), and the words that count when two sentences are compared."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    content: tuple[str, ...]


@dataclass(frozen=True)
class Newswire:
    """What is drawn from the lexicon; data: its TOML file as it stands."""

    data: Mapping[str, Any]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every name that may be shared by people, places and organisations, the known ones first."""
        parts = self.data["names"]
        made = (begin + end for begin in parts["beginnings"] for end in parts["endings"])
        return tuple(dict.fromkeys([*parts["known"], *made]))

    def reports(self, rng: random.Random, names: Sequence[str]) -> Iterator[Report]:
        """Yield sentences for ever; rng: where all choices come from; names: those that may stand in them."""
        templates = self.data["sentences"]["all"]
        while True:
            yield self._report(rng, _pick(rng, templates), names)

    def _report(self, rng: random.Random, template: str, names: Sequence[str]) -> Report:
        tokens: list[str] = []
        tags: list[str] = []
        for piece in template.split():
            slot = _SLOT.fullmatch(piece)
            if slot is None:
                words, kind = [piece], ""
            elif slot[1] in self.data["forms"] or slot[1] == "NAME":
                form = "#" if slot[1] == "NAME" else _pick(rng, self.data["forms"][slot[1]])
                words, kind = self._name(rng, form, names), "PER" if slot[1] == "NAME" else slot[1]
            else:
                words, kind = _pick(rng, self.data["slots"][slot[1]]).split(), ""
            tokens += words
            tags += [f"{'I' if place else 'B'}-{kind}" if kind else "O" for place in range(len(words))]
        tokens = [tokens[0][0].upper() + tokens[0][1:], *tokens[1:], "."]
        content = tuple(word.lower() for word in tokens if not _FUNCTION_WORDS.fullmatch(word))
        return Report(tuple(tokens), (*tags, "O"), content)

    def _name(self, rng: random.Random, form: str, names: Sequence[str]) -> list[str]:
        """Return a name in a form: # is one of the names, @ a first name."""
        pools = {"#": names, "@": self.data["names"]["first"]}
        return _NAME.sub(lambda sign: str(_pick(rng, pools[sign[0]])), form).split()


def read_newswire(path: Path) -> Newswire:
    """Return the newswire in the TOML file at `path`; raises OSError or tomllib.TOMLDecodeError as they come."""
    return Newswire(tomllib.loads(path.read_text(encoding="utf-8")))


def _pick(rng: random.Random, options: Sequence[Any]) -> Any:
    return options[int(rng.random() * len(options))]
