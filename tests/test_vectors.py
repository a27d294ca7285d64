from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from nlpseq import artefact
from nlpseq.errors import ArtefactError, CorpusError, UsageError
from nlpseq.vector_files import write_vectors
from nlpseq.vectors import STAGE, Coverage, Embeddings, StoredVectors, from_files, to_files

WORDS = ["man", "woman", "king", "queen", "[NUM]", "apple", "Paris", "[URL]", "naïve"]


def made(size: int = 6, rows: int = 0) -> Embeddings:
    """Random vectors in which king - man + woman is queen; with more words than WORDS where `rows` says so."""
    words = WORDS + [f"w{i}" for i in range(len(WORDS), rows)]
    vectors = np.random.default_rng(3).normal(size=(len(words), size)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[3] = 2 * (units[2] - units[0] + units[1])
    return Embeddings(words, vectors, range(100, 100 - len(words), -1), facts={"corpus": "mine"})


def brute(embeddings: Embeddings, vector: np.ndarray, left_out: list[str]) -> list[str]:
    cosines = {
        w: float(v @ vector / np.linalg.norm(v)) for w, v in zip(embeddings.words, embeddings.vectors, strict=True)
    }
    return [word for word in sorted(cosines, key=lambda word: -cosines[word]) if word not in left_out]


def test_nearest_words_are_those_of_the_largest_cosine():
    e = made(rows=40)
    found = e.nearest("king", 5)
    assert [word for word, _ in found] == brute(e, e["king"], ["king"])[:5]
    assert found[0][1] == pytest.approx(e.similarity("king", found[0][0]), abs=1e-6)
    assert [word for word, _ in e.nearest(e["king"] * 3, 5)] == brute(e, e["king"], [])[:5]
    assert len(e.nearest("king", 1000)) == len(e) - 1


def test_man_is_to_king_as_woman_is_to_queen():
    found = made().analogy("man", "king", "woman", 2)
    assert found[0] == ("queen", pytest.approx(1, abs=1e-6))
    assert len(found) == 2
    units = {word: made()[word] / np.linalg.norm(made()[word]) for word in WORDS}
    asked = ["apple", "Paris", "man"]
    wanted = brute(made(), units["Paris"] - units["apple"] + units["man"], asked)
    assert [word for word, _ in made().analogy(*asked, count=6)] == wanted


def test_what_an_object_says_of_itself():
    e = made()
    assert (len(e), e.vector_size, "king" in e, "King" in e, 7 in e) == (9, 6, True, False, False)
    assert e.similarity("king", "king") == pytest.approx(1)
    with pytest.raises(ValueError, match="read-only"):
        e["king"][0] = 1
    with pytest.raises(ValueError, match="read-only"):
        e.keyed_vectors.vectors[0, 0] = 1
    assert e.keyed_vectors.vectors.base is e.vectors.base  # no second copy
    assert e.keyed_vectors.get_vecattr("king", "count") == 98


def test_a_vector_of_zeros_is_near_to_nothing():
    e = Embeddings(["a", "b", "none"], [[1, 0], [1, 1], [0, 0]])
    assert [word for word, _ in e.nearest("a", 2)] == ["b", "none"]
    assert e.nearest("a", 2)[1][1] == 0


def test_a_query_takes_the_form_of_a_word_that_has_a_vector_as_lookup_does():
    e = made()
    for asked, meant in (("KING", "king"), ("3,000.5", "[NUM]"), ("http://a.org/b", "[URL]"), ("Paris", "Paris")):
        assert e.nearest(asked, 9) == e.nearest(meant, 9)
        assert e.similarity(asked, "apple") == e.similarity(meant, "apple")
        assert e.analogy(asked, "apple", "Queen", 9) == e.analogy(meant, "apple", "queen", 9)
        assert meant not in dict(e.nearest(asked, 9))
    with pytest.raises(UsageError, match="`KING` must be one of the 9 words, but is none; nearest spellings: `king`"):
        e["KING"]  # as "KING" in e is false


def test_a_query_of_units_takes_the_unit_that_begins_a_word():
    units = Embeddings(
        ["\u2581king", "s", "\u2581s", "\u2581", "\u2581Rome"], np.random.default_rng(1).normal(size=(5, 3))
    )
    for asked, meant in (("king", "\u2581king"), ("King", "\u2581king"), ("Rome", "\u2581Rome"), ("s", "s")):
        assert units.nearest(asked, 5) == units.nearest(meant, 5)
    for blank in ("", " "):
        with pytest.raises(UsageError, match="`word` must be one of the 5 words, but is blank"):
            units.nearest(blank)


@pytest.mark.parametrize(
    ("word", "near"),
    [("quen", "; nearest spellings: `queen`"), ("paris", "; nearest spellings: `Paris`"), ("zzzz", "")],
)
def test_an_unknown_word_is_a_sentence_with_the_nearest_spellings(word: str, near: str):
    e = made()
    for ask in (e.__getitem__, e.nearest, lambda w: e.similarity("king", w), lambda w: e.analogy("man", "king", w)):
        with pytest.raises(UsageError, match=rf"^`{word}` must be one of the 9 words, but is none{near}\.$"):
            ask(word)


def test_questions_that_make_no_sense():
    with pytest.raises(UsageError, match="`count` must be 1 or more, but is 0"):
        made().nearest("king", count=0)
    with pytest.raises(UsageError, match=r'`word` must be a word or a vector of 6, but is "\(3,\)"'):
        made().nearest(np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((["a"], [[1, 2], [3, 4]]), "`vectors` must be a row for each of 1 words"),
        ((["a"], [1]), "`vectors` must be a row for each"),
        (([], np.zeros((0, 2))), "`vectors` must be a row for each of 0"),
        ((["a", "a"], [[1], [2]]), "`words` must be distinct, but is 1 repeated"),
        ((["a"], [[np.nan]]), "`vectors` must be finite"),
        ((["a"], [[1]], [1, 2]), "`counts` must be one for each of 1 words"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments: tuple, said: str):
    with pytest.raises(UsageError, match=said):
        Embeddings(*arguments)


def test_tokens_are_looked_up_as_they_are_then_in_lowercase_then_as_numbers_and_links():
    e = made()
    tokens = ["king", "KING", "PARIS", "Paris", "3,000.5", "http://a.org/b", "B2B", "[NUM]", "king"]
    matrix, found = e.lookup(tokens)
    wanted = ["king", "king", None, "Paris", "[NUM]", "[URL]", None, "[NUM]", "king"]
    assert found.tolist() == [word is not None for word in wanted]
    for row, word in zip(matrix, wanted, strict=True):
        assert row.tolist() == (e[word].tolist() if word else [0] * 6)
    assert e.lookup([])[0].shape == (0, 6)
    assert not e.lookup(["nothing"])[1].any()


def test_a_table_starts_from_the_vectors_and_draws_the_rest_at_their_scale():
    vectors = np.random.default_rng(1).normal([5, -2, 0], [0.1, 2, 1], (2000, 3))
    e = Embeddings([f"w{i}" for i in range(2000)], vectors)
    tokens = ["w7", "W8", "12"] + [f"new{i}" for i in range(2000)]
    table, coverage = e.init_table(tokens, torch.Generator().manual_seed(1))
    assert (table.shape, table.dtype) == ((2003, 3), torch.float32)
    assert table[:2].numpy().tobytes() == e.vectors[7:9].tobytes()
    assert coverage == Coverage(tokens=2003, exact=1, lowercase=1, placeholder=0)
    assert (coverage.found, coverage.percent) == (2, pytest.approx(100 * 2 / 2003))
    drawn = table[2:].double().numpy()
    np.testing.assert_allclose(drawn.mean(0), vectors.mean(0), atol=0.2)
    np.testing.assert_allclose(drawn.std(0), vectors.std(0), rtol=0.1)
    again, _ = e.init_table(tokens, torch.Generator().manual_seed(1))
    other, _ = e.init_table(tokens, torch.Generator().manual_seed(2))
    assert torch.equal(table, again)
    assert not torch.equal(table, other)
    torch.nn.Embedding.from_pretrained(table, freeze=False).weight.sum().backward()  # it is a layer's to train


def test_a_subset_keeps_the_order():
    e = made().subset(["queen", "nothing", "man"])
    assert e.words == ("man", "queen")
    assert e.counts is not None
    assert e.counts.tolist() == [100, 97]
    assert e["queen"].tolist() == made()["queen"].tolist()


@pytest.mark.parametrize("counted", [True, False])
def test_a_model_folder_gives_back_what_was_saved(tmp_path: Path, counted: bool):
    e = made()
    stored = StoredVectors(list(e.words), e.vectors, e.counts if counted else None)
    artefact.save(tmp_path, STAGE, settings={}, files=to_files(stored), facts={"corpus": "mine"})
    loaded = Embeddings.load(tmp_path)
    assert (loaded.words, loaded.facts) == (e.words, {"corpus": "mine"})
    assert loaded.vectors.tobytes() == e.vectors.tobytes()
    assert (loaded.counts is not None) == counted


def test_a_word_that_was_never_seen_counts_as_one_without_a_vector():
    vectors = np.array([[1, 2], [3, 4], [1e-4, 1e-4]], np.float32)
    e = Embeddings(["a", "b", "<go>"], vectors, [5, 5, 0])
    table, coverage = e.init_table(["<go>", "a", *["x"] * 400], torch.Generator().manual_seed(1))
    assert (coverage.found, coverage.tokens) == (1, 402)
    assert e.lookup(["<go>", "b"])[1].tolist() == [False, True]
    assert table[1].tolist() == [1, 2]
    drawn = torch.cat([table[:1], table[2:]])
    assert drawn.mean(0).tolist() == pytest.approx([2, 3], abs=0.2)  # of a and b alone
    assert drawn.std(0).tolist() == pytest.approx([1, 1], abs=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"words.json": b"{}"},
        {"words.json": b'{"words": ["a"], "counts": null}'},
        {"words.json": b"junk"},
        {"vectors.safetensors": b"junk"},
        {"vectors.safetensors": safetensors.numpy.save({"others": np.zeros((9, 6), np.float32)})},
        {"vectors.safetensors": safetensors.numpy.save({"vectors": np.zeros(9, np.float32)})},
    ],
)
def test_files_that_do_not_fit_are_refused(change: dict[str, bytes]):
    e = made()
    with pytest.raises(ArtefactError, match="`here` must hold a vector for each of its words, but is without"):
        from_files(to_files(StoredVectors(list(e.words), e.vectors)) | change, "here")


