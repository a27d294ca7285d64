"""The report of word vectors: what is scored on this machine, which words are shown, and the map."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from test_embed_stage import ANIMALS, DEEDS, MACHINES, RUNS, lines, small

from nlpseq import Embeddings, train_embeddings
from nlpseq.embed_report import chosen, embedding_report, perplexities
from nlpseq.errors import ArtefactError
from nlpseq.metrics import Score
from nlpseq.report import Map, Paragraph, Table
from nlpseq.vector_scores import Question, WordTest
from nlpseq.word_training import HeldOut

WANTED = {"splits": "train", "tokenizer": None, "text of the tokenizer": "", "architecture": "cbow", "window": 3,
          "dynamic_window": True, "subsample": 0.01, "lowercase": True, "numbers": False, "links": True,
          "min_count": 5, "max_words": None}  # fmt: skip
FACTS = {"corpus": "farm", "columns": ["text"], "vocabulary": 4, "words": 9, "words_dropped": 1, "documents": 2,
         "held_documents": 1, "held_words": 6, "words_trained": 900, "minutes": 0.5, "fingerprint": WANTED}  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "farm.txt").write_text(lines(1500, 1))
    return tmp_path / "farm.txt"


@pytest.fixture
def tests_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror with word pairs and analogies; SimLex has too many unknown words to be told."""
    import pyarrow
    import pyarrow.parquet

    def table(name: str, rows: list[dict[str, object]]) -> None:
        path = tmp_path / "mirror" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)

    pairs = [{"word1": ANIMALS[0], "word2": word, "score": score}
             for words, score in ((ANIMALS, 9.0), (MACHINES, 1.0)) for word in words[1:]]  # fmt: skip
    table("word_similarity/WS-353-ALL.parquet", pairs)
    strange = [{"word1": f"un{n}", "word2": "known", "score": 5.0} for n in range(500)]
    table("word_similarity/SIMLEX-999.parquet", pairs + strange)
    question = dict(zip("abcd", (ANIMALS[0], DEEDS[0], MACHINES[0], RUNS[0]), strict=True))
    table("google_analogies/test.parquet", [{"category": "deeds", **question}] * 3)
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path / "mirror"))


def test_what_is_at_hand_is_scored_where_enough_of_it_is_known(text: Path, tmp_path: Path, tests_at_hand: None):
    train_embeddings(small(text, tmp_path / "m", epochs=4, save_minutes=5))
    report = json.loads((tmp_path / "m" / "report.json").read_bytes())
    assert report["scores"]["ws353"]["value"] > 0.6
    assert report["scores"]["analogies_30k"]["n"] == 3
    assert "simlex999" not in report["scores"]
    assert report["counts"]["simlex999_out_of_vocabulary"] == 500


