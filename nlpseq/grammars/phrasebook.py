"""The phrasebook: English sentences and their French, drawn at random from a grammar over some hundreds of words.

"You" is always "vous" (one polite person), "they" is "ils" and "I" is a man: one English sentence has one French one.
Three sentences in four have a capital and their mark; the others are bare phrases with neither ("I drink milk").
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from nlpseq.grammars.lexicon import Lexicon, Noun, Verb, read_lexicon
from nlpseq.grammars.realise import FRENCH_SPACE, Clause, Phrase, finish, join, nominal, pronoun, question, statement
from nlpseq.share import share_path

__all__ = ["Grammar", "Sentence", "phrasebook"]

T = TypeVar("T")

_POSSESSIVES = ("my", "your", "his", "her", "our", "their")
_RESTING = ("sleep", "work", "sing", "play", "run", "rest", "walk", "stay")
_SPOTS = (
    ("on", "sur", ("table", "chair", "box")),
    ("under", "sous", ("table", "chair", "car")),
    ("in", "dans", ("box", "car")),
)
_COMPARED = ("famous", "beautiful", "tired")
_WEATHER = (
    ("it rains", "il pleut", "rain"),
    ("it is cold", "il fait froid", "cold"),
    ("it is hot", "il fait chaud", "hot"),
)
_LINKS = (("and", "et", ""), ("but", "mais", ""), ("because", "parce que", "present"), ("when", "quand", "present"))


class Sentence(NamedTuple):
    """An English sentence, its French, and the lemmas of its content words; digits are [NUM] and links [URL] there."""

    en: str
    fr: str
    content: tuple[str, ...]


def phrasebook(rng: random.Random) -> Callable[[], Sentence]:
    """Return a function that draws the next sentence of the phrasebook; rng: where all its choices come from."""
    return Grammar(read_lexicon(share_path("corpora", "phrasebook", "lexicon.toml")), rng).sentence


@dataclass(frozen=True)
class Grammar:
    """The grammar over a lexicon; every choice comes from `rng.random()`, the same on every machine and Python."""

    words: Lexicon
    rng: random.Random

    def sentence(self) -> Sentence:
        """Return a sentence drawn at random."""
        kinds: tuple[tuple[int, Callable[[], tuple[Phrase, str]]], ...] = (
            (60, lambda: (statement(self.clause()), ".")),
            (7, lambda: (self.two_clauses(), ".")),
            (3, lambda: (self.report(), ".")),
            (3, lambda: (self.relative(), ".")),
            (4, lambda: (self.there(), ".")),
            (5, lambda: (self.order(), ".")),
            (4, lambda: (self.link(), ".")),
            (7, lambda: (question(self.clause(asked=True)), "?")),
            (8, lambda: (self.wh_question(), "?")),
        )
        phrase, mark = self.weighted(kinds)()
        en, fr = finish(phrase, mark=mark, capital=self.chance(0.75))
        return Sentence(en, fr, phrase.content)

    # Chance

    def chance(self, share: float) -> bool:
        """Return True in `share` (0 to 1) of the calls."""
        return self.rng.random() < share

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, all equally likely."""
        return options[int(self.rng.random() * len(options))]

    def common(self, options: Sequence[T]) -> T:
        """Return one of the options, the first ones more often than the last, as words are in any language."""
        return options[int(self.rng.random() ** 2 * len(options))]

    def weighted(self, options: Sequence[tuple[int, T]]) -> T:
        """Return one of the options, as likely as its weight says."""
        left = self.rng.random() * sum(weight for weight, _ in options)
        for weight, option in options:
            left -= weight
            if left < 0:
                return option
        return options[-1][1]

    # Noun phrases

    def name(self) -> Phrase:
        """Return a person's name."""
        name = self.common(tuple(self.words.names))
        return Phrase(name, name, (name,), gender=self.words.names[name])

    def people(self) -> Phrase:
        """Return somebody who is no pronoun: a name, or a person or relative with an adjective perhaps."""
        if self.chance(0.35):
            return self.name()
        kin = self.chance(0.5)
        determiner = self.pick(_POSSESSIVES) if kin else self.weighted(((8, "the"), (2, "this")))
        return self.noun(self.common(self.words.kinds["kin" if kin else "person"]), determiner, described=0.1)

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
        many = noun.kind not in ("staple", "drink") and self.chance(plural)
        return nominal(noun, determiner, adjective=adjective, plural=many)

    def thing(self, *kinds: str) -> Phrase:
        """Return a noun of one of the kinds, with any determiner that suits it."""
        kind = self.pick(kinds)
        if kind == "city":
            return self.city()
        noun = self.common(self.words.kinds[kind])
        if kind == "kin":
            return self.noun(noun, self.pick(_POSSESSIVES))
        if kind in ("venue", "inside"):
            return self.noun(noun, "the", plural=0)
        if kind in ("staple", "drink"):
            return self.noun(noun, self.weighted(((70, "a"), (20, "the"), (10, self.pick(_POSSESSIVES)))))
        choices = (
            (40, "a"),
            (25, "the"),
            (15, self.pick(_POSSESSIVES)),
            (5, "this"),
            (6, self.count()),
            (9, self.figure(2)),
        )
        return self.noun(noun, self.weighted(choices), plural=0.3)

    def objects(self, verb: Verb) -> Phrase:
        """Return what the verb may have as its object, two things at times."""
        if "generic" in verb.flags:
            noun = self.common(self.words.kinds[self.pick(verb.takes)])
            return self.noun(noun, "any", plural=1)
        first = self.thing(*verb.takes)
        kinds = [kind for kind in verb.takes if kind in ("staple", "drink", "food")]
        return both(first, self.thing(*kinds)) if kinds and self.chance(0.04) else first

    def count(self) -> str:
        """Return a number in words, English and French."""
        return "/".join(self.common(tuple(self.words.tables["counts"].items())))

    def figure(self, most: int = 4) -> str:
        """Return a number of at most that many digits (from 2, small ones most often), English and French."""
        return "/".join(digits(1 + int(10 ** (most * self.rng.random() ** 2) * 0.998 + 0.999)))

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
        return Phrase(f"at {hour} o'clock", f"à {hour} heures", ("[NUM]", "o'clock"))

    def time(self, tense: str) -> Phrase:
        """Return a time that goes with the tense: every day, at 8 o'clock, on 12 March, in 1998."""
        kind = self.rng.random()
        if kind < 0.15:
            return self.hour()
        if kind < 0.3 and tense != "present":
            day, (en, fr) = str(2 + int(27 * self.rng.random())), self.common(tuple(self.words.tables["months"].items()))
            return Phrase(f"on {day} {en}", f"le {day} {fr}", ("[NUM]", en))
        if kind < 0.45 and tense == "past":
            year = str(1950 + int(75 * self.rng.random()))
            return Phrase(f"in {year}", f"en {year}", ("[NUM]",))
        wanted = {"past": "past", "future": "future", "near": "future"}.get(tense, "present")
        options = [(en, fr.split(" ", 1)[1]) for en, fr in self.words.tables["times"].items() if fr.startswith(wanted)]
        en, fr = self.pick(options)
        return Phrase(en, fr, (en.split()[-1].removesuffix("s"),))

    # Clauses

    def clause(self, *, asked: bool = False, tense: str | None = None, stative: bool = True) -> Clause:
        """Return a clause; asked: for a question, so without "never"; tense: given, not drawn; stative: "is …" too."""
        still = 20 if stative else 0
        build = self.weighted(((56, self.acting), (14, self.resting), (10, self.moving), (still, self.being)))
        clause = build(self.subject())
        tenses = ((55, "present"), (16, "past"), (8, "future"), (7, "near"), (5, "can"), (4, "must"), (5, "want"))
        drawn = tense or self.weighted(tenses)
        if ("state" in clause.verb.flags and drawn != "future") or ("nopast" in clause.verb.flags and drawn == "past"):
            drawn = "present"
        return self.qualified(replace(clause, tense=drawn, short=self.chance(0.3)), asked)

    def qualified(self, clause: Clause, asked: bool) -> Clause:
        """Return the clause with a negation, an adverb or a time in some of the cases."""
        if self.chance(0.15) and not any(" and " in part.en for part in clause.rest):
            never = clause.tense == "present" and not asked and self.chance(0.25)
            return replace(clause, polarity="never" if never else "not")
        if "state" in clause.verb.flags:
            return clause
        if clause.tense == "present" and self.chance(0.12):
            return replace(clause, adverb=self.common(tuple(self.words.tables["adverbs"].items())))
        if self.chance(0.22) and not any("o'clock" in part.content for part in clause.rest):
            return replace(clause, rest=(*clause.rest, self.time(clause.tense)))
        return clause

    def acting(self, subject: Phrase) -> Clause:
        """Return a clause with an object, and perhaps a place or somebody who receives it."""
        verb = self.common([verb for verb in self.words.verbs.values() if verb.takes])
        rest = [self.objects(verb)]
        if "dative" in verb.flags:
            rest.append(self.after("to", "à", self.people()))
        elif verb.base in ("drink", "eat", "buy", "sell", "find", "lose", "read", "see", "meet") and self.chance(0.25):
            rest.append(self.place())
        return Clause(subject, verb, tuple(rest))

    def resting(self, subject: Phrase) -> Clause:
        """Return a clause without an object, perhaps with company or a place."""
        verb = self.common(_RESTING)
        rest = [self.after("with", "avec", self.people())] if verb != "sleep" and self.chance(0.3) else []
        rest += [self.place()] if self.chance(0.6) else []
        return Clause(subject, self.words.verbs[verb], tuple(rest))

    def moving(self, subject: Phrase) -> Clause:
        """Return a clause about going, coming, living or arriving somewhere."""
        verb = self.words.verbs[self.pick(("go", "come", "live", "travel", "arrive", "leave"))]
        if "home" in verb.flags:
            return Clause(subject, verb, (self.pick((self.abroad("in"), self.place())),))
        if "abroad" in verb.flags:
            return Clause(subject, verb, (self.abroad("to"),))
        if verb.base in ("arrive", "leave"):
            return Clause(subject, verb, (self.pick((self.hour(), self.after("with", "avec", self.people()))),))
        if verb.base != "go" and self.chance(0.3):
            return Clause(subject, verb, (self.abroad("from"),))
        if self.chance(0.3):
            return Clause(subject, verb, (self.abroad("to"),))
        venue = self.noun(self.common(self.words.kinds["venue"]), "the", described=0.1, plural=0)
        return Clause(subject, verb, (self.after("to", "à", venue),))

    def being(self, subject: Phrase) -> Clause:
        """Return a clause about how, where, how old or how dear somebody or something is; it may have its own subject."""
        build = self.weighted(
            ((40, self.feeling), (15, self.comparing), (15, self.placing), (15, self.looking), (15, self.costing))
        )
        return build(subject)

    def feeling(self, subject: Phrase) -> Clause:
        """Return "is tired", "is hungry" or "is 12 years old"."""
        be, have = self.words.verbs["be"], self.words.verbs["have"]
        kind = self.rng.random()
        if kind < 0.2:
            en, fr = self.common(tuple(self.words.tables["sensations"].items()))
            return Clause(subject, be, (Phrase(en, fr, (en,)),), fr_verb=have)
        if kind < 0.4:
            age = str(2 + int(90 * self.rng.random()))
            return Clause(
                subject, be, (Phrase(f"{age} years old", f"{age} ans", ("[NUM]", "year", "old")),), fr_verb=have
            )
        return Clause(subject, be, (self.predicate(subject, "feeling"),))

    def predicate(self, subject: Phrase, kind: str) -> Phrase:
        """Return an adjective that suits the kind, in agreement with the subject."""
        adjective = self.common(self.words.suits[kind])
        return Phrase(adjective.en, adjective.agree(subject.gender, subject.plural), (adjective.en,))

    def comparing(self, subject: Phrase) -> Clause:
        """Return "is more famous than Paul" or "is as old as my sister"."""
        other = self.people()
        more = self.chance(0.5)
        adjective = self.words.adjectives[self.pick(_COMPARED)] if more else self.common(self.words.suits["feeling"])
        agreed = adjective.agree(subject.gender, subject.plural)
        en = f"more {adjective.en} than {other.en}" if more else f"as {adjective.en} as {other.en}"
        fr = f"{'plus' if more else 'aussi'} {agreed} que {other.fr}"
        return Clause(subject, self.words.verbs["be"], (Phrase(en, fr, (adjective.en, *other.content)),))

    def item(self) -> Noun:
        """Return a noun that has a place and a price."""
        return self.common(self.words.kinds[self.pick(("text", "thing", "device", "clothes", "present"))])

    def placing(self, subject: Phrase) -> Clause:
        """Return where somebody or something is."""
        if self.chance(0.4):
            return Clause(subject, self.words.verbs["be"], (self.place(),))
        thing = self.noun(self.item(), self.pick(("the", "the", *_POSSESSIVES)), described=0.2)
        return Clause(thing, self.words.verbs["be"], (self.spot(thing),))

    def spot(self, thing: Phrase) -> Phrase:
        """Return a place for the thing, not on or in itself: on the table, under the chair, in the box."""
        en, fr, nouns = self.pick(_SPOTS)
        noun = self.pick([noun for noun in nouns if noun not in thing.content])
        return self.after(en, fr, self.noun(self.words.nouns[noun], "the", described=0.2, plural=0))

    def looking(self, _: Phrase) -> Clause:
        """Return a clause about what something is like."""
        kind = self.pick(("text", "thing", "device", "clothes", "food", "drink", "animal", "venue"))
        thing = self.noun(
            self.common(self.words.kinds[kind]), self.pick(("the", "the", "this", *_POSSESSIVES)), described=0.1
        )
        return Clause(thing, self.words.verbs["be"], (self.predicate(thing, kind),))

    def costing(self, _: Phrase) -> Clause:
        """Return a clause about a price in euros."""
        thing = self.noun(self.item(), self.pick(("the", "this", *_POSSESSIVES)))
        en, fr = self.figure().split("/")
        if self.chance(0.4):
            whole, cents = 2 + int(90 * self.rng.random()), 5 + int(95 * self.rng.random())
            en, fr = f"{whole}.{cents:02}", f"{whole},{cents:02}"
        return Clause(thing, self.words.verbs["cost"], (Phrase(f"{en} euros", f"{fr} euros", ("[NUM]", "euro")),))

    # Sentences

    def two_clauses(self) -> Phrase:
        """Return two clauses joined by and, but, because, when or if; the second may speak of the first one's subject."""
        if self.chance(0.3):
            en, fr, lemma = self.pick(_WEATHER)
            word, mot, tense = self.pick((("when", "quand", "present"), ("if", "si", "future")))
            main = statement(self.clause(tense=tense, stative=False))
            return Phrase(f"{word} {en}, {main.en}", f"{mot} {fr} , {main.fr}", (lemma, *main.content))
        en, fr, tense = self.pick(_LINKS)
        first = self.clause(tense=tense or None)
        person, back = first.subject, None
        if person.content and person.person == "il" and first.verb.base != "cost" and self.chance(0.5):
            back = pronoun("she" if person.gender == "f" else "he")
        second = statement(self.resting_or_being(back or self.subject(), first.tense))
        start = statement(first)
        return Phrase(f"{start.en} {en} {second.en}", f"{start.fr} {fr} {second.fr}", (*start.content, *second.content))

    def resting_or_being(self, subject: Phrase, tense: str) -> Clause:
        """Return a short clause in the tense, or in the present where it is about a state."""
        clause = self.feeling(subject) if self.chance(0.5) else Clause(subject, self.words.verbs[self.pick(_RESTING)])
        return clause if "state" in clause.verb.flags else replace(clause, tense=tense)

    def report(self) -> Phrase:
        """Return "Paul thinks that …"."""
        inner = statement(self.clause())
        verb = self.words.verbs[self.pick(("think", "say", "hope"))]
        return statement(Clause(self.subject(), verb, (Phrase(f"that {inner.en}", f"que {inner.fr}", inner.content),)))

    def relative(self) -> Phrase:
        """Return a sentence whose subject has a relative clause: "the man who sells bread is tired"."""
        kind = self.pick(("person", "kin"))
        determiner = "the" if kind == "person" else self.pick(_POSSESSIVES)
        head = self.noun(self.common(self.words.kinds[kind]), determiner, described=0)
        verb = self.common(
            [verb for verb in self.words.verbs.values() if verb.takes and not verb.flags & {"dative", "state"}]
        )
        inner = statement(Clause(head._replace(en="who", fr="qui", content=()), verb, (self.objects(verb),)))
        subject = head._replace(
            en=f"{head.en} {inner.en}", fr=f"{head.fr} {inner.fr}", content=(*head.content, *inner.content)
        )
        return statement(self.resting_or_being(subject, self.pick(("present", "past"))))

    def there(self) -> Phrase:
        """Return "there is …" or "there are no …"."""
        kind = self.pick(("text", "thing", "clothes", "present", "food", "drink", "animal"))
        counted = self.chance(0.3) and kind != "drink"
        phrase = self.noun(self.common(self.words.kinds[kind]), self.figure() if counted else "a", plural=0.4)
        where = self.place() if kind == "animal" else self.spot(phrase)
        be = "there are" if phrase.plural else "there is"
        bare = phrase.plural or kind == "drink"
        content = (*phrase.content, *where.content)
        if bare and not counted and self.chance(0.3):
            return Phrase(f"{be} no {phrase.en} {where.en}", f"il ne y a pas {phrase.negated} {where.fr}", content)
        return Phrase(f"{be} {phrase.en} {where.en}", f"il y a {phrase.fr} {where.fr}", content)

    def order(self) -> Phrase:
        """Return an order, polite at times."""
        verbs = [verb for verb in self.words.verbs.values() if verb.takes and "state" not in verb.flags]
        verb = self.common(verbs)
        what = self.objects(verb)
        en, fr = join(verb.base, verb.particle), verb.present[3]
        rest = self.after("to", "à", self.people()) if "dative" in verb.flags else Phrase("", "")
        content = (verb.base, *what.content, *rest.content)
        if what.person == "il" and self.chance(0.3):
            return Phrase(
                join("do not", en, what.en, rest.en), join("ne", fr, "pas", what.negated or what.fr, rest.fr), content
            )
        polite = self.chance(0.3)
        return Phrase(
            join("please" if polite else "", en, what.en, rest.en),
            join(fr, what.fr, rest.fr, ", s'il vous plaît" if polite else ""),
            content,
        )

    def link(self) -> Phrase:
        """Return a sentence with a link or an e-mail address in it."""
        kind = self.pick((self.address_of, self.look_at, self.write_to, self.found_on))
        return kind()

    def address_of(self) -> Phrase:
        """Return where somebody or a venue can be reached."""
        venue = self.chance(0.5)
        whose = self.noun(self.common(self.words.kinds["venue"]), "the", plural=0) if venue else self.people()
        link = self.page() if venue else self.mail()
        return Phrase(
            f"the address of {whose.en} is {link}",
            f"la adresse de {whose.fr} est {link}",
            ("address", *whose.content, "[URL]"),
        )

    def look_at(self) -> Phrase:
        """Return an order to look at something on a page."""
        link, what = self.page(), self.noun(self.item(), "the")
        return Phrase(
            f"look at {what.en} on {link}", f"regardez {what.fr} sur {link}", ("look", *what.content, "[URL]")
        )

    def write_to(self) -> Phrase:
        """Return an order to send something to an address."""
        link, what = self.mail(), self.noun(self.item(), "the")
        return Phrase(f"send {what.en} to {link}", f"envoyez {what.fr} à {link}", ("send", *what.content, "[URL]"))

    def found_on(self) -> Phrase:
        """Return a statement about something bought, sold or found on a page."""
        link, verb = self.page(), self.words.verbs[self.pick(("buy", "sell", "find"))]
        rest = (
            self.noun(self.item(), self.pick(("a", *_POSSESSIVES))),
            Phrase(f"on {link}", f"sur {link}", ("[URL]",)),
        )
        return statement(Clause(self.subject(), verb, rest, tense=self.pick(("present", "past"))))

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

    def wh_question(self) -> Phrase:
        """Return a question that begins with where, when, why, what, who or how many."""
        kind = self.rng.random()
        if kind < 0.15:
            return statement(self.clause_about(pronoun("who")))
        if kind < 0.3:
            what = self.noun(self.item(), self.pick(("the", *_POSSESSIVES)))
            plural = what.plural
            return Phrase(
                f"where {'are' if plural else 'is'} {what.en}",
                f"où {'sont' if plural else 'est'} {what.fr}",
                what.content,
            )
        if kind < 0.5:
            return self.how_many()
        word = self.pick((("where", "où"), ("when", "quand"), ("why", "pourquoi")))
        clause = self.clause_about(self.subject())
        return question(clause, word=Phrase(*word))

    def clause_about(self, subject: Phrase) -> Clause:
        """Return a clause with an object and no place or time."""
        verb = self.common(
            [verb for verb in self.words.verbs.values() if verb.takes and not verb.flags & {"dative", "state"}]
        )
        tense = self.pick(("present", "past", "future"))
        return Clause(subject, verb, (self.objects(verb),), tense="present" if "nopast" in verb.flags else tense)

    def how_many(self) -> Phrase:
        """Return a question about a number of things."""
        verb = self.words.verbs[self.pick(("buy", "sell", "want", "have", "see", "find", "eat", "lose"))]
        kinds = [kind for kind in verb.takes if kind in ("food", "text", "thing", "clothes", "present", "animal")]
        noun = self.common(self.words.kinds[self.pick(kinds)])
        what = Phrase(f"how many {noun.en_plural}", f"combien de {noun.fr_plural}", (noun.en,))
        return question(Clause(self.subject(), verb, tense="present"), word=what)


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
