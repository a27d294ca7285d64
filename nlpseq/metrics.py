"""Scores that can be compared: a value, its 95 % interval, and the signature that says exactly how it was measured.

All scores here run from 0 to 100, and higher is better. Intervals of BLEU and chrF are sacreBLEU's: 1,000 bootstrap
resamples of the sentences with its seed, their mean plus and minus half the width of their middle 95 %
(Koehn 2004), cut at 0 and 100. We resample one draw at a time instead of all at once, which gives the same numbers
and keeps the memory small on long test sets.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nlpseq.errors import UsageError, sentence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Comparison",
    "Score",
    "accuracy",
    "bleu",
    "bleu_lc_tok",
    "bleu_value",
    "chrf",
    "chrf_value",
    "exact",
    "paired_bootstrap",
]

SAMPLES = 1000
SEED = 12345  # sacreBLEU's own, so that anyone's sacreBLEU prints the same interval


class Score(NamedTuple):
    """One figure of a report: value, 95 % interval (None where there is none), number of examples, how it was made."""

    value: float
    low: float | None
    high: float | None
    n: int
    signature: str

    def to_plain(self) -> dict[str, float | int | str | None]:
        """The score as report.json holds it; a value that is not finite becomes None, which JSON can say."""
        return {key: _finite(value) for key, value in self._asdict().items()}


class Comparison(NamedTuple):
    """How far a system is from a baseline on the same sentences: `delta` points, its 95 % interval and the p-value."""

    delta: float
    low: float
    high: float
    p_value: float
    system: Score
    baseline: Score
    signature: str


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Cased, detokenised corpus BLEU with sacreBLEU's default signature (Papineni 2002; Post 2018).

    hypotheses, references: raw sentences in the same order, one reference each; an empty hypothesis is allowed.
    Raises UsageError where the two differ in number or there are none.
    """
    return _scored(_bleu_metric(), *_checked(hypotheses, references))


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus chrF2 with sacreBLEU's default signature (Popovic 2015); arguments and errors as for `bleu`."""
    return _scored(_chrf_metric(), *_checked(hypotheses, references))


