"""Scores and report of a translator on a split."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from nlpseq import metrics
from nlpseq.baselines import nearest_baseline
from nlpseq.corpora import Corpus
from nlpseq.errors import CorpusError, sentence
from nlpseq.loop import read_log
from nlpseq.metrics import Comparison, Score
from nlpseq.pairs import count, language, texts
from nlpseq.report import Block, Chart, Histogram, Report, Samples, Series, Table, differences
from nlpseq.tokenizer import normalised_pair
from nlpseq.translator import Translation, Translator

__all__ = ["scores_line", "translation_report"]

_BASELINE_ROWS = 50_000  # training pairs up to which the nearest-pair baseline is worked out
_SAMPLES = 20
_COMPARED: tuple[Literal["bleu", "chrf"], ...] = ("bleu", "chrf")

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
    if split in corpus.splits and "train" in corpus.splits and len(corpus.split("train")) <= _BASELINE_ROWS:
        nearest = nearest_baseline(list(texts(corpus.split("train"), columns)), [source for source, _ in pairs])
        scores["bleu_nearest_pair"] = metrics.bleu(nearest, references)
    own = translator.facts["corpus"] == corpus.name  # curves and coverage are of the training's corpus
    blocks = [*(_curves(log) if own else []), *_lengths(pairs, outputs), _samples(pairs, outputs, columns)]
    comparison: dict[str, Comparison] = {}
    if against is not None:
        others = against.translate([source for source, _ in pairs])
        comparison = {m: metrics.paired_bootstrap(outputs, others, references, metric=m) for m in _COMPARED}
        blocks.insert(0, _comparison(comparison))
    return Report(
        stage="translate",
        corpus=f"{corpus.name} ({columns[0]} to {columns[1]})",
        split=split,
        scores=scores,
        seconds=round(time.perf_counter() - started, 3),
        settings={k: v for k, v in translator.facts["fingerprint"].items() if v not in ("", None)},
        counts=_counts(translator, pairs, found, seconds),
        comparison={metric: _plain(one) for metric, one in comparison.items()},
        blocks=[*blocks, _units(translator, split, pairs, own=own)],
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
    return {
        "sentences": len(found),
        "sentences_per_second": round(len(found) / seconds, 1),
        "unknown_in_source": sum(one.unknown for one in found),
        "unknown_in_output": sum(one.tokens.count("[UNK]") for one in found),
        "restored": sum(one.restored for one in found),
        "restored_right": sum(_right(translator, pair, one) for pair, one in zip(pairs, found, strict=True)),
        "placeholders_without_value": sum(one.dropped for one in found),
        "values_not_restored": sum(one.unused for one in found),
        "cut": sum(one.cut for one in found),
    }


def _right(translator: Translator, pair: tuple[str, str], one: Translation) -> int:
    """Return how many restored values stand where the reference has that value: the k-th of a kind in both."""
    if not one.restored:
        return 0
    config, (_, target) = translator.tokenizer.config, translator.languages
    return min(one.restored, sum(normalised_pair(one.text, pair[1], config, (target, target)).aligned))


def _comparison(found: Mapping[str, Comparison]) -> Block:
    """Return the table of the paired bootstrap against another system."""
    rows = [(metric, c.system.value, c.baseline.value, *_plain(c).values()) for metric, c in found.items()]
    titles = ("metric", "this", "other", "difference", "low", "high", "p", "signature")
    return Table("Against the other translator", titles, rows)


def _plain(found: Comparison) -> dict[str, float | str]:
    return {name: getattr(found, name) for name in ("delta", "low", "high", "p_value", "signature")}


def _curves(log: Path | None) -> list[Block]:
    records = read_log(log)
    if not records:
        return []

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


def _units(translator: Translator, split: str, pairs: Pairs, *, own: bool) -> Block:
    """Return what became of the rows of each split, and the share of `[UNK]` on each side."""
    keys = ("rows", "kept", "empty", "long", "source_tokens", "target_tokens", "masked")
    shares = ("source_unknown_percent", "target_unknown_percent")
    facts = {name: translator.facts[name] for name in ("train", "validation") if own and name != split}
    facts[split] = count(pairs, translator.tokenizer, translator.languages).describe()
    rows = [(name, *(held[key] for key in (*keys, *shares))) for name, held in facts.items()]
    titles = ("split", "rows", "kept", "empty", "too long", "source tokens", "target tokens", "masked")
    return Table("Coverage", (*titles, "source [UNK] %", "target [UNK] %"), rows)