def test_training_needs_no_gensim(text: Path, tmp_path: Path, tests_at_hand: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gensim", None)
    with pytest.raises(ImportError):
        import gensim  # noqa: F401
    train_embeddings(small(text, tmp_path / "m", epochs=0.1))
    scores = json.loads((tmp_path / "m" / "report.json").read_bytes())["scores"]
    assert "analogies_30k" in scores
    assert "ws353" not in scores


def vectors(words: list[str], counts: list[int], size: int = 8) -> Embeddings:
    rows = np.random.default_rng(1).normal(size=(len(words), size))
    return Embeddings(words, rows, counts, facts=FACTS)


def report(tmp_path: Path, embeddings: Embeddings, held: dict[str, HeldOut] | None = None):
    log = tmp_path / "metrics.jsonl"
    records = [(0, 0.6, 100, 10), (0, 0.4, 300, 20), (1, 0.3, 100, 30), (1, 0.0, 0, 40)]
    log.write_text("".join(
        json.dumps({"epoch": e, "loss": x, "noise_words": n, "tokens": t, "seconds": 0.5, "rate": 0.1}) + "\n"
        for e, x, n, t in records
    ))  # fmt: skip
    return embedding_report(embeddings, held=held or {}, tests=[], log=log)


def block(found, title: str):
    return next(one for one in found.blocks if one.title == title)


def test_the_loss_of_an_epoch_is_the_mean_over_its_noise_words(tmp_path: Path):
    found = report(tmp_path, vectors(["abcd"], [1]))
    table = block(found, "Loss per noise word, each epoch")
    assert [(row[0], round(row[1], 6), row[2]) for row in table.rows] == [(1, 0.45, 400), (2, 0.3, 100)]
    assert list(block(found, "Loss per noise word").series[0].y) == [0.6, 0.4, 0.3]
    assert found.counts["words_trained_per_second"] == 450


def test_held_out_figures_are_scores_with_their_signature(tmp_path: Path):
    nothing = HeldOut(float("nan"), float("nan"), float("nan"), 0)  # of text without a pair
    held = {"perplexity": HeldOut(0.1, 0.2, 50.0, 7), "perplexity_unigram": HeldOut(0.0, 0.0, 60.0, 7),
            "perplexity_not_thinned": nothing}  # fmt: skip
    found = report(tmp_path, vectors(["abcd"], [1]), held)
    assert found.scores.keys() == {"perplexity", "perplexity_unigram"}
    assert found.scores["perplexity"] == Score(
        *(50.0, None, None, 7),
        "softmax:full|model:cbow|window:3,dynamic|text:thinned out as in training|subsample:0.01|vocabulary:4|"
        "normalised:lowercase+links|tokens:6 held-out words|pairs:7",
    )
    assert "|model:unigram|" in found.scores["perplexity_unigram"].signature
    table = block(found, "Normaliser and perplexity")
    assert table.rows == [
        ("thinned out as in training", "vectors", 0.1, 0.2, 50.0, 7),
        ("thinned out as in training", "yardstick (unigram)", None, None, 60.0, 7),
    ]
    assert "On about 4,096 contexts" in table.note


@pytest.mark.parametrize(
    ("name", "other", "part"),
    [
        ("perplexity", {"window": 4}, "window:4,dynamic"),
        ("perplexity", {"dynamic_window": False}, "window:3"),
        ("perplexity", {"subsample": None}, "subsample:none"),
        ("perplexity_not_thinned", {}, "subsample:none"),
        ("perplexity", {"lowercase": False, "links": False}, "normalised:none"),
        ("perplexity", {"tokenizer": "units", "text of the tokenizer": "ab12"}, "tokenizer:ab12"),
        ("perplexity", {"tokenizer": "units", "text of the tokenizer": "ab12"}, "tokens:6 held-out units"),
    ],
)
def test_the_signature_tells_what_makes_a_perplexity_another(name: str, other: dict[str, object], part: str):
    facts = FACTS | {"fingerprint": WANTED | other}
    signature = perplexities({name: HeldOut(0.1, 0.2, 50.0, 7)}, facts)[name].signature
    assert part in signature.split("|")


def test_of_units_there_is_told_what_has_an_effect_and_by_their_name(tmp_path: Path):
    found = Embeddings(["a", "b"], np.eye(2), [2, 1], facts=FACTS | {"fingerprint": WANTED | {"tokenizer": "units"}})
    told = report(tmp_path, found)
    assert told.settings.keys() == {"splits", "tokenizer", "architecture", "window", "dynamic_window", "subsample"}
    assert told.counts["units_with_a_vector"] == 4
    assert not any("word" in name for name in told.counts)
    assert block(told, "Loss per noise word").x_label == "units of text"
    plain = report(tmp_path, vectors(["abcd"], [1]))
    assert plain.settings["numbers"] is False
    assert plain.counts["words_dropped_as_too_rare"] == 1


def test_a_sentence_explains_the_scores_that_there_are(tmp_path: Path):
    assert not any(isinstance(one, Paragraph) for one in report(tmp_path, vectors(["abcd"], [1])).blocks)
    held = {"perplexity": HeldOut(0.1, 0.2, 50.0, 7)}
    told = block(report(tmp_path, vectors(["abcd"], [1]), held), "How to read the scores").text
    assert told.startswith("Perplexity: ")
    question = WordTest("analogies", "farm test", questions=[Question("", "one", "two", "three", "four")])
    words = vectors(["one", "two", "three", "four"], [4, 3, 2, 1])
    asked = embedding_report(words, held={}, tests=[question], log=tmp_path / "metrics.jsonl")
    told = block(asked, "How to read the scores").text
    assert re.fullmatch(r"Analogies: .* of those whose four words all have a vector; “all”: of all questions.*", told)


def test_words_are_shown_by_rank_of_those_with_letters(tmp_path: Path):
    words = [f"wo{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(400)]
    found = vectors(["the", ",", "[NUM]", *words, "\u2581piece"], [1000, 900, 800, *range(500, 100, -1), 700])
    places = chosen(found)
    assert found.words[places[0]] == words[8]  # the tenth: the piece of a tokeniser counts without its sign
    assert (len(places), places) == (12, sorted(places))
    shown = report(tmp_path, found)
    assert [row[0] for row in block(shown, "Nearest neighbours").rows] == [found.words[place] for place in places]
    assert len(block(shown, "Map of the commonest words").points) == 150


def test_neighbours_are_the_nearest_by_cosine(tmp_path: Path):
    rows = [[-1.0, n] for n in range(12)]
    rows[9], rows[3], rows[7] = [1.0, 0.0], [9.0, 1.0], [2.0, 2.0]
    names = [f"wor{chr(97 + n)}" for n in range(12)]
    table = block(report(tmp_path, Embeddings(names, rows, facts=FACTS)), "Nearest neighbours")
    assert isinstance(table, Table)
    assert table.rows[0][0] == "worj"
    assert table.rows[0][2].startswith("word 0.99, worh 0.71, worl -0.09, ")
    assert "worj" not in table.rows[0][2]


def test_the_map_is_the_first_two_principal_components(tmp_path: Path):
    angles = np.linspace(0, 3, 20)
    rows = np.stack([np.zeros(20), 5 * np.cos(angles), np.zeros(20), 2 * np.sin(angles)], 1)
    words = Embeddings([f"wo{chr(97 + n)}" for n in range(20)], rows, facts=FACTS)
    drawn = block(report(tmp_path, words), "Map of the commonest words")
    assert isinstance(drawn, Map)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    plane = np.array([point[1:] for point in drawn.points])
    assert np.allclose(np.linalg.norm(plane[:, None] - plane, axis=2), np.linalg.norm(unit[:, None] - unit, axis=2))
    shares = [int(share) for share in re.search(r"\((\d+) and (\d+) % of the variance\)", drawn.note).groups()]
    assert sum(shares) == 100
    assert shares[0] > shares[1]


@pytest.mark.parametrize(("words", "size"), [(["one", "two"], 4), (["aaa", "bbb", "ccc"], 1), ([",", "."], 3)])
def test_too_little_for_a_map_is_an_empty_one(tmp_path: Path, words: list[str], size: int):
    drawn = block(report(tmp_path, vectors(words, [3, 2, 1][: len(words)], size)), "Map of the commonest words")
    assert list(drawn.points) == []


def test_a_damaged_log_is_told(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text("nothing\n")
    with pytest.raises(ArtefactError, match=r"metrics.jsonl` must hold one JSON object per line, but is damaged"):
        embedding_report(vectors(["a"], [1]), held={}, tests=[], log=tmp_path / "metrics.jsonl")
