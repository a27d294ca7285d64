"""Noun phrases and clauses in English and French at once: agreement, negation, questions, elision and contraction."""

from __future__ import annotations

from typing import NamedTuple

from nlpseq.grammars.lexicon import PERSONS, Adjective, Noun, Verb

__all__ = [
    "FRENCH_SPACE",
    "Clause",
    "Phrase",
    "finish",
    "join",
    "nominal",
    "pronoun",
    "question",
    "statement",
]

# The narrow no-break space of French typography, in numbers and before a question mark.
FRENCH_SPACE = "\u202f"

_VOWELS = frozenset("aeiouhâàéèêëîïôöûüœ")
_ELIDED = frozenset({"je", "me", "se", "ne", "de", "le", "la", "que"})
_CONTRACTED = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}
_PRONOUNS = {
    "I": ("je", "je", "m", False),
    "you": ("vous", "vous", "m", False),
    "he": ("il", "il", "m", False),
    "she": ("elle", "il", "f", False),
    "we": ("nous", "nous", "m", True),
    "they": ("ils", "ils", "m", True),
    "who": ("qui", "il", "m", False),
}
# Masculine, feminine, plural.
_DETERMINERS = {
    "the": ("le", "la", "les"),
    "this": ("ce", "cette", "ces"),
    "my": ("mon", "ma", "mes"),
    "your": ("votre", "votre", "vos"),
    "his": ("son", "sa", "ses"),
    "her": ("son", "sa", "ses"),
}
_BEFORE_VOWEL = {"ce": "cet", "ma": "mon", "sa": "son"}
_CLITICS = {"je": "me", "il": "se", "nous": "nous", "vous": "vous", "ils": "se"}
_HELPERS = {
    "être": ("suis", "est", "sommes", "êtes", "sont"),
    "avoir": ("ai", "a", "avons", "avez", "ont"),
    "near": ("vais", "va", "allons", "allez", "vont"),
    "can": ("peux", "peut", "pouvons", "pouvez", "peuvent"),
    "want": ("veux", "veut", "voulons", "voulez", "veulent"),
}
_SHORT = {"will": "won't", "can": "can't", "am": "am not"}


class Phrase(NamedTuple):
    """A piece of a sentence in both languages, with the lemmas of its content words and, for a subject, its agreement.

    French is kept before elision ("de le eau"); `negated` is what it becomes after a negation ("de eau");
    `human`: somebody, whom "he" or "she" may refer back to.
    """

    en: str
    fr: str
    content: tuple[str, ...] = ()
    negated: str | None = None
    person: str = "il"
    gender: str = "m"
    plural: bool = False
    human: bool = False


class Clause(NamedTuple):
    """A subject, a verb and what follows; `fr_verb`: the French verb where it is another ("I am hungry", "j'ai faim").

    tense: present, past, future, near ("is going to"), can or want; polarity: "", "not" or "never";
    adverb: English and French; short: "don't" rather than "do not".
    """

    subject: Phrase
    verb: Verb
    rest: tuple[Phrase, ...] = ()
    tense: str = "present"
    polarity: str = ""
    adverb: tuple[str, str] | None = None
    fr_verb: Verb | None = None
    short: bool = False


def pronoun(en: str) -> Phrase:
    """Return the subject pronoun `en`: I, you, he, she, we, they or who."""
    fr, person, gender, plural = _PRONOUNS[en]
    return Phrase(en, fr, (), None, person, gender, plural)


def nominal(noun: Noun, determiner: str, *, adjective: Adjective | None = None, plural: bool = False) -> Phrase:
    """Return a noun phrase.

    determiner: "a" (partitive with what cannot be counted), "any" (the kind as a whole: "milk", "le lait"), "the",
    "this", a possessive, or a number as "two/deux" or "1,500/1 500", which makes the noun plural.
    """
    count, _, french_count = determiner.partition("/")
    plural = plural or bool(french_count)
    mass = noun.kind in ("staple", "drink")
    core = noun.fr_plural if plural else noun.fr
    if adjective and adjective.before:
        core = f"{adjective.agree(noun.gender, plural, _starts_with_vowel(core))} {core}"
    elif adjective:
        core = f"{core} {adjective.agree(noun.gender, plural)}"
    prenominal = adjective is not None and adjective.before
    fr = french_count or _determiner(noun, determiner, core, plural=plural, prenominal=prenominal)
    lemmas = [count] if french_count else []
    described = adjective.en if adjective else ""
    return Phrase(
        en=join(_english_determiner(count, plural=plural, mass=mass), described, noun.en_plural if plural else noun.en),
        fr=f"{fr} {core}",
        content=(*lemmas, *([described] if described else []), noun.en),
        negated=f"de {core}" if determiner == "a" else None,
        person="ils" if plural else "il",
        gender=noun.gender,
        plural=plural,
        human=noun.kind in ("person", "kin"),
    )


def statement(clause: Clause) -> Phrase:
    """Return the clause as a statement, without capital or full stop."""
    operator, lexical, finite = _verb_in_english(clause)
    adverb = clause.adverb[0] if clause.adverb else ""
    never = "never" if clause.polarity == "never" else ""
    if clause.polarity == "not":
        verb = join(_negated(operator, clause.short), adverb, lexical)
    else:
        verb = join(never, adverb, finite) if finite else join(operator, never, adverb, lexical)
    return _assemble(clause, join(clause.subject.en, verb), clause.subject.fr)