def test_load_takes_a_file_or_a_folder_with_one_alone(tmp_path: Path):
    made().export(tmp_path / "v.txt", format="word2vec")
    for path in (tmp_path / "v.txt", tmp_path):
        loaded = Embeddings.load(path)
        assert loaded.words == made().words
        assert loaded.facts == {"format": "word2vec", "repeated": 0}
    (tmp_path / "another").touch()
    with pytest.raises(ArtefactError, match=r"the folder of a finished model, but is a folder without manifest\.json"):
        Embeddings.load(tmp_path)
    with pytest.raises(CorpusError, match="must be a folder of vectors, a file of them, or a corpus"):
        Embeddings.load("glove_6b_nothing")


def test_all_but_queries_works_without_gensim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("gensim", "gensim.models"):
        monkeypatch.setitem(sys.modules, name, None)
    made().export(tmp_path / "v", format="word2vec-binary")
    e = Embeddings.load(tmp_path / "v")
    assert e.lookup(["king", "x"])[1].tolist() == [True, False]
    e.init_table(["king"], torch.Generator())
    with pytest.raises(ImportError):
        e.nearest("king")


def test_export_hands_the_counts_over(tmp_path: Path):
    made().export(tmp_path / "t", format="tsv")
    assert (tmp_path / "t" / "metadata.tsv").read_text().splitlines()[:2] == ["word\tcount", "man\t100"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made().export(tmp_path / "v.bin", format="word2vec-binary")
    return tmp_path / "v.bin"


def test_the_commands_answer_arguments_and_lines(run, file: Path):
    outcome = run("embed", "nearest", "--vectors", file, "-n", 2, "king", "man")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    (first, a), (second, b) = made().nearest("king", 2)
    assert lines[0] == f"king: {first} {a:.3f}  {second} {b:.3f}"
    assert lines[1].startswith("man: ")
    outcome = run("embed", "nearest", "--vectors", file, "-n", 1, "--json", stdin="king\nnaïve\n".encode())
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert records[0] == {"query": "king", "found": [[first, pytest.approx(a)]]}
    assert records[1]["query"] == "naïve"
    outcome = run("embed", "analogy", "--vectors", file, "-n", 1, "man", "king", "woman")
    assert outcome.out == "man king woman: queen 1.000\n"
    for line in ("man king woman", "man\tking\twoman"):
        assert run("embed", "analogy", "--vectors", file, "-n", 1, line).out == outcome.out
    outcome = run("embed", "analogy", "--vectors", file, "-n", 1, "--json", stdin=b"man king woman\nman\tking\twoman\n")
    assert [json.loads(line)["found"][0][0] for line in outcome.out.splitlines()] == ["queen", "queen"]


def test_what_has_no_answer_leaves_an_empty_line_and_the_rest_is_answered(run, file: Path):
    ask = ("embed", "nearest", "--vectors", file, "-n", 1)
    lines = run(*ask, "king", "Man").out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["king", "Man"]
    outcome = run(*ask, stdin=b"king\nkng\n\nMan\n")
    assert outcome.code == 1
    assert outcome.out.splitlines() == [lines[0], "", "", lines[1]]
    unknown, blank = outcome.sentences
    assert unknown == "line 2: `kng` must be one of the 9 words, but is none; nearest spellings: `king`."
    assert blank == "line 3: `word` must be one of the 9 words, but is blank."
    outcome = run(*ask, "kng", "Man")
    assert (outcome.code, outcome.out, outcome.sentences) == (1, f"\n{lines[1]}\n", [unknown.removeprefix("line 2: ")])
    outcome = run(*ask, "--json", stdin=b"kng\nking\n")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert (outcome.code, records[0], len(records[1]["found"])) == (1, {"query": "kng", "found": []}, 1)
    assert len(outcome.sentences) == 1


def test_an_analogy_without_an_answer_leaves_an_empty_line_and_the_rest_is_answered(run, file: Path):
    ask = ("embed", "analogy", "--vectors", file, "-n", 1)
    stdin = b"man king\nman king wman\n\nMan\tKING\twoman\n"
    outcome = run(*ask, stdin=stdin)
    assert (outcome.code, outcome.out) == (1, "\n\n\nMan KING woman: queen 1.000\n")
    for said, wanted in zip(
        outcome.sentences, ('1: `words` must be three, .*"man king"', "2: `wman` must", "3: `words`"), strict=True
    ):
        assert re.match(f"line {wanted}", said)
    records = [json.loads(line) for line in run(*ask, "--json", stdin=stdin).out.splitlines()]
    assert records[:3] == [{"query": words, "found": []} for words in (["man", "king"], ["man", "king", "wman"], [])]
    outcome = run(*ask, "man", "king", "wman")
    assert (outcome.code, outcome.out) == (1, "\n")
    assert outcome.sentences[0].startswith("`wman` must be")


def test_a_word_without_neighbours_has_an_answer(run, tmp_path: Path):
    Embeddings(["only"], [[1, 2]]).export(tmp_path / "v", format="word2vec")
    outcome = run("embed", "nearest", "--vectors", tmp_path / "v", "only")
    assert (outcome.code, outcome.out) == (0, "only: \n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nearest", "king"], "`model` must be given, or else vectors, but is absent"),
        (["nearest", "--model", "m", "--vectors", "v", "king"], "`model` must be left out with --vectors, but is"),
        (["nearest", "--vectors", "nope", "king"], "`nope` must be a folder of vectors, a file of them, or a corpus"),
        (["analogy", "--vectors", "v.bin", "man", "king"], "`words` must be three, such as: man king woman, but is "),
        (["analogy", "--vectors", "v.bin", " "], "`words` must be three, such as: man king woman, but is "),
        (["nearest", "--vectors", "v.bin", "-n", "0", "king"], "Invalid value for '-n'"),
        (["export", "--vectors", "v.bin", "--out", "v.bin"], "`out` must be a new file"),
        (
            ["export", "--vectors", "v.bin", "--out", "v.bin", "--format", "tsv"],
            "`out` must be a folder for tsv",
        ),
        (["join", "v.bin", "--out", "x"], "`vectors` must be two or more to be joined, but is v.bin"),
        (["join", "--out", "x"], "`vectors` must be two or more to be joined, but is absent"),
        (["evaluate", "--vectors", "v.bin", "--corpus", "nothing"], "`nothing` must be a known corpus"),
    ],
)
def test_commands_refuse_in_one_sentence(run, file: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str):
    monkeypatch.chdir(file.parent)
    outcome = run("embed", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.sentences) == 1
    assert said in outcome.sentences[0]


