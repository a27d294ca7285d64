"""Corpora of sentences with marked entities: from any of their forms to tokens and spans, checked.

A row has tokens and a tag for each (CoNLL columns, Parquet, JSON lines), or raw text and spans in it, in characters:

    {"text": "Ada lives in Paris.", "entities": [{"type": "PER", "start": 0, "end": 3}, …]}

A span's type may also be its `label`, and a span may be a list [start, end, type].
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.cards import catalogue
from nlpseq.corpora import Corpus, Split, load_corpus
from nlpseq.cuts import TOLD_EVERY, Told, untold
from nlpseq.errors import CorpusError, did_you_mean, sentence
from nlpseq.readers import column_names, fault
from nlpseq.settings import TagConfig
from nlpseq.tags import Scheme, Span, detect, illegal_places, is_tag, spans
from nlpseq.text import tokenize

__all__ = ["Sentence", "TaggedCorpus", "Tally", "may_lack_types", "open_tagged", "pieces", "scheme_of", "sentences"]

_TOKENS, _TAGS = ("tokens", "words", "text"), ("tags", "ner_tags", "labels", "entities", "spans")
_STOPS = frozenset(".!?")


class Sentence(NamedTuple):
    """The tokens of a sentence and the entities in it, in order."""

    tokens: list[str]
    entities: list[Span]


class TaggedCorpus(NamedTuple):
    """A corpus and the columns of its tokens and tags, or of its texts and spans."""

    corpus: Corpus
    tokens: str
    tags: str


@dataclass
class Tally:
    """What was found while sentences were read."""

    rows: int = 0
    empty: int = 0  # rows without a token
    illegal: int = 0  # tags and spans that could not stand where they did, repaired
    first: list[str] = field(default_factory=list)  # what is wrong with the first of them


def open_tagged(name: str, reading: TagConfig, *, told: Told = untold) -> TaggedCorpus:
    """Return a corpus and its columns of tokens and tags: those asked for, else the corpus' own, else by their names.

    Raises CorpusError where a column is not there or the corpus is one for something else.
    """
    asked = [reading.tokens, reading.tags]
    card = next((card for card in catalogue() if card.name == name), None)
    if card and card.task != "ner" and not (all(asked) or Path(name).exists()):
        must = "be one of tagged sentences, or come with tokens and tags"
        raise CorpusError(sentence("corpus", must, f"{name} (for {card.task})", quote=False))
    if any(column and column.isdecimal() for column in asked):  # columns by number; those of a .conll file have names
        asked = [reading.tokens or "tokens", reading.tags or "tags"]
    corpus = load_corpus(name, columns=[column for column in asked if column] if all(asked) else None, told=told)
    present = list(next(iter(corpus.splits.values())).columns)
    roles = corpus.card.columns if corpus.card else {}
    columns = []
    for role, column, known in (("tokens", asked[0], _TOKENS), ("tags", asked[1], _TAGS)):
        name_of = column or roles.get(role) or next((one for one in known if one in present), None)
        if name_of not in present:
            must = f"be a column of {corpus.name} ({column_names(present)})"
            found = f'"{name_of}"{did_you_mean(name_of, present)}' if name_of else "absent"
            raise CorpusError(sentence(role, must, found, quote=False))
        columns.append(name_of)
    if corpus.card is None and not all(asked):  # a file of one's own is cut into splits by its tokens
        corpus = load_corpus(name, columns=columns, told=told)
    return TaggedCorpus(corpus, columns[0], columns[1])


def scheme_of(source: TaggedCorpus, asked: str) -> Scheme:
    """Return the scheme of a corpus' tags: the one asked for, or where that is `auto` the one that is seen.

    Looked at is the whole of a file that was cut, else train, else the first split: a few rows tell little.
    """
    if asked != "auto":
        return asked  # type: ignore[return-value]
    splits = source.corpus.splits
    split = source.corpus.whole or splits.get("train") or next(iter(splits.values()))
    return detect(tags for _, tags in _rows(source, split) if isinstance(tags, list) and tags)


def sentences(
    source: TaggedCorpus, split: Split, scheme: Scheme, *, repair: bool, tally: Tally, told: Told = untold
) -> Iterator[Sentence]:
    """Yield the sentences of a split that have tokens, and count into `tally` what was met.

    repair: read what is not legal as conlleval does, spans that cut a token as the whole of it, and count it. Raises
    CorpusError, with file and line, for rows that are no tagged sentence, and, unless `repair`, after the last row,
    where anything was not legal.
    """
    tagged = False
    for index, (tokens, marks) in enumerate(_rows(source, split)):
        tally.rows += 1
        if tally.rows % TOLD_EVERY == 0:
            told(tally.rows)
        if not tokens:
            tally.empty += 1
            continue
        tagged = isinstance(marks, list)
        if isinstance(marks, list):
            entities, wrong = spans(marks), [_shown(tokens, marks, place) for place in illegal_places(marks, scheme)]
        else:
            entities, wrong = marks
        tally.illegal += len(wrong)
        if wrong and not tally.first:
            tally.first.append(f"{wrong[0]} ({split.where(index)})")
        yield Sentence(tokens, entities)
    if tally.illegal and not repair:
        how = "--scheme names another, --illegal repair reads them as conlleval does"
        must = (
            f"be legal {scheme.upper()} ({how})" if tagged else "mark whole tokens once (--illegal repair makes it so)"
        )
        more = f"not so in {tally.illegal:,} place(s), the first: {tally.first[0]}"
        raise CorpusError(sentence(_called(source.tags), must, more, quote=False))


def may_lack_types(source: TaggedCorpus, split: str, *, repair: bool) -> bool:
    """Return whether entities of types that train lacks count as missed: a cut of ours made them so, or it is asked."""
    return repair or (source.corpus.whole is not None and split in source.corpus.splits)


def pieces(tokens: Sequence[str], longest: int) -> list[int]:
    """Return where a sentence is cut so that no piece is longer than `longest`: behind a stop where there is one.

    The places are 0, the starts of further pieces, and the number of tokens.
    """
    cuts = [0]
    while len(tokens) - cuts[-1] > longest:
        window = range(cuts[-1] + longest, cuts[-1], -1)
        cuts.append(next((place for place in window if tokens[place - 1] in _STOPS), window[0]))
    return [*cuts, len(tokens)]


def _shown(tokens: Sequence[str], tags: Sequence[str], place: int) -> str:
    if place == len(tags):
        return f"{tags[-1]} at the end of a sentence"
    before = tags[place - 1] if place else "the start of a sentence"
    return f'{tags[place]} behind {before}, token {place + 1}, "{tokens[place][:40]}"'


def _called(column: str) -> str:
    return f"column {column}" if column.isdecimal() else column


_Spans = tuple[list[Span], list[str]]


def _rows(source: TaggedCorpus, split: Split) -> Iterator[tuple[list[str], list[str] | _Spans]]:
    """Yield the tokens of each row with its tags, or with its spans and what is wrong with them."""
    for index, row in enumerate(split):
        tokens, marks = row[source.tokens], row[source.tags]
        if isinstance(tokens, str):
            if not isinstance(marks, list | None):
                raise fault(_called(source.tags), "be a list of spans", f"is {marks}", split.where(index))
            yield _from_text(tokens, marks, lambda: split.where(index))  # noqa: B023 - called before the next row
            continue
        tokens, marks = tokens or [], marks or []
        problem = _problem(tokens, marks, source)
        if problem:
            raise fault(_called(source.tags), problem[0], problem[1], split.where(index))
        yield list(tokens), list(marks)


def _problem(tokens: Any, tags: Any, source: TaggedCorpus) -> tuple[str, str] | None:
    """Return what a row's tags must be and what they are instead, None where all is well."""
    if not (isinstance(tokens, list) and all(isinstance(token, str) and token for token in tokens)):
        return f"stand beside {source.tokens}, a list of texts that are not empty", "these are not"
    if not isinstance(tags, list) or len(tags) != len(tokens):
        count = f"there are {len(tags):,} for {len(tokens):,}" if isinstance(tags, list) else "they are no list"
        return "be one for each token", count
    strange = next((tag for tag in tags if not is_tag(tag)), None)
    if strange is not None or None in tags:
        return "be O, or B-, I-, E- or S- with a type", f'one is "{strange}"'
    return None


