"""Scores and report of a tagger on a split."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from nlpseq.baselines import commonest_tags
from nlpseq.calibration import expected_calibration_error, reliability
from nlpseq.entity_scores import NOTHING, TypeScore, confusion, entity_scores, f1_value
from nlpseq.errors import CorpusError, sentence
from nlpseq.loop import read_log
from nlpseq.metrics import Score, accuracy
from nlpseq.report import Block, Chart, Report, Samples, Series, Table
from nlpseq.report import Span as Piece
from nlpseq.tagged import Sentence, TaggedCorpus, Tally, may_lack_types
from nlpseq.tagged_ids import split_up, unknown_type
from nlpseq.tagger import LONGEST, Tagged, Tagger
from nlpseq.tags import OUTSIDE, Span, spans, to_tags
from nlpseq.vocab import UNK

__all__ = ["fit_outside_penalty", "fit_span_temperature", "ner_report", "scores_line"]

_BASELINE_ROWS = 50_000  # training sentences up to which the baseline is worked out
_SAMPLES = 20
_TONES = ("a1", "a2", "a3", "a4", "a5", "a6")
_EVALUATIONS = 18  # of the search for the temperature

Read = Callable[[str, Tally], Iterator[Sentence]]


def fit_outside_penalty(tagger: Tagger, held: Sequence[Sentence]) -> float:
    """Return the nats that `O` is to be lowered by, so that F1 by conlleval's rules is highest (Minkov et al. 2006).

    held: sentences that were not trained on. The likeliest tags have about the entities that are likelier than not; F1
    is highest with those whose (calibrated) probability is above half of the F1 that is reached (Lipton et al. 2014),
    so a tagger of a hard text gains by naming more. Tried are -1 to 4 nats in quarters; of those that cost less than
    two entities of the best the one nearest to 0 is taken, or a handful of sentences would choose by chance.
    """
    parts = [part for one in held for part in split_up(one, LONGEST)]
    lattices = list(tagger.lattices([part.tokens for part in parts]))
    wanted = [to_tags(part.entities, len(part.tokens), "iobes") for part in parts]
    asked = sum(len(part.entities) for part in parts)

    def f1(nats: float) -> float:
        found = [[OUTSIDE]] * len(parts)
        for group, lattice in lattices:
            rows = tagger.best(lattice, nats).tolist()
            for number, path in zip(group, rows, strict=True):
                found[number] = [tagger.lexicon.tags[tag] for tag in path[: len(wanted[number])]]
        return f1_value(found, wanted)

    values = {quarters / 4: f1(quarters / 4) for quarters in range(-4, 17)}
    least = max(values.values()) - 100.0 * 2 / max(1, asked)
    return min((nats for nats, value in values.items() if value >= least), key=abs)


def fit_span_temperature(tagger: Tagger, held: Sequence[Sentence]) -> float:
    """Return the temperature by which the entities found in sentences have the likeliest confidences (Guo et al. 2017).

    held: sentences that were not trained on. It is 1 where nothing is found, else between 0.2 and 12: the likelihood of
    being right is searched over its logarithm by golden sections. Two imagined answers, one of them wrong, are spread
    over those found (after Platt 1999), or a handful that are all right would make each answer certain.
    """
    parts = [part for one in held for part in split_up(one, LONGEST)]
    wanted = [set(part.entities) for part in parts]
    lattices = list(tagger.lattices([part.tokens for part in parts]))

    def answers(temperature: float) -> Iterator[tuple[float, bool]]:
        for group, lattice in lattices:
            for number, path in zip(group, tagger.read(lattice, temperature), strict=True):
                for one in spans([tagger.lexicon.tags[tag] for tag in path.tags]):
                    yield path.confidence(one.start, one.end), one in wanted[number]

    if not (found := sum(1 for _ in answers(1.0))):
        return 1.0
    prior = 2 / (found + 2)

    def surprise(log_temperature: float) -> float:
        total = 0.0
        for sure, right in answers(math.exp(log_temperature)):
            share = (1 - prior) * right + prior / 2
            total -= share * math.log(max(sure, 1e-7)) + (1 - share) * math.log(max(1 - sure, 1e-7))
        return total

    low, high, share = math.log(0.2), math.log(12), (math.sqrt(5) - 1) / 2
    left, right = high - share * (high - low), low + share * (high - low)
    values = surprise(left), surprise(right)
    for _ in range(_EVALUATIONS):
        if values[0] < values[1]:
            high, right, left = right, left, right - share * (right - low)
            values = surprise(left), values[0]
        else:
            low, left, right = left, right, left + share * (high - left)
            values = values[1], surprise(right)
    return math.exp((low + high) / 2)


def ner_report(
    tagger: Tagger, source: TaggedCorpus, split: str, *, read: Read, repair: bool = False, log: Path | None = None
) -> Report:
    """Return scores, counts and samples of a tagger on a split of a corpus.

    read: gives the sentences of a split, and counts what it met; repair: count entities of types that the training did
    not have as missed, as in a split that nlpseq has cut; log: `metrics.jsonl` of the training, for the curves. Raises
    CorpusError where the split is not there, has no sentence, or else such a type.
    """
    started, tally = time.perf_counter(), Tally()
    held = list(read(split, tally))
    if not held:
        raise CorpusError(sentence(split, "have at least one sentence", "empty", source.corpus.name, quote=False))
    further = {entity.type for one in held for entity in one.entities} - tagger.lexicon.entities.keys()
    if further and not may_lack_types(source, split, repair=repair):
        raise unknown_type(min(further), tagger.lexicon, f"{source.corpus.name}, {split}")
    tagging = time.perf_counter()
    found = tagger.tag_tokens([one.tokens for one in held])
    seconds = time.perf_counter() - tagging
    wanted = [to_tags(one.entities, len(one.tokens), "iob2") for one in held]
    scored = entity_scores([one.tags for one in found], wanted)
    sure, right = _confidences(found, held)
    plain, _ = _confidences(tagger.at(temperature=1.0).tag_tokens([one.tokens for one in held]), held)
    groups = _familiarity(tagger, found, held)
    scores = dict(scored.scores)
    if len(sure):
        scores |= {"ece": _ece(sure, right), "ece_uncalibrated": _ece(plain, right)}
    scores |= {f"recall_{name}": accuracy(*group) for name, group in groups.items() if group[1]}
    own = tagger.facts["corpus"] == source.corpus.name  # curves and baseline are of the training's corpus
    if own and "train" in source.corpus.splits and tagger.facts["train"]["rows"] <= _BASELINE_ROWS:
        train = [(one.tokens, to_tags(one.entities, len(one.tokens), "iob2")) for one in read("train", Tally())]
        guessed = commonest_tags(train, [one.tokens for one in held])
        scores["f1_commonest_tag"] = entity_scores(guessed, wanted).scores["f1"]
    blocks = [
        *(_curves(log) if own else []),
        *([reliability(sure, right)] if len(sure) else []),
        _types(scored.types),
        _confusions(found, held),
        _familiar(groups),
        *_worst(tagger, found, held),
    ]
    return Report(
        stage="ner",
        corpus=source.corpus.name,
        split=split,
        scores=scores,
        seconds=round(time.perf_counter() - started, 3),
        settings={k: v for k, v in tagger.facts["fingerprint"].items() if v not in ("", None)},
        counts=_counts(tagger, found, held, tally) | {"words_per_second": round(_tokens(held) / seconds, 1)},
        blocks=blocks,
    )


def scores_line(report: Report) -> str:
    """Return the scores in one line, as the command line prints them."""
    shown = (f"{name} {score.value:.{4 if name.startswith('ece') else 2}f}" for name, score in report.scores.items())
    return ", ".join(shown) + f" ({report.split})"


def _tokens(held: Sequence[Sentence]) -> int:
    return sum(len(one.tokens) for one in held)


def _spans(one: Tagged) -> list[Span]:
    return [Span(entity.type, entity.first, entity.last + 1) for entity in one.entities]


def _confidences(found: Sequence[Tagged], held: Sequence[Sentence]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the confidence of each entity that was found, and whether it is right."""
    pairs = [
        (entity.confidence, span in set(one.entities))
        for ours, one in zip(found, held, strict=True)
        for entity, span in zip(ours.entities, _spans(ours), strict=True)
    ]
    return torch.tensor([sure for sure, _ in pairs]), torch.tensor([right for _, right in pairs], dtype=torch.bool)


