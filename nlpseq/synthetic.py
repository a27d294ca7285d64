"""The embedded corpora: seeded grammars, split so that no held-out example is near one of the training examples.

Two sentences of the phrasebook are near where fewer than two content words tell them apart: the bags of their lemmas
become equal once at most one word of each is taken away. The grammar says which words count: nouns, verbs, adjectives,
adverbs, names, numbers and links do, pronouns, articles and auxiliaries do not. Where only numbers or links differ,
they are near too. What the almanac holds out are pairs of words: its text has them, but never both in one document.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from types import MappingProxyType
from typing import Any

from nlpseq.errors import CorpusError, did_you_mean, sentence
from nlpseq.grammars.almanac import read_almanac
from nlpseq.grammars.newswire import Report, read_newswire
from nlpseq.grammars.phrasebook import Sentence, phrasebook
from nlpseq.grammars.reviews import Review, read_reviews
from nlpseq.share import share_path

__all__ = ["generate", "names", "near_patterns", "word_forms"]

Row = dict[str, Any]

_TRAIN, _DOCUMENTS, _HELD_OUT = 18_000, 24_000, 1_000  # rows: pairs of train, documents of train, of any other
_REVIEWS = {"train": 6_000, "validation": 500, "test": 1_000}
# How many sentences to hold out by their number of content words (some will turn out to have a rare word form), and of
# how many parts of the lexicon the words of one sentence must share one. Drawn from anywhere, short held-out sentences
# would be near nine in ten of their kind, which then could not be learnt; within a part they are near each other.
_QUOTA = ((3, 950), (4, 1060), (5, 110))
_PARTS = {3: 5, 4: 2, 5: 1}
_SEEN = 5  # how often each held-out word form stands in train, at least
_FORM = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*['’]?|[.?,]")
_MASKED = re.compile(r"\S*(?:://|@|www\.)\S*")


def names() -> tuple[str, ...]:
    """Return the names of the embedded corpora."""
    return tuple(_CORPORA)


def generate(name: str, *, seed: int = 1) -> dict[str, list[Row]]:
    """Return the splits of an embedded corpus, each a list of rows, which are dicts by column.

    name: one of `names()`; seed: any integer, the same one gives the same rows on every machine.
    phrasebook: train, validation and test, 18,000, 1,000 and 1,000 pairs {"en", "fr"}, no English sentence twice.
    almanac: train and validation, 24,000 and 1,000 documents {"text"}, none twice, and 534 questions `analogies`
    {"category", "a", "b", "c", "d"}, which no seed changes. reviews: train, validation and test, 6,000, 500 and 1,000
    {"text", "label", "kind"}. newswire: train, validation and test, 4,000, 500 and 1,000 sentences {"tokens", "tags"}.
    Raises CorpusError where no corpus has that name.
    """
    if name not in names():
        found = f'"{name}"{did_you_mean(name, names())}'
        raise CorpusError(sentence("corpus", f"be an embedded one ({', '.join(names())})", found, quote=False))
    return _CORPORA[name](random.Random(seed))


def near_patterns(content: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the sorted lemmas, the same with each one left out, and the same with numbers and links masked.

    Two examples are near where these lists meet: fewer than two words differ, or nothing but numbers and links.
    """
    lemmas = tuple(sorted(content))
    masked = tuple(
        sorted("[URL]" if _MASKED.match(word) else "[NUM]" if word[0].isdigit() else word for word in content)
    )
    return [lemmas, masked, *(lemmas[:i] + lemmas[i + 1 :] for i in range(len(lemmas)))]


def word_forms(text: str) -> list[str]:
    """Return the words and marks of a sentence as they stand, numbers and links left out; "l'" is a word of its own."""
    return [part for form in _FORM.findall(_MASKED.sub(" ", text)) for part in re.findall(r"[^'’]+['’]?", form)]


def _fresh(draw: Callable[[], Sentence]) -> Iterator[Sentence]:
    """Yield new sentences for ever, but nothing near "I drink milk", and never both of its words."""
    seen: set[str] = set()
    taboo = set(near_patterns(("drink", "milk")))
    while True:
        drawn = draw()
        key = drawn.en.casefold().rstrip(".?")
        words = {"drink", "milk"}.intersection(drawn.content)
        if key in seen or len(words) == 2 or (words and not taboo.isdisjoint(near_patterns(drawn.content))):
            continue
        seen.add(key)
        yield drawn


