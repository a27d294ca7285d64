"""How well entities are found: precision, recall and F1 by conlleval's rules and by strict IOB2, with intervals.

An entity is right when type, first and last token are. The interval is a bootstrap over sentences: 1,000 resamples with
sacreBLEU's seed, the mean plus and minus half the width of their middle 95 % as in `metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nlpseq.metrics import SAMPLES, SEED, Score
from nlpseq.tags import Span, spans, strict_spans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EntityScores", "TypeScore", "confusion", "entity_scores", "f1_value"]

_RULES = {"f1": "rules:conlleval", "f1_strict": "rules:strict|scheme:iob2"}
NOTHING = "nothing"
Tags = Sequence[Sequence[str]]


class TypeScore(NamedTuple):
    """The figures of one type of entities, in percent, with the interval of F1."""

    type: str
    wanted: int
    found: int
    right: int
    precision: float
    recall: float
    f1: float
    low: float | None
    high: float | None


class EntityScores(NamedTuple):
    """`f1` and `f1_strict` over all types, and by conlleval's rules the figures of each type."""

    scores: dict[str, Score]
    types: list[TypeScore]


def f1_value(found: Tags, wanted: Tags) -> float:
    """Return F1 by conlleval's rules alone, in percent; cheap enough for early stopping."""
    right = asked = given = 0
    for a, b in zip(found, wanted, strict=True):
        ours, theirs = spans(a), spans(b)
        right, asked, given = right + len(set(ours).intersection(theirs)), asked + len(theirs), given + len(ours)
    return _f1(right, asked + given)


def entity_scores(found: Tags, wanted: Tags) -> EntityScores:
    """Return the scores of tags against those of the reference, sentence by sentence.

    found, wanted: tags of any scheme, as many for each sentence. Raises ValueError where numbers differ.
    """
    import numpy as np

    scores: dict[str, Score] = {}
    types: list[TypeScore] = []
    for name, read in (("f1", spans), ("f1_strict", strict_spans)):
        pairs = [(set(read(a)), set(read(b))) for a, b in zip(found, wanted, strict=True)]
        table = np.array([(len(a & b), len(a) + len(b)) for a, b in pairs], np.int64).reshape(-1, 2)
        value = _f1(*table.sum(0).tolist())
        low, high = _interval(table, value)
        signature = f"{_RULES[name]}|average:micro|scale:percent|bs:{SAMPLES}|seed:{SEED}"
        scores[name] = Score(value, low, high, sum(len(b) for _, b in pairs), signature)
        if name == "f1":
            types = [_of_type(kind, pairs) for kind in sorted({one.type for a, b in pairs for one in a | b})]
    return EntityScores(scores, types)


def _of_type(kind: str, pairs: Sequence[tuple[set[Span], set[Span]]]) -> TypeScore:
    import numpy as np

    rows = [({one for one in a if one.type == kind}, {one for one in b if one.type == kind}) for a, b in pairs]
    table = np.array([(len(a & b), len(a), len(b)) for a, b in rows], np.int64)
    right, found, wanted = table.sum(0).tolist()
    value = _f1(right, found + wanted)
    low, high = _interval(np.stack([table[:, 0], table[:, 1] + table[:, 2]], 1), value)
    precision, recall = (100 * right / total if total else 0.0 for total in (found, wanted))
    return TypeScore(kind, wanted, found, right, precision, recall, value, low, high)


def _f1(right: int, both: int) -> float:
    """Return F1 in percent; both: how many entities were found and wanted, summed."""
    return 200.0 * right / both if both else 0.0


def _interval(table: NDArray[np.int64], value: float) -> tuple[float | None, float | None]:
    """Return the bootstrap interval of F1; table: by sentence, entities that are right, found plus wanted."""
    import numpy as np

    if len(table) < 2:  # every resample of one sentence is that sentence
        return None, None
    generator, size = np.random.default_rng(SEED), len(table)
    sums = np.array([table[generator.integers(0, size, size)].sum(0) for _ in range(SAMPLES)])
    draws = np.sort(200.0 * sums[:, 0] / np.maximum(sums[:, 1], 1))
    tail, mean = SAMPLES // 40, float(draws.mean())
    half = float(draws[-1 - tail] - draws[tail]) / 2
    return max(0.0, min(mean - half, value)), min(100.0, max(mean + half, value))


def confusion(found: Iterable[Sequence[Span]], wanted: Iterable[Sequence[Span]]) -> Mapping[tuple[str, str], int]:
    """Return how often an entity of one type was found as another: by (wanted, found), "nothing" where there is none.

    Entities meet where they share a token: a wanted one is found as the first that does.
    """
    counts: dict[tuple[str, str], int] = {}
    for ours, theirs in zip(found, wanted, strict=True):
        for one in theirs:
            met = next((other for other in ours if other.start < one.end and other.end > one.start), None)
            pair = one.type, met.type if met else NOTHING
            counts[pair] = counts.get(pair, 0) + 1
        for other in ours:
            if not any(other.start < one.end and other.end > one.start for one in theirs):
                counts[NOTHING, other.type] = counts.get((NOTHING, other.type), 0) + 1
    return counts
