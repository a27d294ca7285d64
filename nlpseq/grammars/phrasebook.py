"""The phrasebook: English sentences and their French, drawn at random from a grammar over some hundreds of words.

"You" is always "vous" (one polite person), "they" is "ils" and "I" is a man: one English sentence has one French one.
Three sentences in four have a capital and their mark; the others are bare phrases with neither ("I drink milk").
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from nlpseq.grammars.draws import POSSESSIVES, Draw
from nlpseq.grammars.lexicon import Verb, read_lexicon
from nlpseq.grammars.realise import Clause, Phrase, finish, join, pronoun, question, statement
from nlpseq.share import share_path

__all__ = ["Grammar", "Sentence", "phrasebook"]

_RESTING = ("sleep", "work", "sing", "play", "run", "rest", "walk")
_COMPARED = ("famous", "beautiful", "tired")
_WEATHER = (
    ("it rains", "il pleut", "rain"),
    ("it is cold", "il fait froid", "cold"),
    ("it is hot", "il fait chaud", "hot"),
)
_LINKS = (("and", "et", ""), ("but", "mais", ""), ("because", "parce que", "present"), ("when", "quand", "present"))


class Sentence(NamedTuple):
    """An English sentence, its French, and the lemmas of its content words, numbers and links as they stand."""

    en: str
    fr: str
    content: tuple[str, ...]


def phrasebook(rng: random.Random) -> Callable[[], Sentence]:
    """Return a function that draws the next sentence of the phrasebook; rng: where all its choices come from."""
    return Grammar(Draw(read_lexicon(share_path("corpora", "phrasebook", "lexicon.toml")), rng)).sentence


@dataclass(frozen=True)
class Grammar:
    """The grammar of clauses and sentences over the pieces that `draw` gives."""

    draw: Draw

    @cached_property
    def transitive(self) -> tuple[Verb, ...]:
        """Return the verbs that have an object."""
        return tuple(verb for verb in self.draw.words.verbs.values() if verb.takes)

    @cached_property
    def plain(self) -> tuple[Verb, ...]:
        """Return the verbs that have an object and no receiver, and tell of no state."""
        return tuple(verb for verb in self.transitive if not verb.flags & {"dative", "state"})

    def sentence(self) -> Sentence:
        """Return a sentence drawn at random; none has a word twice, as "Anna gives my letter to Anna" would."""
        phrase, mark = self.utterance()
        while len(set(phrase.content)) < len(phrase.content):
            phrase, mark = self.utterance()
        en, fr = finish(phrase, mark=mark, capital=self.draw.chance(0.75))
        return Sentence(en, fr, phrase.content)

    def utterance(self) -> tuple[Phrase, str]:
        """Return a sentence without its capital, and its mark."""
        kinds: tuple[tuple[int, Callable[[], tuple[Phrase, str]]], ...] = (
            (60, lambda: (statement(self.clause()), ".")),
            (6, lambda: (self.two_clauses(), ".")),
            (2, lambda: (self.report(), ".")),
            (2, lambda: (self.relative(), ".")),
            (4, lambda: (self.there(), ".")),
            (5, lambda: (self.order(), ".")),
            (4, lambda: (self.link(), ".")),
            (7, lambda: (question(self.clause(asked=True)), "?")),
            (8, lambda: (self.wh_question(), "?")),
        )
        return self.draw.weighted(kinds)()

    # Clauses

    def clause(self, *, asked: bool = False, tense: str | None = None, stative: bool = True) -> Clause:
        """Return a clause; asked: for a question, so without "never"; tense: given, not drawn; stative: "is …" too."""
        still = 20 if stative else 0
        build = self.draw.weighted(((56, self.acting), (14, self.resting), (10, self.moving), (still, self.being)))
        clause = build(self.draw.subject())
        tenses = ((64, "present"), (17, "past"), (10, "future"), (3, "near"), (3, "can"), (3, "want"))
        drawn = tense or self.draw.weighted(tenses)
        if ("state" in clause.verb.flags and drawn != "future") or ("nopast" in clause.verb.flags and drawn == "past"):
            drawn = "present"
        return self.qualified(clause._replace(tense=drawn, short=self.draw.chance(0.3)), asked)

    def qualified(self, clause: Clause, asked: bool) -> Clause:
        """Return the clause with a negation, an adverb or a time in some of the cases."""
        if self.draw.chance(0.18) and not any(" and " in part.en for part in clause.rest):
            aged = any("year" in part.content for part in clause.rest)
            never = clause.tense == "present" and not asked and not aged and self.draw.chance(0.25)
            return clause._replace(polarity="never" if never else "not")
        if "state" in clause.verb.flags:
            return clause
        if clause.tense == "present" and self.draw.chance(0.12):
            return clause._replace(adverb=self.draw.common(tuple(self.draw.words.tables["adverbs"].items())))
        if self.draw.chance(0.16) and not any("o'clock" in part.content for part in clause.rest):
            return clause._replace(rest=(*clause.rest, self.draw.time(clause.tense)))
        return clause

    def acting(self, subject: Phrase) -> Clause:
        """Return a clause with an object, and perhaps a place or somebody who receives it."""
        verb = self.draw.common(self.transitive)
        rest = [self.draw.objects(verb)]
        if "dative" in verb.flags:
            rest.append(self.draw.after("to", "à", self.draw.people()))
        elif verb.base in ("drink", "eat", "buy", "sell", "find", "lose", "read", "see") and self.draw.chance(0.2):
            rest.append(self.draw.place())
        return Clause(subject, verb, tuple(rest))

    def resting(self, subject: Phrase) -> Clause:
        """Return a clause without an object, perhaps with company or a place."""
        verb = self.draw.common(_RESTING)
        rest = (
            [self.draw.after("with", "avec", self.draw.people())] if verb != "sleep" and self.draw.chance(0.3) else []
        )
        rest += [self.draw.place()] if self.draw.chance(0.6) else []
        return Clause(subject, self.draw.words.verbs[verb], tuple(rest))

    def moving(self, subject: Phrase) -> Clause:
        """Return a clause about going, coming, living or arriving somewhere."""
        verb = self.draw.words.verbs[self.draw.pick(("go", "come", "live", "arrive", "leave"))]
        if "home" in verb.flags:
            return Clause(subject, verb, (self.draw.pick((self.draw.abroad("in"), self.draw.place())),))
        if verb.base in ("arrive", "leave"):
            return Clause(
                subject,
                verb,
                (self.draw.pick((self.draw.hour(), self.draw.after("with", "avec", self.draw.people()))),),
            )
        if verb.base != "go" and self.draw.chance(0.3):
            return Clause(subject, verb, (self.draw.abroad("from"),))
        if self.draw.chance(0.3):
            return Clause(subject, verb, (self.draw.abroad("to"),))
        venue = self.draw.noun(self.draw.common(self.draw.words.kinds["venue"]), "the", described=0.1, plural=0)
        return Clause(subject, verb, (self.draw.after("to", "à", venue),))

    def being(self, subject: Phrase) -> Clause:
        """Return a clause about how or where somebody or something is, or about a price."""
        build = self.draw.weighted(
            ((40, self.feeling), (7, self.comparing), (15, self.placing), (15, self.looking), (15, self.costing))
        )
        return build(subject)

    def feeling(self, subject: Phrase) -> Clause:
        """Return "is tired", "is hungry" or "is 12 years old"."""
        be, have = self.draw.words.verbs["be"], self.draw.words.verbs["have"]
        kind = self.draw.rng.random()
        if kind < 0.2:
            en, fr = self.draw.common(tuple(self.draw.words.tables["sensations"].items()))
            return Clause(subject, be, (Phrase(en, fr, (en,)),), fr_verb=have)
        if kind < 0.4:
            age = str(2 + int(90 * self.draw.rng.random()))
            return Clause(subject, be, (Phrase(f"{age} years old", f"{age} ans", (age, "year", "old")),), fr_verb=have)
        return Clause(subject, be, (self.predicate(subject, "feeling"),))

    def predicate(self, subject: Phrase, kind: str) -> Phrase:
        """Return an adjective that suits the kind, in agreement with the subject."""
        adjective = self.draw.common(self.draw.words.suits[kind])
        return Phrase(adjective.en, adjective.agree(subject.gender, subject.plural), (adjective.en,))

    def comparing(self, subject: Phrase) -> Clause:
        """Return "is more famous than Paul" or "is as old as my sister"."""
        other = self.draw.people()
        more = self.draw.chance(0.5)
        adjective = (
            self.draw.words.adjectives[self.draw.pick(_COMPARED)]
            if more
            else self.draw.common(self.draw.words.suits["feeling"])
        )
        agreed = adjective.agree(subject.gender, subject.plural)
        en = f"more {adjective.en} than {other.en}" if more else f"as {adjective.en} as {other.en}"
        fr = f"{'plus' if more else 'aussi'} {agreed} que {other.fr}"
        return Clause(subject, self.draw.words.verbs["be"], (Phrase(en, fr, (adjective.en, *other.content)),))

    def placing(self, subject: Phrase) -> Clause:
        """Return where somebody or something is."""
        if self.draw.chance(0.4):
            return Clause(subject, self.draw.words.verbs["be"], (self.draw.place(),))
        thing = self.draw.noun(self.draw.item(), self.draw.pick(("the", "the", *POSSESSIVES)))
        return Clause(thing, self.draw.words.verbs["be"], (self.draw.spot(thing),))

    def looking(self, _: Phrase) -> Clause:
        """Return a clause about what something is like."""
        kind = self.draw.pick(("text", "thing", "device", "clothes", "food", "drink", "animal", "venue"))
        thing = self.draw.noun(
            self.draw.common(self.draw.words.kinds[kind]),
            self.draw.pick(("the", "the", "this", *POSSESSIVES)),
            described=0.1,
        )
        return Clause(thing, self.draw.words.verbs["be"], (self.predicate(thing, kind),))

    def costing(self, _: Phrase) -> Clause:
        """Return a clause about a price in euros."""
        thing = self.draw.noun(self.draw.item(), self.draw.pick(("the", "this", *POSSESSIVES)))
        en, fr = self.draw.figure(10, 100, 1000, 10_000).split("/")
        if self.draw.chance(0.4):
            whole, cents = 2 + int(90 * self.draw.rng.random()), 5 + int(95 * self.draw.rng.random())
            en, fr = f"{whole}.{cents:02}", f"{whole},{cents:02}"
        return Clause(thing, self.draw.words.verbs["cost"], (Phrase(f"{en} euros", f"{fr} euros", (en, "euro")),))

    # Sentences

    def two_clauses(self) -> Phrase:
        """Return two clauses joined by and, but, because, when or if, perhaps about the same subject."""
        if self.draw.chance(0.3):
            en, fr, lemma = self.draw.pick(_WEATHER)
            word, mot, tense = self.draw.pick((("when", "quand", "present"), ("if", "si", "future")))
            main = statement(self.clause(tense=tense, stative=False))
            return Phrase(f"{word} {en}, {main.en}", f"{mot} {fr} , {main.fr}", (lemma, *main.content))
        en, fr, tense = self.draw.pick(_LINKS)
        first = self.clause(tense=tense or None)
        second = statement(self.resting_or_being(self.next_subject(first.subject), first.tense))
        start = statement(first)
        return Phrase(f"{start.en} {en} {second.en}", f"{start.fr} {fr} {second.fr}", (*start.content, *second.content))

    def next_subject(self, first: Phrase) -> Phrase:
        """Return the subject of a second clause; he, she or they only where it takes up one person or a pronoun."""
        if first.human and not first.plural and self.draw.chance(0.5):
            return pronoun("she" if first.gender == "f" else "he")
        subject = self.draw.subject()
        while subject.en in ("he", "she", "they") and subject.en != first.en:  # it could mean a thing in between
            subject = self.draw.subject()
        return subject

    def resting_or_being(self, subject: Phrase, tense: str) -> Clause:
        """Return a short clause in the tense, or in the present where it is about a state."""
        clause = (
            self.feeling(subject)
            if self.draw.chance(0.5)
            else Clause(subject, self.draw.words.verbs[self.draw.pick(_RESTING)])
        )
        return clause if "state" in clause.verb.flags else clause._replace(tense=tense)

    def report(self) -> Phrase:
        """Return "Paul thinks that …"."""
        inner = statement(self.clause())
        verb = self.draw.words.verbs[self.draw.pick(("think", "say"))]
        return statement(
            Clause(self.draw.subject(), verb, (Phrase(f"that {inner.en}", f"que {inner.fr}", inner.content),))
        )

    def relative(self) -> Phrase:
        """Return a sentence whose subject has a relative clause: "the man who sells bread is tired"."""
        kind = self.draw.pick(("person", "kin"))
        determiner = "the" if kind == "person" else self.draw.pick(POSSESSIVES)
        head = self.draw.noun(self.draw.common(self.draw.words.kinds[kind]), determiner, described=0)
        verb = self.draw.common(self.plain)
        inner = statement(Clause(head._replace(en="who", fr="qui", content=()), verb, (self.draw.objects(verb),)))
        subject = head._replace(
            en=f"{head.en} {inner.en}", fr=f"{head.fr} {inner.fr}", content=(*head.content, *inner.content)
        )
        return statement(self.resting_or_being(subject, self.draw.pick(("present", "past"))))

    def there(self) -> Phrase:
        """Return "there is …" or "there are no …"."""
        kind = self.draw.pick(("text", "thing", "clothes", "present", "food", "drink", "animal"))
        counted = self.draw.chance(0.3) and kind != "drink"
        phrase = self.draw.noun(
            self.draw.common(self.draw.words.kinds[kind]),
            self.draw.figure(10, 100, 1000, 10_000) if counted else "a",
            plural=0.4,
        )
        where = self.draw.place() if kind in ("animal", "drink") else self.draw.spot(phrase)
        be = "there are" if phrase.plural else "there is"
        bare = phrase.plural or kind == "drink"
        content = (*phrase.content, *where.content)
        if bare and not counted and self.draw.chance(0.3):
            return Phrase(f"{be} no {phrase.en} {where.en}", f"il ne y a pas {phrase.negated} {where.fr}", content)
        return Phrase(f"{be} {phrase.en} {where.en}", f"il y a {phrase.fr} {where.fr}", content)

    def order(self) -> Phrase:
        """Return an order, polite at times."""
        verb = self.draw.common([verb for verb in self.transitive if "state" not in verb.flags])
        what = self.draw.objects(verb)
        en, fr = join(verb.base, verb.particle), verb.present[3]
        rest = self.draw.after("to", "à", self.draw.people()) if "dative" in verb.flags else Phrase("", "")
        content = (verb.base, *what.content, *rest.content)
        if what.person == "il" and self.draw.chance(0.3):
            return Phrase(
                join("do not", en, what.en, rest.en), join("ne", fr, "pas", what.negated or what.fr, rest.fr), content
            )
        polite = self.draw.chance(0.3)
        return Phrase(
            join("please" if polite else "", en, what.en, rest.en),
            join(fr, what.fr, rest.fr, ", s'il vous plaît" if polite else ""),
            content,
        )

    def link(self) -> Phrase:
        """Return a sentence with a link or an e-mail address in it."""
        kind = self.draw.pick((self.address_of, self.look_at, self.write_to, self.found_on))
        return kind()

    def address_of(self) -> Phrase:
        """Return where somebody or a venue can be reached."""
        venue = self.draw.chance(0.5)
        whose = (
            self.draw.noun(self.draw.common(self.draw.words.kinds["venue"]), "the", plural=0)
            if venue
            else self.draw.people()
        )
        link = self.draw.page() if venue else self.draw.mail()
        return Phrase(
            f"the address of {whose.en} is {link}",
            f"la adresse de {whose.fr} est {link}",
            ("address", *whose.content, link),
        )

    def look_at(self) -> Phrase:
        """Return an order to look at something on a page."""
        link, what = self.draw.page(), self.draw.noun(self.draw.item(), "the")
        return Phrase(f"look at {what.en} on {link}", f"regardez {what.fr} sur {link}", ("look", *what.content, link))

    def write_to(self) -> Phrase:
        """Return an order to send something to an address."""
        link, what = self.draw.mail(), self.draw.noun(self.draw.item(), "the")
        return Phrase(f"send {what.en} to {link}", f"envoyez {what.fr} à {link}", ("send", *what.content, link))

    def found_on(self) -> Phrase:
        """Return a statement about something bought, sold or found on a page."""
        link, verb = self.draw.page(), self.draw.words.verbs[self.draw.pick(("buy", "sell", "find"))]
        rest = (
            self.draw.noun(self.draw.item(), self.draw.pick(("a", *POSSESSIVES))),
            Phrase(f"on {link}", f"sur {link}", (link,)),
        )
        return statement(Clause(self.draw.subject(), verb, rest, tense=self.draw.pick(("present", "past"))))

    def wh_question(self) -> Phrase:
        """Return a question that begins with where, when, why, what, who or how many."""
        kind = self.draw.rng.random()
        if kind < 0.15:
            return statement(self.clause_about(pronoun("who")))
        if kind < 0.3:
            what = self.draw.noun(self.draw.item(), self.draw.pick(("the", *POSSESSIVES)))
            plural = what.plural
            return Phrase(
                f"where {'are' if plural else 'is'} {what.en}",
                f"où {'sont' if plural else 'est'} {what.fr}",
                what.content,
            )
        if kind < 0.5:
            return self.how_many()
        word = self.draw.pick((("where", "où"), ("when", "quand"), ("why", "pourquoi")))
        clause = self.clause_about(self.draw.subject())
        return question(clause, word=Phrase(*word))

    def clause_about(self, subject: Phrase) -> Clause:
        """Return a clause with an object and no place or time."""
        verb = self.draw.common(self.plain)
        tense = self.draw.pick(("present", "past", "future"))
        return Clause(subject, verb, (self.draw.objects(verb),), tense="present" if "nopast" in verb.flags else tense)

    def how_many(self) -> Phrase:
        """Return a question about a number of things."""
        verb = self.draw.words.verbs[self.draw.pick(("buy", "sell", "want", "have", "see", "find", "eat", "lose"))]
        kinds = [kind for kind in verb.takes if kind in ("food", "text", "thing", "clothes", "present", "animal")]
        noun = self.draw.common(self.draw.words.kinds[self.draw.pick(kinds)])
        what = Phrase(f"how many {noun.en_plural}", f"combien de {noun.fr_plural}", (noun.en,))
        return question(Clause(self.draw.subject(), verb, tense="present"), word=what)