def _ece(sure: torch.Tensor, right: torch.Tensor) -> Score:
    return Score(
        expected_calibration_error(sure, right),
        None,
        None,
        len(sure),
        "of:entities-found|bins:15|width:equal|scale:share",
    )


_FAMILIAR = {
    "seen": "the same",
    "other_type": "of another type alone",
    "unseen_whole": "not the whole of it",
    "unseen": "not each of its words",
}


def _familiarity(tagger: Tagger, found: Sequence[Tagged], held: Sequence[Sentence]) -> dict[str, tuple[int, int]]:
    """Return how many entities were found, and of how many, by whether the training split has them."""
    seen = tagger.lexicon.entities
    anywhere = frozenset[str]().union(*seen.values())
    right: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for ours, one in zip(found, held, strict=True):
        given = set(_spans(ours))
        for entity in one.entities:
            name = " ".join(one.tokens[entity.start : entity.end])
            whole = (
                "seen" if name in seen.get(entity.type, ()) else "other_type" if name in anywhere else "unseen_whole"
            )
            unseen = not all(tagger.lexicon.saw(token) for token in one.tokens[entity.start : entity.end])
            for group in (whole, "unseen") if unseen else (whole,):
                wanted[group] += 1
                right[group] += entity in given
    return {group: (right[group], wanted[group]) for group in _FAMILIAR}


