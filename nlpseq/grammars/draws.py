"""Chance, noun phrases, places, times and links: what the sentences of the phrasebook are built from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from nlpseq.grammars.lexicon import Lexicon, Noun, Verb
from nlpseq.grammars.realise import FRENCH_SPACE, Phrase, nominal, pronoun

__all__ = ["POSSESSIVES", "Draw", "both", "digits"]

T = TypeVar("T")

POSSESSIVES = ("my", "your", "his", "her")
_SPOTS = (
    ("on", "sur", ("table", "chair", "box")),
    ("under", "sous", ("table", "chair", "car")),
    ("in", "dans", ("box", "car")),
)


@dataclass(frozen=True)
class Draw:
    """Pieces drawn from a lexicon; every choice comes from `rng.random()`, the same on every machine and Python."""

    words: Lexicon
    rng: random.Random

    # Chance

    def chance(self, share: float) -> bool:
        """Return True in `share` (0 to 1) of the calls."""
        return self.rng.random() < share

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, all equally likely."""
        return options[int(self.rng.random() * len(options))]

    def common(self, options: Sequence[T]) -> T:
        """Return one of the options, the first ones more often than the last, as words are in any language."""
        share = self.rng.random()
        return options[int(share * share * len(options))]  # no power: its last bit depends on the machine

    def weighted(self, options: Sequence[tuple[int, T]]) -> T:
        """Return one of the options, as likely as its weight says."""
        left = self.rng.random() * sum([weight for weight, _ in options])
        for weight, option in options:
            left -= weight
            if left < 0:
                return option
        return options[-1][1]

    # Noun phrases

    def name(self) -> Phrase:
        """Return a person's name."""
        name = self.common(tuple(self.words.names))
        return Phrase(name, name, (name,), gender=self.words.names[name], human=True)

    def people(self) -> Phrase:
        """Return somebody who is no pronoun: a name, or a person or relative with an adjective perhaps."""
        if self.chance(0.35):
            return self.name()
        kin = self.chance(0.5)
        determiner = self.pick(POSSESSIVES) if kin else self.weighted(((8, "the"), (2, "this")))
        return self.noun(self.common(self.words.kinds["kin" if kin else "person"]), determiner, described=0.04)

    def subject(self) -> Phrase:
        """Return the subject of a clause: a pronoun, somebody, or two people."""
        if self.chance(0.42):
            return pronoun(self.pick(("I", "I", "you", "he", "she", "we", "they")))
        first = self.people()
        other = self.name()
        return both(first, other) if other.en != first.en and self.chance(0.05) else first

    def noun(self, noun: Noun, determiner: str, *, described: float = 0.14, plural: float = 0.2) -> Phrase:
        """Return the noun with its determiner, plural or described by an adjective in that share of the cases."""
        adjective = self.common(self.words.suits[noun.kind]) if self.chance(described) else None
        alone = noun.kind in ("staple", "drink") or noun.en in ("mother", "father")
        many = not alone and self.chance(plural)
        return nominal(noun, determiner, adjective=adjective, plural=many)

    def thing(self, *kinds: str) -> Phrase:
        """Return a noun of one of the kinds, with any determiner that suits it."""
        kind = self.common(kinds)
        if kind == "city":
            return self.city()
        noun = self.common(self.words.kinds[kind])
        if kind == "kin":
            return self.noun(noun, self.pick(POSSESSIVES))
        if kind in ("venue", "inside"):
            return self.noun(noun, "the", plural=0)
        if kind in ("staple", "drink"):
            return self.noun(noun, self.weighted(((70, "a"), (20, "the"), (10, self.pick(POSSESSIVES)))))
        choices = (
            (40, "a"),
            (25, "the"),
            (15, self.pick(POSSESSIVES)),
            (5, "this"),
            (6, self.count()),
            (9, self.figure(10, 10, 100)),
        )
        return self.noun(noun, self.weighted(choices), plural=0.3)

    def objects(self, verb: Verb) -> Phrase:
        """Return what the verb may have as its object, two things at times."""
        if "generic" in verb.flags:
            noun = self.common(self.words.kinds[self.common(verb.takes)])
            return self.noun(noun, "any", plural=1)
        first = self.thing(*verb.takes)
        kinds = [kind for kind in verb.takes if kind in ("staple", "drink", "food")]
        return both(first, self.thing(*kinds)) if kinds and self.chance(0.04) else first

    def count(self) -> str:
        """Return a number in words, English and French."""
        return "/".join(self.common(tuple(self.words.tables["counts"].items())))

    def figure(self, *bounds: int) -> str:
        """Return a number in digits from 2 to below one of the bounds, English and French."""
        return "/".join(digits(2 + int(self.rng.random() * (self.pick(bounds) - 2))))

    # What follows the verb

    def city(self) -> Phrase:
        """Return the name of a city."""
        en, fr = self.common(tuple(self.words.tables["cities"].items()))
        return Phrase(en, fr, (en,))

    def abroad(self, preposition: str) -> Phrase:
        """Return a city or country; preposition: "in" or "to", for which French has the same words, or "from"."""
        away = preposition == "from"
        if self.chance(0.5):
            city = self.city()
            return city._replace(en=f"{preposition} {city.en}", fr=f"{'de' if away else 'à'} {city.fr}")
        en, french_name = self.common(tuple(self.words.tables["countries"].items()))
        fr, gender = french_name.split()
        before = {"f": ("en", "de"), "m": ("à le", "de le"), "p": ("à les", "de les")}[gender][away]
        return Phrase(f"{preposition} {en}", f"{before} {fr}", (en.split()[-1],))

    def place(self) -> Phrase:
        """Return where something happens: in a room, at the market, in Paris, near the station."""
        kind, en, fr = self.pick(
            (("inside", "in", "dans"), ("venue", "at", "à"), ("venue", "near", "près de"), ("", "in", ""))
        )
        if not kind:
            return self.abroad("in")
        return self.after(en, fr, self.noun(self.common(self.words.kinds[kind]), "the", described=0.1, plural=0))

    def after(self, en: str, fr: str, phrase: Phrase) -> Phrase:
        """Return the phrase behind a preposition."""
        return Phrase(f"{en} {phrase.en}", f"{fr} {phrase.fr}", phrase.content)

    def hour(self) -> Phrase:
        """Return an hour from 2 to 12."""
        hour = str(2 + int(11 * self.rng.random()))
        return Phrase(f"at {hour} o'clock", f"à {hour} heures", (hour, "o'clock"))

    def time(self, tense: str) -> Phrase:
        """Return a time that goes with the tense: every day, at 8 o'clock, on 12 March, in 1998."""
        kind = self.rng.random()
        if kind < 0.15:
            return self.hour()
        if kind < 0.3 and tense != "present":
            day, (en, fr) = (
                str(2 + int(27 * self.rng.random())),
                self.common(tuple(self.words.tables["months"].items())),
            )
            return Phrase(f"on {day} {en}", f"le {day} {fr}", (day, en))
        if kind < 0.45 and tense == "past":
            year = str(1950 + int(75 * self.rng.random()))
            return Phrase(f"in {year}", f"en {year}", (year,))
        wanted = {"past": "past", "future": "future", "near": "future"}.get(tense, "present")
        options = [(en, fr.split(" ", 1)[1]) for en, fr in self.words.tables["times"].items() if fr.startswith(wanted)]
        en, fr = self.pick(options)
        return Phrase(en, fr, (en.split()[-1].removesuffix("s"),))

    # Things, places and links

    def item(self) -> Noun:
        """Return a noun that has a place and a price."""
        return self.common(self.words.kinds[self.pick(("text", "thing", "device", "clothes", "present"))])

    def spot(self, thing: Phrase) -> Phrase:
        """Return a place for the thing, not on or in itself: on the table, under the chair, in the box."""
        en, fr, nouns = self.pick(_SPOTS)
        noun = self.pick([noun for noun in nouns if noun not in thing.content])
        return self.after(en, fr, self.noun(self.words.nouns[noun], "the", described=0.1, plural=0))

    def page(self) -> str:
        """Return the address of a page."""
        host = self.pick(("https://www.", "https://shop.", "http://", "www.")) + self.pick(
            ("example.com", "example.org", "example.net")
        )
        return f"{host}/{self.pick(('books', 'shop', 'photos', 'news', 'menu'))}/{int(1000 * self.rng.random())}"

    def mail(self) -> str:
        """Return an e-mail address."""
        name = self.common(tuple(self.words.names)).lower()
        return f"{name}{int(100 * self.rng.random())}@{self.pick(('example.com', 'example.org', 'mail.example.net'))}"


def both(first: Phrase, second: Phrase) -> Phrase:
    """Return two noun phrases joined by "and", masculine unless both are feminine."""
    gender = "f" if first.gender == second.gender == "f" else "m"
    return Phrase(
        f"{first.en} and {second.en}",
        f"{first.fr} et {second.fr}",
        (*first.content, *second.content),
        None,
        "ils",
        gender,
        True,
    )


def digits(number: int) -> tuple[str, str]:
    """Return the number as English and as French write it: 1,500 and 1 500."""
    return f"{number:,}", f"{number:,}".replace(",", FRENCH_SPACE)
