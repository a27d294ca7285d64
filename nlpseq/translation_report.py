"""Scores and report of a translator on a split."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from nlpseq import metrics
from nlpseq.baselines import nearest_baseline
from nlpseq.corpora import Corpus
from nlpseq.errors import ArtefactError, CorpusError, sentence
from nlpseq.metrics import Comparison, Score
from nlpseq.pairs import language, texts
from nlpseq.report import Block, Chart, Histogram, Report, Samples, Series, Table, differences
from nlpseq.tokenizer import normalised_pair
from nlpseq.translator import Translation, Translator

__all__ = ["scores_line", "translation_report"]

_BASELINE_ROWS = 50_000  # training pairs up to which the nearest-pair baseline is worked out
_SAMPLES = 20

Pairs = Sequence[tuple[str, str]]


def translation_report(
    translator: Translator,
    corpus: Corpus,
    split: str,
    *,
    columns: tuple[str, str] | None = None,
    log: Path | None = None,
    against: Translator | None = None,
) -> Report:
    """Return scores, counts and samples of a translator on a split of a corpus.

    columns: source and target, those of the training when absent; log: `metrics.jsonl` of the training, for the
    curves; against: another translator, compared by paired bootstrap. Raises CorpusError where the split is not there
    or has no pair.
    """
    columns = columns or (translator.facts["source"], translator.facts["target"])
    pairs = [pair for pair in texts(corpus.split(split), columns) if all(side.strip() for side in pair)]
    if not pairs:
        raise CorpusError(sentence(split, "have at least one pair", "empty", corpus.name, quote=False))
    started = time.perf_counter()
    found = translator.translate_fully([source for source, _ in pairs])
    seconds = time.perf_counter() - started
    outputs, references = [one.text for one in found], [target for _, target in pairs]
    scores = _scores(outputs, references, language(columns[1]))
    if "train" in corpus.splits and len(corpus.split("train")) <= _BASELINE_ROWS:
        nearest = nearest_baseline(list(texts(corpus.split("train"), columns)), [source for source, _ in pairs])
        scores["bleu_nearest_pair"] = metrics.bleu(nearest, references)
    counts = _counts(translator, pairs, found, seconds)
    if against is not None:
        others = against.translate([source for source, _ in pairs])
        for metric in ("bleu", "chrf"):
            counts |= _compared(metrics.paired_bootstrap(outputs, others, references, metric=metric), metric)
    return Report(
        stage="translate",
        corpus=f"{corpus.name} ({columns[0]} to {columns[1]})",
        split=split,
        scores=scores,
        seconds=round(seconds, 3),
        settings={k: v for k, v in translator.facts["fingerprint"].items() if v not in ("", None)},
        counts=counts,
        blocks=[*_curves(log), *_lengths(pairs, outputs), _samples(pairs, outputs, columns), _units(translator)],
    )


def scores_line(report: Report) -> str:
    """Return the scores in one line, as the command line prints them."""
    return ", ".join(f"{name} {score.value:.2f}" for name, score in report.scores.items()) + f" ({report.split})"


def _scores(outputs: Sequence[str], references: Sequence[str], target: str | None) -> dict[str, Score]:
    scores = {"bleu": metrics.bleu(outputs, references), "chrf": metrics.chrf(outputs, references)}
    moses = metrics.bleu_lc_tok(outputs, references, target) if target else None
    if moses is not None:
        scores["bleu_lc_tok"] = moses
    return scores | {"exact": metrics.exact(outputs, references)}


def _counts(translator: Translator, pairs: Pairs, found: Sequence[Translation], seconds: float) -> dict[str, Any]:
    right = [known for pair, one in zip(pairs, found, strict=True) for known in _order(translator, pair, one)]
    return {
        "sentences": len(found),
        "sentences_per_second": round(len(found) / seconds, 1),
        "unknown_in_source": sum(one.unknown for one in found),
        "unknown_in_output": sum(one.tokens.count("[UNK]") for one in found),
        "restored": sum(one.restored for one in found),
        "restored_checked": len(right),
        "restored_in_right_order": sum(right),
        "dropped": sum(one.dropped for one in found),
        "cut": sum(one.cut for one in found),
    }


def _compared(comparison: Comparison, metric: str) -> dict[str, Any]:
    """Return a paired bootstrap as counts of the report."""
    names = ("delta", "low", "high", "p_value", "signature")
    return {f"{metric}_against_{name}": getattr(comparison, name) for name in names}


def _order(translator: Translator, pair: tuple[str, str], one: Translation) -> Iterator[bool]:
    """Yield for each value that reference and source share whether the k-th of the one is the k-th of the other."""
    if one.restored:
        yield from normalised_pair(*pair, translator.tokenizer.config, translator.languages).aligned


def _curves(log: Path | None) -> list[Block]:
    if log is None or not log.exists():
        return []
    try:
        records = [dict(json.loads(line)) for line in log.read_bytes().splitlines()]
    except (ValueError, TypeError):
        must = "hold one JSON object per line (without the file, the report has no curves)"
        raise ArtefactError(sentence(str(log), must, "damaged", quote=False)) from None

    def series(key: str, name: str) -> Series:
        points = [(r["step"], r[key]) for r in records if key in r]
        return Series(name, [x for x, _ in points], [y for _, y in points])

    losses = [series("loss", "training"), series("validation_loss", "validation")]
    blocks: list[Block] = [Chart("Loss", losses, "step", "nats per target token")]
    scores = [series("validation_bleu", "BLEU"), series("validation_chrf", "chrF")]
    if scores[0].x:
        blocks.append(Chart("Scores on validation", scores, "step", "points"))
    return blocks


def _lengths(pairs: Pairs, outputs: Sequence[str]) -> list[Block]:
    sides = {
        "source": [source for source, _ in pairs],
        "reference": [target for _, target in pairs],
        "output": outputs,
    }
    words = {name: [float(len(text.split())) for text in side] for name, side in sides.items()}
    rows = [(name, sum(n) / len(n), max(n)) for name, n in words.items()]
    return [
        Histogram("Words in a sentence", words, "words"),
        Table("Lengths", ("side", "mean words", "longest"), rows),
    ]


def _samples(pairs: Pairs, outputs: Sequence[str], columns: tuple[str, str]) -> Block:
    every = max(1, len(pairs) // _SAMPLES)
    rows = []
    for (source, reference), output in islice(zip(pairs, outputs, strict=True), 0, every * _SAMPLES, every):
        ours, theirs = differences(output, reference)
        rows.append((source, theirs, ours))
    return Samples("Sample translations", (f"source ({columns[0]})", f"reference ({columns[1]})", "output"), rows)


def _units(translator: Translator) -> Block:
    facts = translator.facts
    keys = ("rows", "kept", "empty", "long", "source_tokens", "target_tokens", "masked")
    shares = ("source_unknown_percent", "target_unknown_percent")
    rows = [(name, *(facts[name][key] for key in (*keys, *shares))) for name in ("train", "validation")]
    titles = ("split", "rows", "kept", "empty", "too long", "source tokens", "target tokens", "masked")
    return Table("Coverage", (*titles, "source [UNK] %", "target [UNK] %"), rows)