def bleu_value(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """The value of `bleu` alone, without the interval: cheap enough for early stopping."""
    return _value(_bleu_metric(), *_checked(hypotheses, references))


def chrf_value(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """The value of `chrf` alone, without the interval: cheap enough for early stopping."""
    return _value(_chrf_metric(), *_checked(hypotheses, references))


def bleu_lc_tok(hypotheses: Sequence[str], references: Sequence[str], language: str) -> Score | None:
    """Lowercased BLEU over Moses tokens, the papers' figure on Multi30k, or None where sacremoses is not installed.

    Both sides go through what made Multi30k's own `lc.norm.tok` files, in its order: lowercase, normalise the
    punctuation, tokenise without splitting hyphens. Other arguments and errors as for `bleu`.

    language: code of the target language, as Moses spells it ("en", "fr", "de", …).
    """
    hypotheses, references = _checked(hypotheses, references)
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ImportError:
        return None
    normaliser, tokenizer = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)

    def prepared(texts: Sequence[str]) -> list[str]:
        # escaping (' to &apos;) renames tokens on both sides alike, so it cannot change the score
        return [tokenizer.tokenize(normaliser.normalize(t.lower()), return_str=True, escape=False) for t in texts]

    score = _scored(_bleu_metric(tokenize="none", lowercase=True), prepared(hypotheses), prepared(references))
    version = importlib.metadata.version("sacremoses")
    steps = f"prep:lowercase+normalize-punctuation+tokenizer[{language},hyphens:kept]|sacremoses:{version}"
    return score._replace(signature=f"{score.signature}|{steps}")


def exact(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """The percentage of hypotheses that equal their reference, with Wilson's 95 % interval (Wilson 1927).

    Arguments and errors as for `bleu`. Case, punctuation and inner spaces count; spaces at the ends do not.
    """
    hypotheses, references = _checked(hypotheses, references)
    hits = sum(h.strip() == r.strip() for h, r in zip(hypotheses, references, strict=True))
    value = 100 * hits / len(references)
    low, high = _cut(_wilson(hits, len(references)))
    signature = "case:mixed|spaces:ends-stripped|scale:percent|interval:wilson-95"
    # at 0 and 100 Wilson's bound is the value itself, which rounding must not undercut
    return Score(value, min(low, value), max(high, value), len(references), signature)


def accuracy(hits: int, n: int) -> Score:
    """The percentage of n examples, at least 1, whose class was found, with Wilson's 95 % interval; hits: of these."""
    value = 100 * hits / n
    low, high = _cut(_wilson(hits, n))
    return Score(value, min(low, value), max(high, value), n, "scale:percent|interval:wilson-95")


def paired_bootstrap(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    *,
    metric: Literal["bleu", "chrf"] = "bleu",
    samples: int = SAMPLES,
    seed: int = SEED,
) -> Comparison:
    """How much better `system` is than `baseline`, and how likely so large a difference is by chance (Koehn 2004).

    The p-value is two-sided: the share of resamples whose difference lies at least as far from their mean as `delta`
    lies from zero. sacreBLEU's own test takes absolute values before it centres them; that calls one in ten pairs of
    equally good systems different at p < 0.05, and every system different from itself. So we draw the same resamples
    but centre first.

    system, baseline, references: sentences in the same order; samples: number of resamples, 1 or more; seed: 0 or more.
    Raises UsageError where numbers differ, there are no sentences, or samples or seed is out of range.
    """
    if samples < 1:
        raise UsageError(sentence("samples", "be 1 or more", samples))
    if seed < 0:
        raise UsageError(sentence("seed", "be 0 or more", seed))
    system, references = _checked(system, references, name="system")
    baseline, references = _checked(baseline, references, name="baseline")
    scorer = _bleu_metric() if metric == "bleu" else _chrf_metric()
    tables = [_statistics(scorer, hypotheses, references) for hypotheses in (system, baseline)]
    values = [_aggregate(scorer, table.sum(0)) for table in tables]
    draws = _resampled(scorer, tables, samples, seed)
    differences = draws[0] - draws[1]
    delta = values[0] - values[1]
    # the tolerance makes equal systems equal although their scores were summed in floating point
    as_far = int((abs(differences - differences.mean()) >= abs(delta) - 1e-9).sum())
    low, high = _interval(differences)
    signature = _signature(scorer, samples, seed)
    ours, theirs = (
        Score(value, *_bounds(draw, value), len(references), signature)
        for value, draw in zip(values, draws, strict=True)
    )
    p_value = (as_far + 1) / (samples + 1)
    return Comparison(delta, low, high, p_value, ours, theirs, f"{signature}|test:paired-bootstrap,two-sided")


def _checked(
    hypotheses: Sequence[str], references: Sequence[str], *, name: str = "hypotheses"
) -> tuple[Sequence[str], Sequence[str]]:
    for label, texts in ((name, hypotheses), ("references", references)):
        if isinstance(texts, str):
            raise UsageError(sentence(label, "be a list of sentences", "a single string"))
        strange = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
        if strange is not None:
            raise UsageError(sentence(label, "hold text only", repr(texts[strange]), f"sentence {strange + 1}"))
    if len(hypotheses) != len(references):
        raise UsageError(sentence(name, f"be as many as the references, {len(references)}", len(hypotheses)))
    if not references:
        raise UsageError(sentence(name, "hold at least one sentence", "empty"))
    return hypotheses, references


def _bleu_metric(tokenize: str | None = None, lowercase: bool = False) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    # force: or it warns at every evaluation about text that happens to end in " ."
    return BLEU(tokenize=tokenize, lowercase=lowercase, force=True)


def _chrf_metric() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def _value(metric: Any, hypotheses: Sequence[str], references: Sequence[str]) -> float:
    return float(metric.corpus_score(hypotheses, [references]).score)


def _scored(metric: Any, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    table = _statistics(metric, hypotheses, references)
    value, n = _aggregate(metric, table.sum(0)), len(references)
    if n == 1:  # every resample of one sentence is that sentence: an interval of width zero would be a lie
        return Score(value, None, None, n, str(metric.get_signature()))
    (draws,) = _resampled(metric, [table], SAMPLES, SEED)
    return Score(value, *_bounds(draws, value), n, _signature(metric, SAMPLES, SEED))


def _statistics(metric: Any, hypotheses: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """Sufficient statistics as sacreBLEU defines them: a row a sentence; the sum over any sentences gives the score."""
    import numpy as np

    return np.array(metric._extract_corpus_statistics(hypotheses, [references]), dtype=np.float64)


def _aggregate(metric: Any, totals: NDArray[np.float64]) -> float:
    return float(metric._compute_score_from_stats(totals).score)


def _resampled(
    metric: Any, tables: Sequence[NDArray[np.float64]], samples: int, seed: int
) -> tuple[NDArray[np.float64], ...]:
    import numpy as np

    def draws() -> Iterator[list[float]]:
        generator, n = np.random.default_rng(seed), len(tables[0])
        for _ in range(samples):
            rows = generator.choice(n, size=n)  # the same sentences for all systems: that makes the test paired
            yield [_aggregate(metric, table[rows].sum(0)) for table in tables]

    return tuple(np.array(column) for column in zip(*draws(), strict=True))


def _interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    ordered, mean = sorted(draws.tolist()), float(draws.mean())
    tail = len(ordered) // 40
    half = (ordered[-1 - tail] - ordered[tail]) / 2
    return mean - half, mean + half


def _bounds(draws: NDArray[np.float64], value: float) -> tuple[float, float]:
    """The interval on the scale; where all resamples are alike, rounding must not put the value beside it."""
    low, high = (value if math.isclose(bound, value, rel_tol=1e-12) else bound for bound in _cut(_interval(draws)))
    return low, high


def _cut(interval: tuple[float, float]) -> tuple[float, float]:
    return max(0.0, interval[0]), min(100.0, interval[1])


def _signature(metric: Any, samples: int, seed: int) -> str:
    metric.n_bootstrap, metric.seed = samples, str(seed)
    return str(metric.get_signature())


def _wilson(hits: int, n: int) -> tuple[float, float]:
    z = 1.959963984540054  # the normal distribution's 97.5 % point
    middle, width = hits + z * z / 2, n + z * z
    half = z * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return 100 * (middle - half) / width, 100 * (middle + half) / width


def _finite(value: float | str | None) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
