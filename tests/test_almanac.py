import hashlib
import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from nlpseq.baselines import commonest_baseline
from nlpseq.cards import read_card
from nlpseq.grammars.almanac import Almanac, read_almanac
from nlpseq.share import share_path
from nlpseq.synthetic import generate
from nlpseq.text import words

LEXICON = share_path("corpora", "almanac", "lexicon.toml")
WORDS = read_almanac(LEXICON)
HELD_OUT = {word for reserved in WORDS.data["held_out"].values() for word in reserved}
ASKED = [pair for category, pairs in WORDS.pairs.items() if category != "people" for pair in pairs]


@pytest.fixture(scope="module")
def splits():
    return generate("almanac", seed=4)


@pytest.fixture(scope="module")
def texts(splits):
    return [row["text"] for row in splits["train"]]


def test_the_almanac_is_what_its_card_says(splits):
    card = read_card("almanac")
    assert {name: len(rows) for name, rows in splits.items()} == {name: it.rows for name, it in card.splits.items()}
    assert {column for rows in splits.values() for row in rows for column in row} == set(card.columns.values())


def test_documents_are_three_to_six_whole_sentences(texts):
    for text in texts:
        sentences = re.findall(r"[A-Z][^.!?{}\[\]]*[.!?](?: |$)", text)
        assert "".join(sentences) == text
        assert 3 <= len(sentences) <= 6


def test_words_agree(texts):
    text = " ".join(texts[:6000])
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text, re.IGNORECASE)
    one = "|".join(word for word, _ in WORDS.pairs["number"])
    many = "|".join(word for _, word in WORDS.pairs["number"])
    assert re.search(rf"\b({one}) (is|was|looks)\b", text)
    assert re.search(rf"\b({many}) (are|were|look)\b", text)
    assert not re.search(rf"\b({one}) (are|were|look)\b", text)
    assert not re.search(rf"\b({many}) (is|was|looks)\b", text)


def test_the_words_of_a_pair_never_stand_in_one_document(splits):
    pairs = [{first.lower(), second.lower()} for pairs in WORDS.pairs.values() for first, second in pairs]
    partners = {word: [pair - {word} for pair in pairs if word in pair] for pair in pairs for word in pair}
    for row in splits["train"] + splits["validation"]:
        said = set(words(row["text"].lower()))
        together = [word for word in said & partners.keys() if any(other <= said for other in partners[word])]
        assert not together, row


def test_a_document_has_no_partner_of_its_word_and_never_comes_again():
    entries = {"number": {"car": {}}, "gender": {}, "capital": {}, "past": {}, "comparative": {}}
    sentences = {"one": ["a {word}", "many cars"], "many": ["many {word}"]}
    small = {"entries": entries, "sentences": sentences, "slots": {}, "persons": {}, "plurals": {}, "irregular": {}}
    small |= {"tenses": {"present": {}, "past": {}}}
    for seed in range(9):
        drawn = islice(Almanac(small).documents(random.Random(seed)), 2)
        assert sorted(drawn) == ["A car.", "Many cars."]


def test_every_asked_word_is_common(texts):
    counts = Counter(word for text in texts for word in words(text.lower()))
    assert {word for pair in ASKED for word in pair if counts[word.lower()] < 80} == set()


def test_held_out_pairs_are_asked_and_no_others(splits):
    asked = splits["analogies"]
    assert {row[place] for row in asked for place in "ac"} == HELD_OUT
    assert {(row[first], row[second]) for row in asked for first, second in ("ab", "cd")} <= set(ASKED)
    others = WORDS.analogies(held_out=False)
    assert HELD_OUT.isdisjoint(row[place] for row in others for place in "abcd")
    assert {"category": "gender", "a": "man", "b": "woman", "c": "king", "d": "queen"} in asked
    assert all(len({row[place] for place in "abcd"}) == 4 for row in asked + others)


def test_the_same_seed_gives_the_same_documents_in_another_process():
    code = "import test_almanac as t; print(t.digest(8))"
    here = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": f"{os.path.dirname(here)}{os.pathsep}{here}", "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(8)
    assert digest(9) != digest(8)


def digest(seed):
    documents = islice(WORDS.documents(random.Random(seed)), 300)
    return hashlib.sha256("\n".join(documents).encode()).hexdigest()


@pytest.mark.parametrize(
    ("phrase", "tense", "many", "made"),
    [
        ("wave at", "present", False, "waves at"),
        ("wave at", "past", False, "waved at"),
        ("carry", "present", False, "carries"),
        ("carry", "past", True, "carried"),
        ("obey the parents", "present", False, "obeys the parents"),
        ("watch", "present", False, "watches"),
        ("watch", "present", True, "watch"),
        ("chop", "past", False, "chopped"),
        ("board", "past", False, "boarded"),
        ("sing", "past", True, "sang"),
        ("be", "present", True, "are"),
        ("be", "past", True, "were"),
        ("be", "past", False, "was"),
    ],
)
def test_verbs(phrase, tense, many, made):
    assert WORDS._verb(phrase, tense, many=many) == made


def test_plurals():
    found = dict(WORDS.pairs["number"])
    assert [found[word] for word in ("city", "leaf", "mouse", "bus")] == ["cities", "leaves", "mice", "buses"]
    assert (WORDS._plural("lady"), WORDS._plural("boy")) == ("ladies", "boys")


def test_the_commonest_word_is_the_baselines_answer():
    texts = ["Rome, Rome and Paris", "paris, rome, Oslo"]
    pairs = {"Italy": "Rome", "France": "Paris", "Norway": "Oslo"}
    questions = [
        {"category": "capital", "a": a, "b": pairs[a], "c": c, "d": pairs[c]} for a in pairs for c in pairs if a != c
    ]
    questions.append({"category": "one", "a": "x", "b": "y", "c": "z", "d": "x"})
    assert commonest_baseline(texts, questions) == ["Paris", "Paris", "Rome", "Rome", "Rome", "Rome", ""]


def test_counting_the_commonest_words_answers_less_than_a_fifth(splits, texts):
    answers = commonest_baseline(texts, splits["analogies"])
    right = [answer == row["d"] for answer, row in zip(answers, splits["analogies"], strict=True)]
    assert 0 < np.mean(right) < 0.2


def test_skip_gram_answers_more_than_nine_in_ten(splits, texts):
    torch = pytest.importorskip("torch")
    from nlpseq.batches import Ragged
    from nlpseq.settings import EmbeddingConfig
    from nlpseq.word_training import begin_words, fit_words

    documents = [words(text.lower()) for text in texts]
    counts = Counter(word for document in documents for word in document)
    rank = {word: place for place, (word, _) in enumerate(counts.most_common())}
    ids = np.array([rank[word] for document in documents for word in document], np.int32)
    stream = Ragged(ids, np.cumsum([0, *map(len, documents)]))
    config = EmbeddingConfig(embed_size=64, epochs=2, learning_rate=0.05)
    run = begin_words(np.bincount(ids), config, seed=1, device=torch.device("cpu"), tokens=len(ids))
    for _ in fit_words(run, stream):
        pass
    vectors = torch.nn.functional.normalize(run.inputs).numpy()
    asked = np.array([[rank[row[place].lower()] for place in "abcd"] for row in splits["analogies"]])
    a, b, c, d = asked.T
    near = (vectors[b] - vectors[a] + vectors[c]) @ vectors.T
    np.put_along_axis(near, asked[:, :3], -np.inf, axis=1)
    assert np.mean(near.argmax(1) == d) > 0.9
