"""The newswire: any name may be anything, unseen ones are in test, and nothing in it is near a training sentence."""

from __future__ import annotations

from collections import defaultdict

import pytest

from nlpseq import load_corpus
from nlpseq.baselines import commonest_tags
from nlpseq.entity_scores import f1_value
from nlpseq.synthetic import generate, near_patterns
from nlpseq.tags import illegal_places, spans


@pytest.fixture(scope="module")
def splits():
    return {name: list(split) for name, split in load_corpus("newswire").splits.items()}


def entities(rows):
    return [(" ".join(row["tokens"][s.start : s.end]), s.type) for row in rows for s in spans(row["tags"])]


def test_sizes_and_tags(splits):
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 4000, "validation": 500, "test": 1000}
    for row in splits["train"] + splits["test"]:
        assert illegal_places(row["tags"], "iob2") == []
        assert len(row["tokens"]) == len(row["tags"])


def test_the_same_seed_gives_the_same_rows_and_another_others(splits):
    assert generate("newswire", seed=2026) == splits
    assert generate("newswire", seed=6)["test"] != splits["test"]


def test_names_are_shared_by_all_types(splits):
    types = defaultdict(set)
    for name, kind in entities(splits["train"]):
        types[name].add(kind)
    single = [found for name, found in types.items() if " " not in name]
    assert sum(len(found) > 1 for found in single) > len(single) / 3


def test_half_of_the_names_in_test_are_in_no_training_sentence(splits):
    words = {token for row in splits["train"] for token in row["tokens"]}
    names = [name.split()[-1] for name, _ in entities(splits["test"])]
    assert 0.35 < sum(name not in words for name in names) / len(names) < 0.6


def test_no_test_sentence_is_near_a_training_sentence(splits):
    def content(row):  # names, numbers and nouns: words of four letters and more, and what has no letters
        return tuple(token.lower() for token in row["tokens"] if len(token) > 3 or not token.islower())

    near = {pattern for row in splits["test"] + splits["validation"] for pattern in near_patterns(content(row))}
    assert all(near.isdisjoint(near_patterns(content(row))) for row in splits["train"])


def test_the_commonest_tag_of_each_word_fails(splits):
    guessed = commonest_tags(
        [(row["tokens"], row["tags"]) for row in splits["train"]], [row["tokens"] for row in splits["test"]]
    )
    assert f1_value(guessed, [row["tags"] for row in splits["test"]]) < 70
