from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from nlpseq import vector_scores
from nlpseq.corpora import load_corpus
from nlpseq.errors import CorpusError, UsageError
from nlpseq.report import Table
from nlpseq.vector_scores import (
    Pair,
    Question,
    WordTest,
    evaluate,
    evaluate_embeddings,
    load_tests,
    local_tests,
)
from nlpseq.vectors import Embeddings

SIZE = 12
TIGER = '{"word1": "tiger", "word2": "cat", "score": 7.35}'


def made(rows: int = 300) -> Embeddings:
    """Words in several cases, A and a among them, over vectors with a few regularities to get right."""
    generator = np.random.default_rng(5)
    words = [f"{'W' if i % 3 else 'w'}{i // 2}" for i in range(rows)]
    kinds, things = generator.normal(size=(10, SIZE)), generator.normal(size=(rows, SIZE))
    vectors = 1.5 * kinds[np.arange(rows) % 10] + things[np.arange(rows) // 10]
    return Embeddings(list(dict.fromkeys(words)), vectors[: len(dict.fromkeys(words))])


def questions(embeddings: Embeddings, n: int = 200) -> list[Question]:
    """Questions over them, some with words that are not there, or are the same but for their case."""
    generator = np.random.default_rng(6)
    words = embeddings.words
    found = []
    for number in range(n):
        row, other = generator.integers(0, 20, 2) * 10
        i, j = generator.integers(0, 10, 2)
        places = [row + i, row + j, other + i, other + j]
        a, b, c, d = (words[place] for place in places)
        d = "absent" if number % 9 == 0 else d
        found.append(Question(f"category {number % 3}", a.upper() if number % 2 else a, b, c, d))
    return found


def gensim_file(folder: Path, asked: list[Question]) -> Path:
    lines: list[str] = []
    for category in dict.fromkeys(question.category for question in asked):
        lines += [f": {category}", *(" ".join(q[1:]) for q in asked if q.category == category)]
    (folder / "questions.txt").write_text("\n".join(lines))
    return folder / "questions.txt"


@pytest.mark.parametrize("limit", [50, 120, 1000])
def test_analogies_are_counted_as_gensim_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int):
    e = made()
    asked = questions(e)
    file = gensim_file(tmp_path, asked)
    monkeypatch.setattr(vector_scores, "_MOST", limit)
    monkeypatch.setattr(vector_scores, "_CELLS", 5000)  # several parts
    found = evaluate(e, load_tests(file))
    keyed = Embeddings(e.words, e.vectors).keyed_vectors
    for name, dummy in (("analogies", False), ("analogies_all", True)):
        value, sections = keyed.evaluate_word_analogies(str(file), restrict_vocab=limit, dummy4unknown=dummy)
        assert found.scores[name].value == pytest.approx(100 * value)
        assert found.scores[name].n == len(sections[-1]["correct"]) + len(sections[-1]["incorrect"])
    table = found.blocks[0]
    assert isinstance(table, Table)
    for row, section in zip(table.rows, sections[:-1], strict=True):
        assert (row[0], row[1]) == (section["section"], len(section["correct"]) + len(section["incorrect"]))
        assert row[4] == pytest.approx(100 * len(section["correct"]) / row[1])
    value, n = found.scores["analogies"].value, found.scores["analogies"].n
    assert 10 < value < 100
    assert found.counts == {"analogies_out_of_vocabulary": 200 - n}
    assert f"vocabulary:{min(limit, len(e))}|asked:{n}-of-200" in found.scores["analogies"].signature


def test_another_case_of_a_word_in_the_question_is_no_answer(tmp_path: Path):
    vectors = [[1, 3, 0], [0.5, 3, 2], [1, 0, 0], [1, 0, 1], [1, 2, 2]]
    e = Embeddings(["king", "King", "man", "woman", "queen"], vectors)
    assert e.analogy("man", "king", "woman", 1)[0][0] == "King"
    asked = [Question("", "man", "king", "woman", "queen")]
    file = gensim_file(tmp_path, asked)
    value, _ = e.keyed_vectors.evaluate_word_analogies(str(file))
    assert (100 * value, evaluate(e, load_tests(file)).scores["analogies"].value) == (100, 100)


def test_both_cuts_of_google_s_questions_are_scored(monkeypatch: pytest.MonkeyPatch):
    e = made()
    monkeypatch.setattr(vector_scores, "CUTS", {"analogies_30k": 60, "analogies_300k": 1000})
    found = evaluate(e, [WordTest("analogies", "google_analogies test", questions=questions(e))])
    assert list(found.scores) == ["analogies_30k", "analogies_30k_all", "analogies_300k", "analogies_300k_all"]
    assert found.scores["analogies_30k"].n < found.scores["analogies_300k"].n < 200
    assert found.scores["analogies_30k_all"].n == found.scores["analogies_300k_all"].n == 200


def test_words_go_by_frequency_where_it_is_known():
    e = made()
    asked = [WordTest("analogies", "google_analogies test", questions=questions(e))]
    order = np.random.default_rng(1).permutation(len(e))
    shuffled = Embeddings([e.words[i] for i in order], e.vectors[order], 1000 - order)
    assert evaluate(shuffled, asked).scores == evaluate(e, asked).scores


