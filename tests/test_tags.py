"""Tags: what each scheme allows, what it marks, and how one becomes another."""

from __future__ import annotations

import itertools
import random

import pytest

from nlpseq.tags import Span, detect, follows, illegal_places, iobes_tags, is_tag, spans, strict_spans, to_tags

SCHEMES = ("iob1", "iob2", "iobes")
SENTENCE = [Span("PER", 0, 1), Span("PER", 1, 3), Span("creative-work", 4, 5), Span("LOC", 5, 8)]
WRITTEN = {
    "iob1": "I-PER B-PER I-PER O I-creative-work I-LOC I-LOC I-LOC O",
    "iob2": "B-PER B-PER I-PER O B-creative-work B-LOC I-LOC I-LOC O",
    "iobes": "S-PER B-PER E-PER O S-creative-work B-LOC I-LOC E-LOC O",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_entities_are_written_and_read_in_every_scheme(scheme: str):
    tags = to_tags(SENTENCE, 9, scheme)
    assert tags == WRITTEN[scheme].split()
    assert spans(tags) == SENTENCE
    assert illegal_places(tags, scheme) == []


def drawn(seed: int):
    """Thirty random entities in sentences of a dozen tokens."""
    draw = random.Random(seed)
    for _ in range(30):
        places = sorted(draw.sample(range(13), draw.choice([0, 2, 4, 6])))
        yield [Span(draw.choice("AB"), a, b) for a, b in zip(places[::2], places[1::2], strict=True)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_of_a_corpus_is_seen(scheme: str):
    corpus = [to_tags(found, 12, scheme) for found in drawn(1)]
    assert detect(corpus) == scheme
    assert [spans(tags) for tags in corpus] == list(drawn(1))


def test_a_corpus_without_entities_is_as_good_as_iob2():
    assert detect([["O", "O"], []]) == "iob2"


def test_one_wrong_tag_makes_no_other_scheme():
    assert detect([["B-X", "I-X", "O", "B-X"], ["E-X", "O", "B-X", "I-X"]]) == "iob2"
    assert detect([["S-X", "O", "I-X"], ["B-X", "E-X", "S-Y"]]) == "iobes"


@pytest.mark.parametrize(
    ("scheme", "tags", "places"),
    [
        ("iob1", "B-X O", [0]),
        ("iob1", "I-X B-Y", [1]),
        ("iob1", "I-X B-X I-X I-Y", []),
        ("iob1", "I-X E-X S-Y", [1, 2]),
        ("iob2", "I-X O", [0]),
        ("iob2", "S-X B-X E-X O", [0, 2]),
        ("iob2", "B-X I-Y", [1]),
        ("iob2", "B-X I-X B-X B-Y", []),
        ("iobes", "B-X O", [1]),
        ("iobes", "S-X I-X E-X", [1]),
        ("iobes", "B-X E-Y", [1]),
        ("iobes", "B-X I-X", [2]),
        ("iobes", "E-X", [0]),
        ("iobes", "B-X I-X E-X S-Y O", []),
    ],
)
def test_what_cannot_stand_where_it_does(scheme: str, tags: str, places: list[int]):
    assert illegal_places(tags.split(), scheme) == places


def literal_conlleval(tags: list[str]) -> list[tuple[str, int, int]]:
    """The rules of conlleval.pl one by one, as its two functions have them; written apart from `spans`."""

    def ends(prev: str, tag: str, prev_type: str, kind: str) -> bool:
        pairs = {
            ("B", "B"),
            ("B", "O"),
            ("I", "B"),
            ("I", "O"),
            ("E", "E"),
            ("E", "I"),
            ("E", "O"),
            ("B", "S"),
            ("I", "S"),
        }
        return (prev, tag) in pairs or (prev not in "O." and prev_type != kind) or prev in ("E", "S")

    def starts(prev: str, tag: str, prev_type: str, kind: str) -> bool:
        pairs = {
            ("B", "B"),
            ("I", "B"),
            ("O", "B"),
            ("O", "I"),
            ("E", "E"),
            ("E", "I"),
            ("O", "E"),
            ("S", "E"),
            ("S", "I"),
        }
        return (prev, tag) in pairs or (tag not in "O." and prev_type != kind) or tag in ("B", "S")

    found, begin, prev, prev_type = [], 0, "O", ""
    for place, whole in enumerate([*tags, "O"]):
        tag, _, kind = whole.partition("-")
        if ends(prev, tag, prev_type, kind) and prev != "O":
            found.append((prev_type, begin, place))
        if starts(prev, tag, prev_type, kind):
            begin = place
        prev, prev_type = tag, kind
    return found


def sequences():
    yield from itertools.product(["O", *(f"{p}-{k}" for p in "BIES" for k in "XY")], repeat=3)
    draw = random.Random(7)
    for _ in range(300):
        yield draw.choices(["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "E-Y"], k=draw.randint(0, 9))


def test_conllevals_rules_on_every_short_sequence_and_some_long_ones():
    for tags in sequences():
        assert [tuple(one) for one in spans(tags)] == literal_conlleval(list(tags)), tags


def test_conllevals_rules_are_seqevals():
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    for tags in sequences():
        theirs = [(kind, start, end + 1) for kind, start, end in seqeval.get_entities(list(tags))]
        assert [tuple(one) for one in spans(tags)] == theirs, tags


def test_strict_iob2_takes_nothing_that_does_not_begin_with_b():
    assert strict_spans(["I-X", "B-X", "I-X", "O", "I-Y", "B-X", "I-Y", "S-Z", "E-Z"]) == [
        Span("X", 1, 3), Span("X", 5, 6), Span("Z", 7, 9)
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["iob2", "iobes"])
def test_what_is_legal_is_the_same_by_both_rules(scheme: str):
    for found in drawn(3):
        tags = to_tags(found, 12, scheme)
        assert strict_spans(to_tags(found, 12, "iob2")) == spans(tags)


def test_tags_have_a_prefix_and_a_type():
    assert [tag for tag in ["O", "B-X", "S-a-b", "X-PER", "PER", "B-", "B", "", None, 3] if is_tag(tag)] == [
        "O", "B-X", "S-a-b"
    ]  # fmt: skip


def test_every_legal_iobes_sequence_can_be_walked():
    tags = iobes_tags(["Y", "X"])
    assert tags == ["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "E-Y", "S-Y"]
    assert [tag for tag in tags if follows("B-X", tag, "iobes")] == ["I-X", "E-X"]
    assert [tag for tag in tags if follows("E-X", tag, "iobes")] == ["O", "B-X", "S-X", "B-Y", "S-Y"]