def test_export_says_what_it_had_to_change_and_loading_what_it_left_out(run, tmp_path: Path):
    (tmp_path / "v").write_text("3 2\nNew York 1 2\na 3 4\na 5 6\n")
    outcome = run("embed", "export", "--vectors", tmp_path / "v", "--format", "word2vec", "--out", tmp_path / "w")
    assert outcome.code == 0
    assert "that repeat an earlier word were left out: 1" in outcome.err
    assert f"2 words with vectors of 2 numbers are in {tmp_path / 'w'} (word2vec)." in outcome.err
    assert "1 words have underscores now where they had spaces, which word2vec cannot hold" in outcome.err
    assert (tmp_path / "w").read_text() == "2 2\nNew_York 1 2\na 3 4\n"
    (tmp_path / "w").write_text("mine")
    run("embed", "export", "--vectors", tmp_path / "v", "--format", "glove", "--out", tmp_path / "w", "--replace")
    assert (tmp_path / "w").read_text() == "New_York 1 2\na 3 4\n"


def test_vectors_are_joined_side_by_side_each_part_by_its_own_form_of_a_word():
    given = Embeddings(["paris", "the"], [[1, -1], [3, 5]])
    own = Embeddings(["Paris", "[NUM]", "the"], [[2.0], [4.0], [-3.0]])
    joined = Embeddings.join([given, own, Embeddings(["the"], [[7.0]])])
    assert joined.words == ("paris", "the", "Paris", "[NUM]")
    scale = float(given.vectors.std() / own.vectors.std())
    assert scale != pytest.approx(float(np.linalg.norm(given.vectors) / np.linalg.norm(own.vectors)), rel=0.1)
    wanted = [[1, -1, 0, 0], [3, 5, -3 * scale, 7], [1, -1, 2 * scale, 0], [0, 0, 4 * scale, 0]]
    assert np.allclose(joined.vectors, wanted)
    assert joined.lookup(["1,996"])[0][0, 2] == pytest.approx(4 * scale)
    found = [(part["size"], part["words"], part["scaled"]) for part in joined.facts["joined"]]
    assert found == [(2, 3, 1.0), (1, 3, pytest.approx(scale)), (1, 1, 1.0)]  # one vector alone has no deviation
    assert Embeddings.join([Embeddings(["the"], [[7.0]]), own])["[NUM]"].tolist() == [0, 4]
    with pytest.raises(UsageError, match="`parts` must be two or more, but is 1"):
        Embeddings.join([given])
    with pytest.raises(UsageError, match=r'`parts` must be Embeddings .*, but is "own\.bin"'):
        Embeddings.join([given, "own.bin"])