def test_pairs_are_scored_by_gensim(tmp_path: Path):
    e = made()
    generator = np.random.default_rng(2)
    pairs = [(*generator.choice(e.words, 2), float(generator.normal())) for _ in range(60)]
    pairs += [("w3", "absent", 5.0), ("#x", "w3", 1.0)]
    gensim = "\n".join(f"{a}\t{b}\t{score}" for a, b, score in pairs)
    (tmp_path / "own.txt").write_text(gensim)
    _, spearman, _ = e.keyed_vectors.evaluate_word_pairs(str(tmp_path / "own.txt"))
    test = WordTest("ws353", "mine", [Pair(*pair) for pair in pairs])
    score = evaluate(e, [test]).scores["ws353"]
    assert score.value == pytest.approx(spearman[0])
    assert score.n == 60
    assert evaluate(e, [test]).counts == {"ws353_out_of_vocabulary": 2}
    assert "pairs:60-of-62" in score.signature
    spread = 1.96 * math.sqrt((1 + score.value**2 / 2) / 57)
    assert score.low == pytest.approx(math.tanh(math.atanh(score.value) - spread), abs=1e-4)
    assert score.high == pytest.approx(math.tanh(math.atanh(score.value) + spread), abs=1e-4)


def test_a_table_of_pairs_is_called_by_its_test():
    tests = [WordTest(name, f"corpus {name}", [Pair("w0", "w3", 1.0)]) for name in ("one", "two")]
    assert [block.title for block in evaluate(made(), tests).blocks] == [
        f"Word pairs: corpus {n}" for n in ("one", "two")
    ]


def test_a_word_that_begins_with_a_hash_is_no_comment():
    vectors = np.random.default_rng(4).normal(size=(5, 3))
    for first in ("a", "#a"):
        e = Embeddings([first, "b", "c", "d", "e"], vectors)
        pairs = [Pair(first, "b", 1), Pair("c", first, 2), Pair("b", "c", 3), Pair("d", "e", 4)]
        score = evaluate(e, [WordTest("pairs", "mine", pairs)]).scores["pairs"]
        assert (score.n, round(score.value, 6)) == (4, -0.8)


def test_what_cannot_be_computed_is_not_a_number():
    tests = [
        WordTest("pairs", "mine", [Pair("x", "y", 1.0), Pair("w0", "w3", 1.0)]),
        WordTest("analogies", "mine", questions=[Question("", "x", "y", "z", "w0")]),
    ]
    found = evaluate(made(), tests)
    assert [score.value for score in found.scores.values()] == pytest.approx([math.nan, math.nan, 0], nan_ok=True)
    assert [score.n for score in found.scores.values()] == [1, 0, 1]
    assert [block.title for block in found.blocks] == ["Word pairs: mine"]  # no table of questions never asked
    equal = Embeddings(["a", "b", "c"], np.ones((3, 2)))
    same = evaluate(equal, [WordTest("pairs", "mine", [Pair("a", "b", 1), Pair("a", "c", 2), Pair("b", "c", 3)])])
    assert math.isnan(same.scores["pairs"].value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.tsv", "# a longer comment\nlove\tsex\t6.77\ntiger\tcat\t7.35\n"),
        ("p.csv", "Word 1,Word 2,Human (mean)\nlove,sex,6.77\ntiger,cat,7.35\n"),
        ("p.tsv", "score\tword1\tword2\tmore\n6.77\tlove\tsex\tx\n7.35\ttiger\tcat\ty\n"),
        ("p.txt", "love sex 6.77\n\ntiger cat 7.35"),
        (
            "p.jsonl",
            '{"word1": "love", "word2": "sex", "score": 6.77}\n{"word1": "tiger", "word2": "cat", "score": 7.35}',
        ),
    ],
)
def test_pairs_of_one_s_own(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)
    (test,) = load_tests(tmp_path / name)
    assert (test.name, test.questions) == ("pairs", [])
    assert test.pairs == [Pair("love", "sex", 6.77), Pair("tiger", "cat", 7.35)]