def question(clause: Clause, *, word: Phrase | None = None) -> Phrase:
    """Return the clause as a question, without capital or mark; word: what stands in front ("where", "où")."""
    word = word or Phrase("", "")
    operator, lexical, _ = _verb_in_english(clause)
    if clause.polarity == "not":
        operator = "aren't" if operator == "am" else _negated(operator, True)
    adverb = clause.adverb[0] if clause.adverb else ""
    front = join(word.en, operator, clause.subject.en, adverb, lexical)
    asked = _assemble(clause, front, join(word.fr, "est-ce que", clause.subject.fr))
    return asked._replace(content=(*word.content, *asked.content))


def finish(phrase: Phrase, *, mark: str, capital: bool) -> tuple[str, str]:
    """Return the English and the French sentence; a sentence has capital and mark (. or ?), a bare phrase neither."""
    en, fr = english(phrase.en), french(phrase.fr)
    if not capital:
        return en, fr
    gap = FRENCH_SPACE if mark == "?" else ""
    return en[0].upper() + en[1:] + mark, fr[0].upper() + fr[1:] + gap + mark


def english(text: str) -> str:
    """Return English words with "a" or "an" as the next word asks, and commas closed up."""
    words = text.replace(" ,", ",").split()
    for place, word in enumerate(words[:-1]):
        if word == "a" and words[place + 1][0] in "aeiou":
            words[place] = "an"
    return " ".join(words)


def french(text: str) -> str:
    """Return French words with elision ("l'eau", "s'il"), contraction ("du", "aux") and commas closed up."""
    words = text.replace(" ,", ",").split(" ")
    out = ""
    while words:
        word, after = words.pop(0), words[0] if words else ""
        both = _CONTRACTED.get((word, after))
        if word in _ELIDED and _starts_with_vowel(after):
            out += word[:-1] + "'"
        elif word == "si" and after == "il":
            out += "s'"
        elif both and not (after == "le" and _starts_with_vowel(words[1])):
            out += both + " "
            words.pop(0)
        else:
            out += word + " "
    return out.rstrip(" ")


def join(*words: str) -> str:
    """Return the words that are not empty with one space between them."""
    return " ".join(filter(None, words))


def _starts_with_vowel(word: str) -> bool:
    return word == "y" or word[:1].lower() in _VOWELS


def _determiner(noun: Noun, determiner: str, core: str, *, plural: bool, prenominal: bool) -> str:
    column = 2 if plural else "mf".index(noun.gender)
    if determiner == "a":
        if plural:
            return "de" if prenominal else "des"
        if noun.kind in ("staple", "drink"):
            return ("de le", "de la")[column]
        return ("un", "une")[column]
    form = _DETERMINERS["the" if determiner == "any" else determiner][column]
    return _BEFORE_VOWEL.get(form, form) if _starts_with_vowel(core) else form


def _english_determiner(word: str, *, plural: bool, mass: bool) -> str:
    if word == "any" or (word == "a" and (plural or mass)):
        return ""
    return "these" if word == "this" and plural else word


def _negated(operator: str, short: bool) -> str:
    if short:
        return _SHORT.get(operator, operator + "n't")
    return "cannot" if operator == "can" else operator + " not"


def _verb_in_english(clause: Clause) -> tuple[str, str, str]:
    """Return operator, what follows it, and the finite form of a statement where that needs no operator."""
    verb, third = clause.verb, clause.subject.person == "il"
    be = {"je": "am", "il": "is"}.get(clause.subject.person, "are")
    do = "does" if third else "do"
    base = join(verb.base, verb.particle)
    if clause.tense == "present":
        if "copula" in verb.flags:
            return be, "", ""
        return do, base, join(verb.third if third else verb.base, verb.particle)
    if clause.tense == "past":
        return "did", base, join(verb.past, verb.particle)
    if clause.tense == "near":
        return be, "going to " + base, ""
    if clause.tense == "want":
        return do, "want to " + base, ("wants to " if third else "want to ") + base
    return {"future": "will"}.get(clause.tense, clause.tense), base, ""


def _verb_in_french(clause: Clause) -> list[str]:
    subject, verb = clause.subject, clause.fr_verb or clause.verb
    person = PERSONS.index(subject.person)
    clitic = _CLITICS[subject.person] if "self" in verb.flags else ""
    after = ""
    if clause.tense == "present":
        finite = join(clitic, verb.present[person])
    elif clause.tense == "future":
        finite = join(clitic, verb.future[person])
    elif clause.tense == "past":
        moved = bool(verb.flags & {"etre", "self"})
        finite = join(clitic, _HELPERS["être" if moved else "avoir"][person])
        ending = ("e" if subject.gender == "f" else "") + ("s" if subject.plural else "")
        after = verb.participle + (ending if moved else "")
    else:
        finite, after = _HELPERS[clause.tense][person], join(clitic, verb.infinitive)
    no = {"": "", "not": "pas", "never": "jamais"}[clause.polarity]
    return ["ne" if no else "", finite, no, clause.adverb[1] if clause.adverb else "", after]


def _assemble(clause: Clause, en: str, front: str) -> Phrase:
    subject = clause.subject
    tail = [part.negated if clause.polarity and part.negated else part.fr for part in clause.rest]
    lemmas = [] if "copula" in clause.verb.flags else [clause.verb.base]
    lemmas += ["want"] if clause.tense == "want" else []
    lemmas += [clause.adverb[0]] if clause.adverb else []
    return subject._replace(
        en=join(en, *(part.en for part in clause.rest)),
        fr=join(front, *_verb_in_french(clause), *tail),
        content=(*subject.content, *lemmas, *(lemma for part in clause.rest for lemma in part.content)),
    )
