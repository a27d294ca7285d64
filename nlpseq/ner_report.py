"""Scores and report of a tagger on a split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from nlpseq.calibration import expected_calibration_error
from nlpseq.entity_scores import entity_scores
from nlpseq.errors import CorpusError, sentence
from nlpseq.metrics import Score
from nlpseq.report import Report
from nlpseq.tagged import Sentence, TaggedCorpus
from nlpseq.tagged_ids import split_up, unknown_type
from nlpseq.tagger import LONGEST, Tagged, Tagger, read_paths
from nlpseq.tags import Span, spans, to_tags

__all__ = ["commonest_tags", "fit_span_temperature", "ner_report", "scores_line"]

_BASELINE_ROWS = 50_000  # training sentences up to which the baseline is worked out
_SAMPLES = 20
_TONES = ("a1", "a2", "a3", "a4", "a5", "a6")
_EVALUATIONS = 18  # of the search for the temperature

Read = Callable[[str], Iterator[Sentence]]


def fit_span_temperature(tagger: Tagger, held: Sequence[Sentence]) -> float:
    """Return the temperature by which the entities found in sentences have the likeliest confidences (Guo et al. 2017).

    held: sentences that were not trained on. It is 1 where nothing is found, else between 0.2 and 12: the likelihood of
    being right is searched over its logarithm by golden sections.
    """
    parts = [part for one in held for part in split_up(one, LONGEST)]
    wanted = [set(part.entities) for part in parts]
    lattices = list(tagger.lattices([part.tokens for part in parts]))

    def surprise(log_temperature: float) -> float:
        total, temperature = 0.0, math.exp(log_temperature)
        for group, lattice in lattices:
            for number, path in zip(group, read_paths(lattice, temperature, len(group)), strict=True):
                for one in spans([tagger.lexicon.tags[tag] for tag in path.tags]):
                    sure = path.confidence(one.start, one.end)
                    total -= math.log(max(sure if one in wanted[number] else 1 - sure, 1e-7))
        return total

    if not surprise(0.0):
        return 1.0
    low, high, share = -1.6, 2.5, (math.sqrt(5) - 1) / 2
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
    tagger: Tagger, source: TaggedCorpus, split: str, *, read: Read, log: Path | None = None
) -> Report:
    """Return scores, counts and samples of a tagger on a split of a corpus.

    read: gives the sentences of a split; log: `metrics.jsonl` of the training, for the curves. Raises CorpusError where
    the split is not there, has no sentence, or a type of entities that the training did not have.
    """
    held = list(read(split))
    if not held:
        raise CorpusError(sentence(split, "have at least one sentence", "empty", source.corpus.name, quote=False))
    place = f"{source.corpus.name}, {split}"
    for one in held:
        for entity in one.entities:
            if entity.type not in tagger.lexicon.entities:
                raise unknown_type(entity.type, tagger.lexicon, place)
    started = time.perf_counter()
    found = tagger.tag_tokens([one.tokens for one in held])
    seconds = time.perf_counter() - started
    wanted = [to_tags(one.entities, len(one.tokens), "iob2") for one in held]
    scored = entity_scores([one.tags for one in found], wanted)
    sure, right = _confidences(found, held)
    scores = scored.scores | {"ece": _ece(sure, right)}
    return Report(
        stage="ner",
        corpus=source.corpus.name,
        split=split,
        scores=scores,
        seconds=round(time.perf_counter() - started, 3),
        settings={k: v for k, v in tagger.facts["fingerprint"].items() if v not in ("", None)},
        counts={"sentences": len(held), "words_per_second": round(sum(len(o.tokens) for o in held) / seconds)},
        blocks=[],
    )


def scores_line(report: Report) -> str:
    """Return the scores in one line, as the command line prints them."""
    shown = (f"{name} {score.value:.{4 if name.startswith('ece') else 2}f}" for name, score in report.scores.items())
    return ", ".join(shown) + f" ({report.split})"


def _confidences(found: Sequence[Tagged], held: Sequence[Sentence]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the confidence of each entity that was found, and whether it is right."""
    sure: list[float] = []
    right: list[bool] = []
    for ours, one in zip(found, held, strict=True):
        wanted = set(one.entities)
        for entity in ours.entities:
            sure.append(entity.confidence)
            right.append(Span(entity.type, entity.first, entity.last + 1) in wanted)
    return torch.tensor(sure), torch.tensor(right, dtype=torch.bool)


def _ece(sure: torch.Tensor, right: torch.Tensor) -> Score:
    value = expected_calibration_error(sure, right) if len(sure) else 0.0
    return Score(value, None, None, len(sure), "of:entities-found|bins:15|width:equal|scale:share")
