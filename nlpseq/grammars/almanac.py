"""The almanac: short English documents on people, things, lands, deeds and qualities, and analogies between them.

Each document is on one word. What the entry is about (the palace, the crown) is the same for both words of a pair, and
what tells the two apart (he and she, this and these) is the same for all pairs of a category. So queen - king + man can
be learnt from the words around them alone: the two words of a pair never stand in one document.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, permutations
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Almanac", "read_almanac"]

_SLOT = re.compile(r"\{([\w:]+)\}")
_VERB = re.compile(r"\[(\w+):?(\w*)\]")
_WORD = re.compile(r"[^\W\d_]+")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])")


class _Form(NamedTuple):
    sentences: str  # their key in the file, as `person` is; many: whether verbs stand in the plural
    many: bool = False
    person: str = ""
    tenses: Sequence[str] = ("present", "past")


# Category -> what the documents on either word of a pair are made of. "people" are the plurals of "gender".
_FORMS = {
    "gender": (_Form("man", person="man"), _Form("man", person="woman")),
    "people": (_Form("men", many=True, person="men"), _Form("men", many=True, person="women")),
    "number": (_Form("one"), _Form("many", many=True)),
    "capital": (_Form("country"), _Form("capital")),
    "past": (_Form("present", many=True, tenses=("present",)), _Form("past", many=True, tenses=("past",))),
    "comparative": (_Form("plain"), _Form("more")),
}

Slots = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Almanac:
    """What is drawn and asked from the lexicon; data: its TOML file as it stands."""

    data: Mapping[str, Any]

    def documents(self, rng: random.Random) -> Iterator[str]:
        """Yield documents of three to six sentences for ever, none of them twice; rng: where all choices come from."""
        subjects = list(self._subjects())
        seen: set[str] = set()
        while True:
            sentences, slots = _pick(rng, subjects)
            text = " ".join(islice(self._draw(rng, sentences, slots), 3 + int(4 * rng.random())))
            if text not in seen:
                seen.add(text)
                yield text

    def analogies(self, *, held_out: bool) -> list[dict[str, str]]:
        """Return rows {"category", "a", "b", "c", "d"}, a to b as c to d, of all pairs that are held out or not."""
        rows = []
        for category, reserved in self.data["held_out"].items():
            asked = [pair for pair in self.pairs[category] if (pair[0] in reserved) == held_out]
            for (a, b), (c, d) in permutations(asked, 2):
                rows.append({"category": category, "a": a, "b": b, "c": c, "d": d})
        return rows

    @cached_property
    def pairs(self) -> dict[str, list[tuple[str, str]]]:
        """The pairs of each category, in the order of its entries."""
        found = {
            category: [(word, self._partner(category, word, entry)) for word, entry in entries.items()]
            for category, entries in self.data["entries"].items()
        }
        return found | {"people": [(self._plural(man), self._plural(woman)) for man, woman in found["gender"]]}

    @cached_property
    def partners(self) -> dict[str, set[str]]:
        """Each word of a pair in lower case, and the words that never stand in one document with it."""
        both = [pair for pairs in self.pairs.values() for pair in pairs]
        both += [(word, self._plural(word)) for pair in self.pairs["gender"] for word in pair]
        found: dict[str, set[str]] = {}
        for first, second in both:
            found.setdefault(first.lower(), set()).add(second.lower())
            found.setdefault(second.lower(), set()).add(first.lower())
        return found

    def _partner(self, category: str, word: str, entry: Mapping[str, Any]) -> str:
        if category == "number":
            return self._plural(word)
        return self._verb(word, "past", many=False) if category == "past" else str(entry["pair"])

    def _plural(self, noun: str) -> str:
        regular = noun[:-1] + "ies" if re.search("[^aeiou]y$", noun) else noun + "s"
        return str(self.data["plurals"].get(noun, regular))

    def _verb(self, phrase: str, tense: str, *, many: bool) -> str:
        """Return a phrase that begins with a verb in its base form with this verb in the tense and number."""
        base, *rest = phrase.split(" ", 1)
        stem = base[:-1] + "i" if re.search("[^aeiou]y$", base) else base
        third = stem + ("es" if re.search("(i|s|x|z|ch|sh)$", stem) else "s")
        doubled = base[-1] if re.fullmatch("[^aeiou]*[aeiou][bdgkmnpt]", base) else ""
        past = stem + ("d" if stem.endswith("e") else doubled + "ed")
        third, past, *plurals = self.data["irregular"].get(base, f"{third} {past}").split()
        forms = {"present": (third, base), "past": (past, past)}
        if plurals:
            forms = {"present": (third, plurals[0]), "past": (past, plurals[1])}
        return " ".join([forms[tense][many], *rest])

    def _subjects(self) -> Iterator[tuple[list[str], Slots]]:
        """Yield the sentences of the documents on each word in each tense, and what their slots may hold."""
        for category, forms in _FORMS.items():
            entries = self.data["entries"]["gender" if category == "people" else category].values()
            for pair, entry in zip(self.pairs[category], entries, strict=True):
                for word, form in zip(pair, forms, strict=True):
                    yield from (self._subject(entry | {"word": [word]}, form, tense) for tense in form.tenses)

    def _subject(self, entry: Mapping[str, Any], form: _Form, tense: str) -> tuple[list[str], Slots]:
        def verb(phrase: str, number: str) -> str:
            return self._verb(phrase, tense, many=form.many if number == "" else number == "many")

        slots = self.data["slots"] | self.data["tenses"][tense] | self.data["persons"].get(form.person, {}) | entry
        for number in ("", ":one", ":many"):
            slots[f"deed{number}"] = [verb(deed, number[1:]) for deed in entry.get("deed", ())]
        sentences = self.data["sentences"][form.sentences]
        return [_VERB.sub(lambda found: verb(found[1], found[2]), sentence) for sentence in sentences], slots

    def _draw(self, rng: random.Random, sentences: Sequence[str], slots: Slots) -> Iterator[str]:
        """Yield the sentences in any order with their slots filled, but for those that would bring two partners."""
        before: set[str] = set()
        for sentence in sorted(sentences, key=lambda _: rng.random()):
            text = _fill(rng, sentence, slots, set())
            words = before.union(_WORD.findall(text.lower()))
            if all(words.isdisjoint(self.partners[word]) for word in words & self.partners.keys()):
                before = words
                text = _ARTICLE.sub(r"\1n ", text)
                yield text[0].upper() + text[1:] + ("" if text[-1] in "!?" else ".")


def read_almanac(path: Path) -> Almanac:
    """Return the almanac in the TOML file at `path`; raises OSError or tomllib.TOMLDecodeError as they come."""
    return Almanac(tomllib.loads(path.read_text(encoding="utf-8")))


def _pick(rng: random.Random, options: Sequence[Any]) -> Any:
    return options[int(rng.random() * len(options))]


def _fill(rng: random.Random, text: str, slots: Slots, said: set[str]) -> str:
    """Return the text with every slot filled, the slots of what fills them too, by what is not yet said if possible."""

    def word(slot: re.Match[str]) -> str:
        options = slots[slot[1]]
        found: str = _pick(rng, options)
        if found in said:
            found = _pick(rng, [option for option in options if option not in said] or options)
        said.add(found)
        return _fill(rng, found, slots, said) if "{" in found else found

    return _SLOT.sub(word, text)
