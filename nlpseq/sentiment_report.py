"""Scores and report of a classifier on a split."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nlpseq import metrics
from nlpseq.calibration import expected_calibration_error, reliability
from nlpseq.classifier import STAGE, Prediction, SentimentClassifier
from nlpseq.errors import CorpusError, sentence
from nlpseq.labelled import Example
from nlpseq.loop import read_log
from nlpseq.metrics import Score
from nlpseq.readers import column_names
from nlpseq.report import Block, Chart, Histogram, Report, Samples, Series, Span, Table
from nlpseq.word_bag import word_bag_baseline

__all__ = ["scores_line", "sentiment_report"]

_BASELINE_ROWS = 50_000  # training texts up to which the baseline of words without order is worked out
_BASELINE_WORK = 500_000  # and texts times classes: its weights are updated as a whole, so that both cost time
_WIDEST = 20  # classes of a table of confusions that can be read
_SHOWN = 10  # texts of each kind
_CARRIED = 0.25  # of a text's strongest word, from where on a word is coloured


class _Found(NamedTuple):
    """A text, its right label, and what was thought of it."""

    example: Example
    wanted: str
    prediction: Prediction

    @property
    def right(self) -> bool:
        return self.prediction.label == self.wanted

    @property
    def confidence(self) -> float:
        return self.prediction.probability or 0.0


def sentiment_report(
    classifier: SentimentClassifier,
    examples: Iterable[Example],
    split: str,
    *,
    name: str,
    train: Iterable[Example] | None = None,
    log: Path | None = None,
    own: bool = False,
) -> Report:
    """Return scores, confusions, calibration and explained samples of a classifier on labelled examples.

    split, name: of the examples and of their corpus; train: for the baselines; log: `metrics.jsonl` of the training,
    for the curves; own: whether this is the corpus of the training, which alone has curves and coverage. Texts without
    a token and examples without a label are left out and counted. Raises CorpusError where none is left, and for a
    label that the classifier does not know.
    """
    started = time.perf_counter()
    rows = list(examples)
    labelled = [one for one in rows if one.label is not None]
    _refuse_unknown(labelled, classifier.classes)
    began = time.perf_counter()
    predictions = classifier.predict_fully([one.text for one in labelled])
    seconds = time.perf_counter() - began
    found = [
        _Found(example, str(example.label), prediction)
        for example, prediction in zip(labelled, predictions, strict=True)
        if prediction.label is not None
    ]
    if not found:
        raise CorpusError(sentence(split, "have at least one text with a label", "without one", name, quote=False))
    mistakes = sorted((one for one in found if not one.right), key=lambda one: -one.confidence)
    right = [one for one in found if one.right]
    blocks = [
        *(_curves(log) if own else []),
        *_confusions(classifier.classes, found),
        reliability(*_calibration(found)),
        Histogram("Confidence", _confidences(found), "calibrated probability of the label that was given"),
        _explained(classifier, "Worst mistakes, the surest first", mistakes[:_SHOWN]),
        _explained(classifier, "Samples that are right", right[:: max(1, len(right) // _SHOWN)][:_SHOWN]),
        _lengths(found),
        *([_coverage(classifier)] if own else []),
    ]
    return Report(
        stage=STAGE,
        corpus=f"{name} ({', '.join(classifier.facts['columns'])})",
        split=split,
        scores=_scores(classifier, found, train, fitted=own and split == "validation"),
        seconds=round(time.perf_counter() - started, 3),
        settings={k: v for k, v in classifier.facts["fingerprint"].items() if v not in ("", None)},
        counts=_counts(classifier, rows, found, seconds),
        blocks=blocks,
    )


def scores_line(report: Report) -> str:
    """Return the scores in one line, as the command line prints them."""
    return ", ".join(f"{name} {score.value:.4g}" for name, score in report.scores.items()) + f" ({report.split})"


def _refuse_unknown(examples: Iterable[Example], classes: Sequence[str]) -> None:
    strange = next((one for one in examples if one.label not in classes), None)
    if strange is not None:
        must = f"be one of the classes of the model ({column_names(classes)})"
        raise CorpusError(sentence("label", must, strange.label, strange.where))


def _scores(
    classifier: SentimentClassifier, found: Sequence[_Found], train: Iterable[Example] | None, *, fitted: bool
) -> dict[str, Score]:
    """Return all scores; fitted: whether these are the texts that the temperature was fitted on."""
    hits, n = sum(one.right for one in found), len(found)
    signature = f"bins:15|width:equal|temperature:{classifier.facts['temperature']:.4g}"
    before = signature.replace(f"temperature:{classifier.facts['temperature']:.4g}", "temperature:1")
    signature += "|fitted:on these texts" if fitted else ""
    scores = {
        "accuracy": metrics.accuracy(hits, n),
        "ece": Score(expected_calibration_error(*_calibration(found)), None, None, n, signature),
        "ece_uncalibrated": Score(_uncalibrated(classifier, found), None, None, n, before),
    }
    return scores | _baselines(classifier.classes, found, train)


def _baselines(classes: Sequence[str], found: Sequence[_Found], train: Iterable[Example] | None) -> dict[str, Score]:
    """Return what always giving the commonest label gets, and what words without order get."""
    if train is None:
        return {}
    numbers = {label: number for number, label in enumerate(classes)}
    known = [(one.text, numbers[one.label]) for one in train if one.label in numbers and one.text.strip()]
    if not known or len(known) > _BASELINE_ROWS or len(known) * len(classes) > _BASELINE_WORK:
        return {}
    commonest = Counter(label for _, label in known).most_common(1)[0][0]
    answers = word_bag_baseline(known, [one.example.text for one in found], len(classes))
    hits = sum(classes[answer] == one.wanted for answer, one in zip(answers, found, strict=True))
    same = sum(one.wanted == classes[commonest] for one in found)
    return {
        "accuracy_commonest_label": metrics.accuracy(same, len(found)),
        "accuracy_bag_of_words": metrics.accuracy(hits, len(found)),
    }


def _calibration(found: Sequence[_Found]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([one.confidence for one in found]), torch.tensor([one.right for one in found])


def _uncalibrated(classifier: SentimentClassifier, found: Sequence[_Found]) -> float:
    """Return the calibration error as it would be without the temperature."""
    shares = torch.tensor([list(one.prediction.probabilities.values()) for one in found], dtype=torch.float64)
    raw = torch.softmax(shares.clamp_min(1e-300).log() * classifier.facts["temperature"], 1).amax(1)
    return expected_calibration_error(raw, torch.tensor([one.right for one in found]))


def _counts(
    classifier: SentimentClassifier, rows: Sequence[Example], found: Sequence[_Found], seconds: float
) -> dict[str, Any]:
    unlabelled = sum(one.label is None for one in rows)
    return {
        "texts": len(found),
        "texts_per_second": round(len(found) / seconds, 1),
        "empty": len(rows) - unlabelled - len(found),
        "unlabelled": unlabelled,
        "read_in_part": sum(one.prediction.read < one.prediction.tokens for one in found),
        "temperature": round(classifier.facts["temperature"], 4),
    }


def _curves(log: Path | None) -> list[Block]:
    records = read_log(log)
    if not records:
        return []

    def series(key: str, name: str) -> Series:
        points = [(r["step"], r[key]) for r in records if key in r]
        return Series(name, [x for x, _ in points], [y for _, y in points])

    losses = [series("loss", "training"), series("validation_loss", "validation")]
    accuracy = [series("validation_accuracy", "accuracy")]
    return [
        Chart("Loss", losses, "step", "nats per text"),
        Chart("Accuracy on validation", accuracy, "step", "per cent"),
    ]


def _confusions(classes: Sequence[str], found: Sequence[_Found]) -> list[Block]:
    pairs = Counter((one.wanted, str(one.prediction.label)) for one in found)
    shown = classes[:_WIDEST]
    note = f"The first {_WIDEST} of {len(classes):,} labels." if len(classes) > _WIDEST else ""
    rows = [(wanted, *(pairs[wanted, given] for given in shown)) for wanted in shown]
    table = Table("Confusion matrix", ("right label", *(f"given {label}" for label in shown)), rows, note)
    each = []
    for label in classes:
        hits, wanted = pairs[label, label], sum(n for (w, _), n in pairs.items() if w == label)
        given = sum(n for (_, g), n in pairs.items() if g == label)
        precision, recall, both = hits / max(given, 1), hits / max(wanted, 1), 2 * hits / max(given + wanted, 1)
        each.append((label, wanted, given, 100 * precision, 100 * recall, 100 * both))
    columns = ("label", "texts", "given", "precision %", "recall %", "F1")
    return [table, Table("Each label", columns, each)]


def _confidences(found: Sequence[_Found]) -> dict[str, list[float]]:
    groups = {"right": [one.confidence for one in found if one.right]}
    return groups | {"wrong": [one.confidence for one in found if not one.right]}


def _explained(classifier: SentimentClassifier, title: str, chosen: Sequence[_Found]) -> Samples:
    """Return texts with the words coloured that carried the decision."""
    rows: list[tuple[str | Sequence[Span], ...]] = []
    for one, told in zip(chosen, classifier.predict_fully([c.example.text for c in chosen], explain=True), strict=True):
        rows.append((one.wanted, f"{one.prediction.label}, {100 * one.confidence:.1f} %", _coloured(told)))
    note = "Green words spoke for the label that was given, red ones against it: gradient times input."
    return Samples(title, ("right label", "given", "text as it was read"), rows, note=note)


def _coloured(prediction: Prediction) -> list[Span]:
    strongest = max((abs(weight) for _, weight in prediction.words), default=0.0)
    spans: list[Span] = []
    if prediction.read < prediction.tokens:
        spans.append(Span(f"({prediction.read:,} of {prediction.tokens:,} tokens) "))
    for word, weight in prediction.words:
        carried = strongest > 0 and abs(weight) >= _CARRIED * strongest
        spans += [Span(word, ("good" if weight > 0 else "bad") if carried else ""), Span(" ")]
    return spans


def _lengths(found: Sequence[_Found]) -> Block:
    groups = {
        "right": [float(one.prediction.tokens) for one in found if one.right],
        "wrong": [float(one.prediction.tokens) for one in found if not one.right],
    }
    return Histogram("Tokens of a text", groups, "tokens")


def _coverage(classifier: SentimentClassifier) -> Block:
    keys = ("rows", "kept", "empty", "unlabelled", "cut", "tokens", "unknown_percent")
    rows = [(name, *(classifier.facts[name][key] for key in keys)) for name in ("train", "validation")]
    titles = ("split", "rows", "kept", "empty", "without label", "read in part", "tokens read", "[UNK] %")
    return Table("Coverage", titles, rows)