def _familiar(groups: Mapping[str, tuple[int, int]]) -> Block:
    rows = [
        (_FAMILIAR[g], wanted, right, 100 * right / wanted if wanted else None) for g, (right, wanted) in groups.items()
    ]
    note = (
        "An entity is the same where its text and its type are. Those of the last row stand in one of the others too."
    )
    return Table("Recall by what the training split has", ("in training", "wanted", "found", "recall %"), rows, note)


def _curves(log: Path | None) -> list[Block]:
    if not (records := read_log(log)):
        return []

    def series(key: str, name: str) -> Series:
        points = [(r["step"], r[key]) for r in records if key in r]
        return Series(name, [x for x, _ in points], [y for _, y in points])

    losses = [series("loss", "training"), series("validation_loss", "validation")]
    score = series("validation_f1", "F1")
    return [Chart("Loss", losses, "step", "nats per token"), Chart("F1 on validation", [score], "step", "percent")]


def _types(types: Sequence[TypeScore]) -> Block:
    titles = ("type", "wanted", "found", "right", "precision %", "recall %", "F1 %", "low", "high")
    return Table("Types", titles, types, "By conlleval's rules; the interval of F1 is a bootstrap over sentences.")


def _confusions(found: Sequence[Tagged], held: Sequence[Sentence]) -> Block:
    counts = confusion([_spans(one) for one in found], [one.entities for one in held])
    names = [*sorted({name for pair in counts for name in pair} - {NOTHING}), NOTHING]
    rows = [(one, *(counts.get((one, other), 0) for other in names)) for one in names]
    note = "Rows: the reference; columns: what was found. Entities meet where they share a token."
    return Table("Confusion of types", ("wanted", *names), rows, note)


def _worst(tagger: Tagger, found: Sequence[Tagged], held: Sequence[Sentence]) -> list[Block]:
    """Return the sentences with the most faults, and others drawn evenly."""
    tones = {kind: _TONES[place % len(_TONES)] for place, kind in enumerate(sorted(tagger.lexicon.entities))}
    pairs = list(zip(found, held, strict=True))
    faults = [len(set(_spans(ours)).symmetric_difference(one.entities)) for ours, one in pairs]
    worst = sorted((n for n in range(len(pairs)) if faults[n]), key=lambda n: (-faults[n], n))[:_SAMPLES]
    even = list(range(0, len(pairs), max(1, len(pairs) // _SAMPLES)))[:_SAMPLES]
    note = "An entity that is not in the reference is red; behind its type stands its confidence."
    return [
        Samples(title, ("reference", "found"), [_sample(*pairs[number], tones) for number in numbers], note)
        for title, numbers in (("Worst sentences", worst), ("Samples", even))
        if numbers
    ]


def _sample(ours: Tagged, one: Sentence, tones: Mapping[str, str]) -> tuple[list[Piece], list[Piece]]:
    starts = [0, *accumulate(len(token) + 1 for token in one.tokens)]
    wanted = [(starts[e.start], starts[e.end] - 1, tones.get(e.type, "bad"), e.type) for e in one.entities]
    right = set(one.entities)
    given = [
        (e.start, e.end, tones[e.type] if span in right else "bad", f"{e.type} {e.confidence:.2f}")
        for e, span in zip(ours.entities, _spans(ours), strict=True)
    ]
    return _marked(ours.text, wanted), _marked(ours.text, given)


def _marked(text: str, marks: Iterable[tuple[int, int, str, str]]) -> list[Piece]:
    """Return a text in pieces, those from `start` to `end` with their tone and label."""
    pieces, place = [], 0
    for start, end, tone, label in marks:
        pieces += [Piece(text[place:start]), Piece(text[start:end], tone, label)]
        place = end
    return [*pieces, Piece(text[place:])]


def _counts(tagger: Tagger, found: Sequence[Tagged], held: Sequence[Sentence], tally: Tally) -> dict[str, Any]:
    return {
        "sentences": len(held),
        "empty": tally.empty,
        "tokens": _tokens(held),
        "unknown_words": sum(tagger.lexicon.row(token) == UNK for one in held for token in one.tokens),
        "entities": sum(len(one.entities) for one in held),
        "entities_of_other_types": sum(
            one.type not in tagger.lexicon.entities for each in held for one in each.entities
        ),
        "entities_found": sum(len(one.entities) for one in found),
        "illegal_repaired": tally.illegal,
        "cut_into_pieces": sum(one.cut for one in found),
        "temperature": tagger.temperature,
        "outside_penalty": tagger.outside_penalty,
    }