def test_units_that_were_never_seen_are_joined_from_those_that_have_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nlpseq.vectors._AT_ONCE", 2)
    units = Embeddings(["<go>", "a", "b", "c"], [[90], [1], [2], [4]], [0, 5, 0, 7])
    joined = Embeddings.join([units, Embeddings(["b", "d"], [[1], [-1]])])
    assert joined.words == ("a", "c", "b", "d")
    assert np.allclose(joined.vectors, [[1, 0], [4, 0], [0, 1.5], [0, -1.5]])


def test_the_command_joins_files_and_folders(run, file: Path, tmp_path: Path):
    made(3).export(tmp_path / "own.txt", format="glove")
    out = tmp_path / "both.bin"
    asked = ("embed", "join", file, tmp_path / "own.txt", "--out", out)
    outcome = run(*asked)
    assert outcome.code == 0
    assert f"{file}: 9 of 9 words, 6 numbers each, scaled by 1." in outcome.err
    assert "9 words with vectors of 9 numbers" in outcome.err
    assert f"--embeddings {out} --embed-size 9." in outcome.err
    both = Embeddings.load(out)
    assert (both.vectors == Embeddings.join([Embeddings.load(path) for path in asked[2:4]]).vectors).all()
    assert both.facts["format"] == "word2vec-binary"
    outcome = run("embed", "join", file, tmp_path / "nothing", "--out", out)  # said before anything is read
    assert (outcome.code, outcome.sentences[0][:27]) == (2, "`out` must be a new file, b")
    outcome = run("embed", "join", file, file, "--out", tmp_path, "--replace")
    assert outcome.sentences == [f"`out` must be a new file, but is a folder or a device ({tmp_path})."]


@pytest.mark.real
def test_the_vectors_of_the_mirror_are_loaded_by_name():
    e = Embeddings.load("glove_6b_100d_top100k")
    assert (len(e), e.vector_size, e.words[0]) == (100_000, 100, "the")
    assert [word for word, _ in e.nearest("king", 2)] == ["prince", "queen"]
    assert e.analogy("man", "king", "woman", 1)[0][0] == "queen"
    with pytest.raises(UsageError, match="nearest spellings: `kingdom`"):
        e.nearest("kingdmo")


def test_files_of_words_alone_are_not_needed_to_be_sorted(tmp_path: Path):
    write_vectors(tmp_path / "v", ["b", "a"], np.eye(2, dtype=np.float32), format="glove")
    assert Embeddings.load(tmp_path / "v").words == ("b", "a")
