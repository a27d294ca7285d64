"""F1 of entities: by hand, against seqeval, strict beside lenient, with intervals."""

from __future__ import annotations

import random

import pytest

from nlpseq.entity_scores import confusion, entity_scores, f1_value
from nlpseq.tags import Span, spans

WANTED = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "O"], ["B-ORG", "B-ORG"]]
FOUND = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "B-LOC"], ["B-ORG", "I-ORG"]]


def test_f1_by_hand():
    found = entity_scores(FOUND, WANTED)
    assert found.scores["f1"].value == pytest.approx(100 * 2 * 1 / (4 + 4))
    assert found.scores["f1"].n == 4
    assert f1_value(FOUND, WANTED) == found.scores["f1"].value
    by_type = {one.type: (one.wanted, one.found, one.right) for one in found.types}
    assert by_type == {"PER": (1, 1, 1), "LOC": (1, 1, 0), "ORG": (2, 2, 0)}


def test_signatures_and_intervals():
    scores = entity_scores(FOUND * 30, WANTED * 30).scores
    assert scores["f1"].signature == "rules:conlleval|average:micro|scale:percent|bs:1000|seed:12345"
    assert scores["f1_strict"].signature.startswith("rules:strict|scheme:iob2|")
    assert 0 < scores["f1"].low < scores["f1"].value < scores["f1"].high < 60
    assert entity_scores(FOUND * 30, WANTED * 30).scores == scores
    assert entity_scores(FOUND[:1], WANTED[:1]).scores["f1"].low is None


def test_strict_counts_no_entity_that_begins_with_i():
    found = entity_scores([["I-X", "O", "B-X"]], [["B-X", "O", "B-X"]])
    assert (found.scores["f1"].value, found.scores["f1_strict"].value) == (100.0, pytest.approx(200 / 3))


def drawn(seed: int) -> list[list[str]]:
    draw = random.Random(seed)
    return [draw.choices(["O", "O", "B-A", "I-A", "B-B", "I-B"], k=draw.randint(1, 12)) for _ in range(200)]


def test_f1_is_seqevals():
    metrics = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme")
    found, wanted = drawn(1), [one[:] for one in drawn(1)]
    draw = random.Random(5)
    for tags in wanted:
        tags[draw.randrange(len(tags))] = "O"
    scores = entity_scores(found, wanted).scores
    assert scores["f1"].value == pytest.approx(100 * metrics.f1_score(wanted, found))
    strict = metrics.f1_score(wanted, found, mode="strict", scheme=scheme.IOB2)
    assert scores["f1_strict"].value == pytest.approx(100 * strict)


def test_nothing_found_and_nothing_wanted():
    assert entity_scores([["O"], ["O"]], [["O"], ["O"]]).scores["f1"].value == 0.0
    assert entity_scores([["O"], ["O"]], [["B-X"], ["O"]]).types[0].recall == 0.0


def test_confusion_pairs_entities_that_share_a_token():
    counts = confusion([spans(tags) for tags in FOUND], [spans(tags) for tags in WANTED])
    assert counts == {
        ("PER", "PER"): 1, ("LOC", "ORG"): 1, ("nothing", "LOC"): 1, ("ORG", "ORG"): 2
    }  # fmt: skip
    assert confusion([[]], [[Span("X", 0, 1)]]) == {("X", "nothing"): 1}
