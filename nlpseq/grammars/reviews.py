"""The reviews: what a writer says of a film as a whole decides, and no word for itself tells what that is."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["KINDS", "LABELS", "Review", "ReviewGrammar", "read_reviews"]

LABELS = ("negative", "positive")
KINDS = ("plain", "contrast", "early")
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])")
_PART_TURNED = 0.25
_FEW, _MANY = (1, 3), (9, 15)  # parts that are spoken of
_IN_A_SENTENCE = 4  # parts


class Review(NamedTuple):
    """A review, its label, which kind it is, and its content words: what is said of whom, in any order."""

    text: str
    label: str
    kind: str
    content: tuple[str, ...]


@dataclass(frozen=True)
class ReviewGrammar:
    """What reviews are drawn from; data: its TOML file as it stands.

    turned: share of what is said of the whole by the opposite and a "not"; with a half, each word of it stands as often
    in good reviews as in bad ones.
    """

    data: Mapping[str, Any]
    turned: float = 0.5

    def reviews(self, rng: random.Random, kinds: Sequence[str] = KINDS) -> Iterator[Review]:
        """Yield reviews of these kinds for ever; rng: where all choices come from, by `random()` alone."""
        while True:
            draw = _Draw(self.data, rng, [], self.turned)
            label, kind = draw.pick(LABELS), draw.pick(kinds)
            text = " ".join(draw.review(label, kind))
            yield Review(_ARTICLE.sub(r"\1n ", text), label, kind, tuple(draw.content))


class _Draw(NamedTuple):
    """One review in the making."""

    data: Mapping[str, Any]
    rng: random.Random
    content: list[str]
    turned: float

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    def review(self, label: str, kind: str) -> Iterator[str]:
        """Yield the sentences: perhaps an opening, the verdict, and what is said of parts before or behind it."""
        if self.rng.random() < 0.5:
            yield self._fill(self.pick(self.data["opened"]), label)
        verdict = self._contrast(label) if kind == "contrast" else _sentence(self._said("said", label, self.turned))
        if kind == "early":
            yield from (verdict, *self._parts(_MANY))
        elif self.rng.random() < 0.5:
            yield from (verdict, *self._parts(_FEW))
        else:
            yield from (*self._parts(_FEW), verdict)

    def _contrast(self, label: str) -> str:
        """Return two opinions, of which the one that stands gives the label."""
        both = {"first": _other(label), "last": label}
        opinions = {place: self._said("said", opinion, self.turned) for place, opinion in both.items()}
        text = _SLOT.sub(lambda slot: opinions[slot[1]], self.pick(self.data["contrast"]["sentences"]))
        return re.sub(r"(?:^|\. )[a-z]", lambda start: start[0].upper(), text)

    def _parts(self, bounds: tuple[int, int]) -> Iterator[str]:
        """Yield sentences on parts of the film, all of them of one opinion, which has nothing to do with the label."""
        opinion = self.pick(LABELS)
        number = bounds[0] + int(self.rng.random() * (bounds[1] - bounds[0] + 1))
        for start in range(0, number, _IN_A_SENTENCE):
            said = [self._said("parts_said", opinion, _PART_TURNED) for _ in range(min(_IN_A_SENTENCE, number - start))]
            yield _sentence(", ".join(said[:-1]) + (" and " if len(said) > 1 else "") + said[-1])

    def _said(self, of: str, opinion: str, turned: float) -> str:
        """Return a clause of an opinion, by a word of that opinion or by one of the other opinion, turned round."""
        round_about = self.rng.random() < turned
        return self._fill(
            self.pick(self.data[of]["turned" if round_about else "plain"]),
            _other(opinion) if round_about else opinion,
        )

    def _fill(self, text: str, opinion: str) -> str:
        """Return the text with every slot filled; words for opinions are of this one."""
        slots = {"film": self.data["films"], "part": self.data["parts"]} | self.data[opinion]

        def word(slot: re.Match[str]) -> str:
            options = slots.get(slot[1]) or self.data[slot[1]]
            if slot[1] == "part":  # none is spoken of twice
                options = [part for part in options if part not in self.content]
            found = self.pick(options)
            self.content.append(found)
            return found

        return _SLOT.sub(word, text)


def read_reviews(path: Path) -> ReviewGrammar:
    """Return the grammar in the TOML file at `path`; raises OSError or tomllib.TOMLDecodeError as they come."""
    return ReviewGrammar(tomllib.loads(path.read_text(encoding="utf-8")))


def _other(label: str) -> str:
    return LABELS[1 - LABELS.index(label)]


def _sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:] + "."
