"""The reviews: agreement, what no bag of words sees, and what a simple network forgets."""

import hashlib
import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import chain, islice

import pytest
import torch
from torch.nn import functional as F

from nlpseq.cards import read_card
from nlpseq.grammars.reviews import KINDS, LABELS, ReviewGrammar, read_reviews
from nlpseq.nn.classifier import ClassifierDropout, ClassifierShape, TextClassifier
from nlpseq.share import share_path
from nlpseq.synthetic import generate, near_patterns
from nlpseq.text import words
from nlpseq.word_bag import word_bag_baseline

GRAMMAR = read_reviews(share_path("corpora", "reviews", "lexicon.toml"))


def drawn(number, seed=1, kinds=KINDS, grammar=GRAMMAR):
    return list(islice(grammar.reviews(random.Random(seed), kinds), number))


@pytest.fixture(scope="module")
def splits():
    return generate("reviews", seed=5)


def test_the_reviews_are_what_their_card_says(splits):
    card = read_card("reviews")
    assert {name: len(rows) for name, rows in splits.items()} == {name: it.rows for name, it in card.splits.items()}
    assert {column for rows in splits.values() for row in rows for column in row} == set(card.columns.values())
    for rows in splits.values():
        for column, values in (("label", LABELS), ("kind", KINDS)):
            counts = Counter(row[column] for row in rows)
            assert set(counts) == set(values)
            assert min(counts.values()) > 0.8 * max(counts.values())


def test_reviews_are_whole_sentences(splits):
    for row in splits["test"]:
        sentences = re.findall(r"[A-Z][^.{}]*[.](?: |$)", row["text"])
        assert "".join(sentences) == row["text"]
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  ", row["text"], re.IGNORECASE)


def test_no_part_is_spoken_of_twice():
    parts = "|".join(GRAMMAR.data["parts"])
    for review in drawn(300, kinds=("early",)):
        spoken = re.findall(rf"\b[Tt]he ({parts}) (?:is|seems)", review.text)
        assert len(spoken) == len(set(spoken)) >= 9


def test_no_held_out_review_is_near_one_of_train():
    """Of the corpus as it is: the content words are drawn anew from its seed, in the order in which it draws."""
    grammar = GRAMMAR.reviews(random.Random(5))
    held_out = list(islice(grammar, 1500))
    rows = generate("reviews", seed=5)
    assert [one.text for one in held_out] == [row["text"] for row in chain(rows["validation"], rows["test"])]
    known = {row["text"] for row in rows["train"]}
    content = [one.content for one in islice(grammar, 7000) if one.text in known]
    assert len(content) >= 5990
    reserved = {pattern for one in held_out for pattern in near_patterns(one.content)}
    assert not [one for one in content if not reserved.isdisjoint(near_patterns(one))]


def test_words_of_the_verdict_stand_in_good_reviews_as_often_as_in_bad_ones(splits):
    counts = {label: Counter() for label in LABELS}
    for row in splits["train"]:
        counts[row["label"]].update(set(words(row["text"].lower())))
    for word in ("not", "hardly", "love", "hate", "wonderful", "dreadful", "but", "although"):
        bad, good = (counts[label][word] for label in LABELS)
        assert 0.75 < bad / good < 1.33, word


def test_a_bag_of_words_stays_at_or_under_three_quarters(splits):
    train = [(row["text"], LABELS.index(row["label"])) for row in splits["train"][:3000]]
    answers = word_bag_baseline(train, [row["text"] for row in splits["test"]], 2)
    right = sum(LABELS[answer] == row["label"] for answer, row in zip(answers, splits["test"], strict=True))
    assert right / len(answers) <= 0.75


def test_what_was_said_of_the_whole_decides():
    small = {
        "opened": ["Seen."], "films": ["film"], "parts": ["plot"],
        "said": {"plain": ["it is {adjective}"], "turned": ["it is not {adjective}"]},
        "parts_said": {"plain": ["the {part} is {adjective}"], "turned": ["the {part} is not {adjective}"]},
        "contrast": {"sentences": ["{first}, but {last}.", "{last}, although {first}."]},
        "positive": {"adjective": ["good"]}, "negative": {"adjective": ["bad"]},
    }  # fmt: skip
    good = {
        "it is good": "positive",
        "it is not bad": "positive",
        "it is bad": "negative",
        "it is not good": "negative",
    }
    many = ReviewGrammar(small | {"parts": [f"part{n}" for n in range(20)]})
    for review in drawn(400, grammar=many):
        text = review.text.lower()
        verdicts = re.findall(r"it is (?:not )?(?:good|bad)", text)
        assert len(verdicts) == (2 if review.kind == "contrast" else 1)
        last = verdicts[-1 if ", but" in text else 0]
        assert good[last] == review.label
        if review.kind == "early":
            assert text.index("it is") < text.index("the part")


def test_the_same_seed_gives_the_same_reviews_in_another_process():
    code = "import test_reviews as t; print(t.digest(8))"
    here = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": f"{os.path.dirname(here)}{os.pathsep}{here}", "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(8)
    assert digest(9) != digest(8)


def digest(seed):
    return hashlib.sha256("\n".join(one.text for one in drawn(300, seed)).encode()).hexdigest()


def test_an_early_verdict_is_forgotten_by_a_simple_network_and_kept_by_an_lstm():
    """With pooling `last`, and without negation, which takes longer to learn: so that memory alone is asked for."""
    plain = ReviewGrammar(GRAMMAR.data, turned=0.0)
    train, test = drawn(1500, 1, ("plain", "early"), plain), drawn(200, 2, ("early",), plain)
    known = {word: 1 + n for n, word in enumerate(dict.fromkeys(w for one in train for w in words(one.text.lower())))}

    def batch(reviews):
        ids = [torch.tensor([known.get(word, 0) for word in words(one.text.lower())]) for one in reviews]
        tokens = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        return tokens, torch.tensor(list(map(len, ids))), torch.tensor([LABELS.index(one.label) for one in reviews])

    def accuracy(cell):
        torch.manual_seed(1)
        shape = ClassifierShape(len(known) + 1, 2, 16, 32, cell, bidirectional=False, pooling="last")
        model = TextClassifier(shape, ClassifierDropout())
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        batches = [batch(train[start : start + 32]) for start in range(0, len(train), 32)]
        for _ in range(6):
            for tokens, lengths, labels in batches:
                loss = F.cross_entropy(model(tokens, lengths), labels)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
        tokens, lengths, labels = batch(test)
        return float((model.eval()(tokens, lengths).argmax(1) == labels).double().mean())

    assert accuracy("lstm") > 0.9
    assert accuracy("rnn") < 0.65
