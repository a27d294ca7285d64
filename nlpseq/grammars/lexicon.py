"""The words of the phrasebook, read from its TOML file and inflected."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PERSONS", "Adjective", "Lexicon", "Noun", "Verb", "read_lexicon"]

PERSONS = ("je", "il", "nous", "vous", "ils")
_FUTURE = ("ai", "a", "ons", "ez", "ont")


@dataclass(frozen=True)
class Noun:
    """A noun: English singular and plural, French singular and plural, gender ("m" or "f") and kind."""

    en: str
    en_plural: str
    fr: str
    fr_plural: str
    gender: str
    kind: str


@dataclass(frozen=True)
class Adjective:
    """An adjective; `before` says that it stands before its French noun."""

    en: str
    masculine: str
    feminine: str
    vowel: str
    before: bool

    def agree(self, gender: str, plural: bool, vowel: bool = False) -> str:
        """Return the French form; vowel: a masculine singular noun with a vowel follows ("un bel homme")."""
        if plural:
            return _plural(self.feminine if gender == "f" else self.masculine)
        if gender == "f":
            return self.feminine
        return self.vowel if vowel else self.masculine


@dataclass(frozen=True)
class Verb:
    """A verb: English base, third person, past and particle; French forms in the order of PERSONS."""

    base: str
    third: str
    past: str
    particle: str
    infinitive: str
    present: tuple[str, ...]
    participle: str
    future: tuple[str, ...]
    takes: tuple[str, ...]
    flags: frozenset[str]


@dataclass(frozen=True)
class Lexicon:
    """All the words; the tables map an English word to its French, `names` a name to its gender."""

    nouns: dict[str, Noun]
    kinds: dict[str, tuple[Noun, ...]]
    adjectives: dict[str, Adjective]
    suits: dict[str, tuple[Adjective, ...]]
    verbs: dict[str, Verb]
    names: dict[str, str]
    tables: dict[str, dict[str, str]]


def read_lexicon(path: Path) -> Lexicon:
    """Return the lexicon in the TOML file at `path`; raises OSError or tomllib.TOMLDecodeError as they come."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    kinds = {
        kind: tuple(_noun(en, fr, kind, data["plurals"]) for en, fr in words.items())
        for kind, words in data["nouns"].items()
    }
    adjectives = {
        en: _adjective(en, fr, place == "before")
        for place, words in data["adjectives"].items()
        for en, fr in words.items()
    }
    return Lexicon(
        nouns={noun.en: noun for nouns in kinds.values() for noun in nouns},
        kinds=kinds,
        adjectives=adjectives,
        suits={kind: tuple(adjectives[word] for word in words) for kind, words in data["suits"].items()},
        verbs={base: _verb(base, entry) for base, entry in data["verbs"].items()},
        names={name: gender for gender, names in data["names"].items() for name in names},
        tables={
            name: data[name] for name in ("cities", "countries", "sensations", "adverbs", "times", "counts", "months")
        },
    )


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "z")):
        return word
    return word + ("x" if word.endswith(("au", "eu")) else "s")


def _noun(en: str, french: str, kind: str, plurals: dict[str, str]) -> Noun:
    fr, gender, *irregular = french.split()
    return Noun(en, plurals.get(en, en + "s"), fr, irregular[0] if irregular else _plural(fr), gender, kind)


def _adjective(en: str, french: str, before: bool) -> Adjective:
    masculine, feminine, *vowel = french.split()
    return Adjective(en, masculine, feminine, vowel[0] if vowel else masculine, before)


def _verb(base: str, entry: dict[str, Any]) -> Verb:
    infinitive, *forms = entry["fr"].split()
    if not forms:
        stem = infinitive.removesuffix("er")
        forms = [stem + ending for ending in ("e", "e", "ons", "ez", "ent", "é", "er")]
    *present, participle, future = forms
    third, past = entry.get("en", f"{base}s {base.removesuffix('e')}ed").split()
    return Verb(
        base=base,
        third=third,
        past=past,
        particle=entry.get("particle", ""),
        infinitive=infinitive,
        present=tuple(present),
        participle=participle,
        future=tuple(future + ending for ending in _FUTURE),
        takes=tuple(entry.get("takes", ())),
        flags=frozenset(entry.get("flags", ())),
    )