def _split(fresh: Iterator[Sentence], rng: random.Random) -> tuple[list[Sentence], list[Sentence], list[Sentence]]:
    quota = dict(_QUOTA)
    held_out: list[Sentence] = []
    others: list[Sentence] = []
    while any(quota.values()):
        drawn = next(fresh)
        size = min(len(drawn.content), max(quota))
        if quota.get(size) and _together(drawn.content, _PARTS[size]):
            quota[size] -= 1
            held_out.append(drawn)
        else:
            others.append(drawn)
    reserved = {pattern for drawn in held_out for pattern in near_patterns(drawn.content)}
    far = (drawn for drawn in chain(others, fresh) if reserved.isdisjoint(near_patterns(drawn.content)))
    train = list(islice(far, _TRAIN))
    usual = _usual_forms(train)
    kept = sorted((drawn for drawn in held_out if usual.issuperset(_forms(drawn))), key=lambda _: rng.random())
    return train, kept[:_HELD_OUT], kept[_HELD_OUT : 2 * _HELD_OUT]


def _together(content: Iterable[str], parts: int) -> bool:
    """Return True where all lemmas fall into the same one of `parts` arbitrary parts of the lexicon."""
    return len({zlib.crc32(lemma.encode()) % parts for lemma in content}) == 1


def _forms(drawn: Sentence) -> Iterator[tuple[str, str]]:
    yield from (("en", form) for form in word_forms(drawn.en))
    yield from (("fr", form) for form in word_forms(drawn.fr))


def _usual_forms(train: Iterable[Sentence]) -> set[tuple[str, str]]:
    counts = Counter(form for drawn in train for form in _forms(drawn))
    return {form for form, count in counts.items() if count >= _SEEN}


def _rows(sentences: Iterable[Sentence]) -> list[Row]:
    return [{"en": drawn.en, "fr": drawn.fr} for drawn in sentences]


def _phrasebook(rng: random.Random) -> dict[str, list[Row]]:
    train, validation, test = _split(_fresh(phrasebook(rng)), rng)
    return {"train": _rows(train), "validation": _rows(validation), "test": _rows(test)}


def _almanac(rng: random.Random) -> dict[str, list[Row]]:
    almanac = read_almanac(share_path("corpora", "almanac", "lexicon.toml"))
    rows = ({"text": text} for text in almanac.documents(rng))
    train, validation = (list(islice(rows, count)) for count in (_DOCUMENTS, _HELD_OUT))
    return {"train": train, "validation": validation, "analogies": almanac.analogies(held_out=True)}


def _reviews(rng: random.Random) -> dict[str, list[Row]]:
    """Draw what is held out first, and then for train what is not near any of it."""
    drawn = read_reviews(share_path("corpora", "reviews", "lexicon.toml")).reviews(rng)
    held_out = {name: list(islice(drawn, _REVIEWS[name])) for name in ("validation", "test")}
    reserved = {pattern for rows in held_out.values() for one in rows for pattern in near_patterns(one.content)}
    far = (one for one in drawn if reserved.isdisjoint(near_patterns(one.content)))
    splits: dict[str, list[Review]] = {"train": list(islice(far, _REVIEWS["train"])), **held_out}
    return {name: [_row(one) for one in rows] for name, rows in splits.items()}


def _row(review: Review) -> Row:
    return {"text": review.text, "label": review.label, "kind": review.kind}


def _newswire(rng: random.Random) -> dict[str, list[Row]]:
    """Return the splits; a quarter of the names stands in validation and test only, each quarter's half in one."""
    newswire = read_newswire(share_path("corpora", "newswire", "lexicon.toml"))
    names = sorted(newswire.names, key=lambda _: rng.random())
    quarter = len(names) // 8
    unseen = {"test": names[:quarter], "validation": names[quarter : 2 * quarter]}
    known = names[2 * quarter :]
    splits: dict[str, list[Report]] = {}
    for split, number in (("test", 1000), ("validation", 500)):
        even = unseen[split] * (len(known) // quarter)  # so that either kind of name is as likely
        splits[split] = list(islice(_new_reports(newswire.reports(rng, [*known, *even]), set()), number))
    held_out = chain.from_iterable(splits.values())
    reserved = {pattern for report in held_out for pattern in near_patterns(report.content)}
    splits["train"] = list(islice(_new_reports(newswire.reports(rng, known), reserved), 4000))
    return {
        split: [{"tokens": list(report.tokens), "tags": list(report.tags)} for report in splits[split]]
        for split in ("train", "validation", "test")
    }


def _new_reports(reports: Iterator[Report], reserved: set[tuple[str, ...]]) -> Iterator[Report]:
    """Yield sentences that have not come before and are near none of those that are reserved."""
    seen: set[tuple[str, ...]] = set()
    for report in reports:
        if report.tokens not in seen and reserved.isdisjoint(near_patterns(report.content)):
            seen.add(report.tokens)
            yield report


_CORPORA: Mapping[str, Callable[[random.Random], dict[str, list[Row]]]] = MappingProxyType(
    {"almanac": _almanac, "newswire": _newswire, "phrasebook": _phrasebook, "reviews": _reviews}
)