@pytest.mark.parametrize(
    ("name", "content", "categories"),
    [
        ("q.txt", ": capitals\nParis France Rome Italy\n: family\nman woman king queen\n", ["capitals", "family"]),
        ("q.tsv", "Paris\tFrance\tRome\tItaly\nman\twoman\tking\tqueen\n", ["", ""]),
        ("q.csv", "category,a,b,c,d\nx,Paris,France,Rome,Italy\ny,man,woman,king,queen\n", ["x", "y"]),
    ],
)
def test_analogies_of_one_s_own(tmp_path: Path, name: str, content: str, categories: list[str]):
    (tmp_path / name).write_text(content)
    (test,) = load_tests(tmp_path / name)
    assert test.name == "analogies"
    wanted = [("Paris", "France", "Rome", "Italy"), ("man", "woman", "king", "queen")]
    assert test.questions == [Question(c, *words) for c, words in zip(categories, wanted, strict=True)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", "love sex 6\na b c\n", "hold two words and a score, or the four words .*, but does not .*, line 2"),
        ("p.txt", "love sex 6\na b nan\n", "line 2"),
        ("p.txt", "love sex 6\na b\n", "line 2"),
        ("q.txt", "a b c d\na b c\n", "line 2"),
        ("p.txt", "", "hold word pairs, or analogies, but holds none"),
        ("p.txt", "a b 1\na b c d\n", "hold word pairs, or analogies, but holds both"),
        ("p.txt", "a b \xff\n", "be UTF-8 text"),
        ("p.jsonl", '{"word1": "a", "word2": "b", "score": "high"}', "hold words, and numbers as scores, but does not"),
        ("p.jsonl", '{"word1": "a", "word2": 3, "score": 3}', "hold words, and numbers as scores"),
        ("p.jsonl", '{"text": "a"}', "have columns word1, word2, score or a, b, c, d, but has text"),
    ],
)
def test_bad_tests_are_one_sentence(tmp_path: Path, name: str, content: str, said: str):
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(CorpusError, match=said) as error:
        load_tests(tmp_path / name)
    assert len(str(error.value).splitlines()) == 1


def test_tests_are_found_among_the_splits_of_a_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    (tmp_path / "train.txt").write_text("text\n")
    (tmp_path / "test.jsonl").write_text('{"a": "1", "b": "2", "c": "3", "d": "4", "category": null}\n')
    corpus = load_corpus(tmp_path)
    assert [test.name for test in load_tests(tmp_path)] == ["analogies"]
    assert local_tests(corpus) == load_tests(tmp_path)
    assert local_tests(corpus)[0].questions == [Question("", "1", "2", "3", "4")]
    with pytest.raises(CorpusError, match="have columns word1, word2, score or a, b, c, d, but has text"):
        load_tests(tmp_path, "train")


def test_the_command_prints_scores_and_writes_a_report_only_where_it_is_told_to(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    e = made()
    e.export(tmp_path / "v", format="glove")
    file = gensim_file(tmp_path, questions(e))
    before = sorted(tmp_path.iterdir())
    outcome = run("embed", "evaluate", "--vectors", tmp_path / "v", "--corpus", file)
    assert outcome.code == 0
    assert outcome.out.startswith("analogies ")
    assert "category 2  66  " in outcome.out
    assert sorted(tmp_path.iterdir()) == before
    again = run("embed", "evaluate", "--vectors", tmp_path / "v", "--corpus", file, "--out", tmp_path / "report")
    assert again.out == outcome.out
    assert f"The report is {tmp_path / 'report' / 'report.html'}." in again.err
    assert "The report is" not in outcome.err
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["scores"]["analogies"]["n"] == 200 - report["counts"]["analogies_out_of_vocabulary"]
    assert "category 2" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("model", "`out` must be a folder without a model, which has a report of its own, but is a model's (model)."),
        ("file", "`out` must be a folder, but is in or at a file (file)."),
        (
            "theirs",
            "`out` must be a folder without files that a report would take the place of, but is one with report.json "
            "and report.html (theirs).",
        ),
        ("file/below", "`out` must be a folder, but is in or at a file (file)."),
    ],
)
def test_a_report_neither_replaces_a_model_s_nor_a_file(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str
):
    monkeypatch.chdir(tmp_path)
    for name in ("model", "theirs"):
        (tmp_path / name).mkdir()
        for file in ("report.json", "report.html"):
            (tmp_path / name / file).write_text("mine")
    for name in ("file", "model/manifest.json"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=re.escape(said)):
        evaluate_embeddings(made(), tmp_path / "no tests", out=out)
    outcome = run("embed", "evaluate", "--vectors", "no vectors", "--out", out)  # refused before these are looked for
    assert (outcome.code, outcome.out, outcome.sentences) == (2, "", [said])
    assert {path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {"mine"}
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "manifest.json",
        "report.html",
        "report.json",
    ]


@pytest.mark.real
def test_on_the_glove_vectors_the_scores_are_those_that_gensim_gives():
    found = evaluate(Embeddings.load("glove_6b_100d_top100k"), load_tests())
    # gensim 4.4 itself, run once on the same files (the larger figures take it a minute and a half)
    right = {"analogies_30k": (10032, 15276), "analogies_300k": (12318, 19230)}
    for name, (hits, n) in right.items():
        assert found.scores[name].n == n
        assert found.scores[name].value == pytest.approx(100 * hits / n)
        assert found.scores[f"{name}_all"].value == pytest.approx(100 * hits / 19544)
    assert found.scores["ws353"].value == pytest.approx(0.533, abs=5e-4)
    assert found.scores["simlex999"].value == pytest.approx(0.296, abs=5e-4)
    assert (found.scores["ws353"].n, found.scores["simlex999"].n) == (353, 998)


@pytest.mark.parametrize("file", [True, False])
def test_a_split_of_what_has_none_is_refused(tmp_path: Path, file: bool):
    (tmp_path / "q.txt").write_text(": capitals\nparis france rome italy\n")
    with pytest.raises(UsageError, match="`split` must be given for a corpus that has splits, but is given for"):
        load_tests(tmp_path / "q.txt" if file else None, "test")