def _from_text(text: str, marks: Any, where: Any) -> tuple[list[str], _Spans]:
    """Return the tokens of raw text, the entities that its spans mark, and which spans were not legal."""
    tokens = tokenize(text)
    starts, ends = [token.start for token in tokens], [token.end for token in tokens]
    found: list[Span] = []
    wrong: list[str] = []
    for mark in sorted((_mark(mark, len(text), where) for mark in marks or []), key=lambda one: (one.start, -one.end)):
        inside = range(bisect_right(ends, mark.start), bisect_left(starts, mark.end))
        overlaps = bool(inside and found and found[-1].end > inside[0])
        if inside and not overlaps:
            found.append(Span(mark.type, inside[0], inside[-1] + 1))
        if not inside or overlaps or (starts[inside[0]], ends[inside[-1]]) != (mark.start, mark.end):
            kind = "overlaps another" if overlaps else "does not stand at the edges of tokens"
            wrong.append(f'{mark.type} "{text[mark.start : mark.end][:40]}" {kind}')
    return [token.text for token in tokens], (found, wrong)


def _mark(mark: Any, length: int, where: Any) -> Span:
    """Return a span in characters as a row has it."""
    if isinstance(mark, Mapping):
        values = mark.get("start"), mark.get("end"), mark.get("type", mark.get("label"))
    else:
        values = tuple(mark) if isinstance(mark, Sequence) and not isinstance(mark, str) else ()
    match values:
        case (int(start), int(end), str(kind)) if 0 <= start < end <= length and kind:
            return Span(kind, start, end)
    raise fault("entities", "be spans with start, end and type, inside the text", f"one is {mark}", where())
