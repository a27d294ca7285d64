import os
import random
import re
import sys
from types import SimpleNamespace

import pytest

from nlpseq.corpora import HashCut, catalogue, corpus_file, corpus_path, load_corpus
from nlpseq.errors import CorpusError, UsageError
from nlpseq.readers import memory_table
from nlpseq.share import share_path

MIRROR = os.environ.get("NLPSEQ_CORPORA")


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("NLPSEQ_CORPORA", raising=False)


def parquet(path, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def pairs(path, count, start=0):
    lines = [f"en {n}\tfr {n}" for n in range(start, start + count)]
    path.write_text("en\tfr\n" + "\n".join(lines) + "\n")
    return path


def texts(corpus, split, column="en"):
    return [row[column] for row in corpus.split(split)]


def test_a_single_file_is_cut_into_three(tmp_path):
    corpus = load_corpus(pairs(tmp_path / "mine.tsv", 400), columns=("en", "fr"))
    assert (corpus.name, corpus.card, corpus.task, corpus.pairs) == ("mine.tsv", None, None, ())
    assert {name: len(split) for name, split in corpus.splits.items()} == {"train": 360, "validation": 20, "test": 20}
    every = [text for name in corpus.splits for text in texts(corpus, name)]
    assert sorted(every) == sorted(f"en {n}" for n in range(400))
    assert {name: len(list(split)) for name, split in corpus.splits.items()} == {
        name: len(split) for name, split in corpus.splits.items()
    }


def test_the_cut_depends_on_the_texts_alone():
    rows = [{"text": f"t{n}", "label": n % 2} for n in range(100)]
    before = HashCut(memory_table("a", rows), ("text",))
    shuffled = [dict(row, label="x") for row in random.Random(1).sample(rows, 100)]
    after = HashCut(memory_table("b", shuffled), ("text",))
    assert [before.split_of(row) for row in rows] == [after.split_of(row) for row in rows]
    assert before.split_of({"text": "t0"}) == "train"  # fixed: a changed hash would move every user's test set
    assert [row["text"] for row in rows if before.split_of(row) == "test"] == ["t11", "t43", "t61", "t63", "t86"]


def test_equal_texts_share_a_split(tmp_path):
    lines = [f"text {n % 50}\tlabel {n}" for n in range(500)]
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    corpus = load_corpus(tmp_path / "a.tsv", columns=("text", "label"))
    found = {name: set(texts(corpus, name, "text")) for name in corpus.splits}
    assert sum(map(len, found.values())) == 50
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        name: 10 * len(found[name]) for name in found
    }


def test_a_large_file_gives_at_most_a_thousand_texts_each():
    rows = [{"text": str(n % 60_000)} for n in range(61_000)]
    cut = HashCut(memory_table("a", rows), ("text",))
    found = {"train": 0, "validation": 0, "test": 0}
    for row in rows:
        found[cut.split_of(row)] += 1
    assert found == {name: cut.rows(name) for name in found}
    distinct = {cut.split_of(row): set() for row in rows}
    for row in rows:
        distinct[cut.split_of(row)].add(row["text"])
    assert len(distinct["test"]) == len(distinct["validation"]) == 1000


@pytest.mark.parametrize("count", [3, 4, 19])
def test_a_tiny_file_still_has_three_splits(tmp_path, count):
    corpus = load_corpus(pairs(tmp_path / "a.tsv", count))
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        "train": count - 2,
        "validation": 1,
        "test": 1,
    }


def test_two_rows_cannot_be_cut(tmp_path):
    corpus = load_corpus(pairs(tmp_path / "a.tsv", 2))
    message = r"must have at least 3 different rows to be cut into train, validation and test, but has 2"
    with pytest.raises(CorpusError, match=message):
        list(corpus.split("train"))


def test_faulty_lines_are_said_before_the_number_of_rows(tmp_path):
    path = pairs(tmp_path / "a.tsv", 2)
    path.write_bytes(path.read_bytes() + b"caf\xe9\tx\none\n")
    message = r"\A.*perhaps Latin-1\) \(.*line 4\)\.\n.*must have 2 columns in every line, but has 1 \(.*line 5\)\.\Z"
    with pytest.raises(CorpusError, match=message):
        len(load_corpus(path).split("train"))


def test_a_single_file_can_be_had_whole(tmp_path):
    corpus = load_corpus(pairs(tmp_path / "a.tsv", 60))
    assert texts(corpus, "all") == [f"en {n}" for n in range(60)]
    assert len(corpus.split("all")) == 60
    assert list(corpus.splits) == ["train", "validation", "test"]
    assert texts(load_corpus(pairs(tmp_path / "tiny.tsv", 1)), "all") == ["en 0"]
    (tmp_path / "whole").mkdir()
    pairs(tmp_path / "whole" / "train.tsv", 40)
    assert load_corpus(tmp_path / "whole").part("train") == "train of whole"
    held_out = "test of whole, the part that nlpseq holds out of it (split all: every row)"
    assert load_corpus(tmp_path / "whole").part("test") == held_out
    assert len(load_corpus(tmp_path / "whole").split("all")) == 40
    pairs(tmp_path / "whole" / "test.tsv", 4)
    assert load_corpus(tmp_path / "whole").part("test") == "test of whole"
    with pytest.raises(CorpusError, match=r"`all` must be a split of whole \(train, test\)"):
        load_corpus(tmp_path / "whole").split("all")


def test_asking_for_a_split_reads_no_row(tmp_path):
    path = pairs(tmp_path / "a.tsv", 60)
    path.write_bytes(path.read_bytes() + b"\xe9\tx\n")
    corpus = load_corpus(path)
    assert [corpus.split(name).name for name in ("train", "test", "all")] == ["train", "test", "all"]


def test_where_names_the_line_of_the_file(tmp_path):
    path = pairs(tmp_path / "a.tsv", 50)
    train = load_corpus(path).split("train")
    wanted = [*train][30]["en"]
    place = re.fullmatch(rf"{re.escape(str(path))}, line (\d+)", train.where(30))
    assert place
    assert path.read_text().splitlines()[int(place[1]) - 1].startswith(wanted + "\t")
    with pytest.raises(CorpusError, match="`48` must be a row of train, but is beyond the last one"):
        train.where(48)


def test_a_prefix_of_parallel_files(tmp_path, monkeypatch):
    for language in ("en", "fr"):
        (tmp_path / f"mine.{language}").write_text("".join(f"{language} {n}\n" for n in range(40)))
    corpus = load_corpus(tmp_path / "mine", columns=("en", "fr"))
    assert len(corpus.split("train")) == 36
    assert corpus.split("train").where(0).startswith(f"{tmp_path / 'mine.en'} + {tmp_path / 'mine.fr'}, line ")
    with pytest.raises(CorpusError, match="`de` must be one of the columns en, fr"):
        load_corpus(tmp_path / "mine", columns=("en", "de"))
    monkeypatch.chdir(tmp_path)
    assert len(load_corpus("mine", columns=("en", "fr")).split("test")) == 2
    with pytest.raises(CorpusError, match="`mine` must be a known corpus"):
        load_corpus("mine")


@pytest.mark.parametrize("path", ["nowhere.tsv", "some/where", "x.jsonl.gz"])
def test_a_path_that_is_not_there(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = rf"`{path}` must be a file, a folder of files, or the prefix of parallel files, but nothing is there"
    with pytest.raises(CorpusError, match=message):
        load_corpus(path)


def test_an_unknown_name():
    message = r"`multi30` must be a known corpus \(.*imdb.*\), .* did you mean `multi30k`\?"
    with pytest.raises(CorpusError, match=message):
        load_corpus("multi30")


def test_a_path_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "multi30k").mkdir()
    pairs(tmp_path / "multi30k" / "train.tsv", 4)
    pairs(tmp_path / "multi30k" / "test.tsv", 1)
    assert [len(split) for split in load_corpus("multi30k").splits.values()] == [4, 1]


def test_the_mirror_comes_before_the_source(tmp_path, monkeypatch):
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path))
    for name in ("test", "unsupervised", "train"):
        parquet(tmp_path / "imdb" / f"{name}.parquet", [{"text": "t", "label": -1 if name == "unsupervised" else 1}])
    corpus = load_corpus("imdb", columns=("text", "label"))
    assert list(corpus.splits) == ["train", "test", "unsupervised"]
    assert list(corpus.split("train")) == [{"text": "t", "label": "pos"}]
    assert list(corpus.split("unsupervised")) == [{"text": "t", "label": None}]
    assert corpus.task == "sentiment"
    assert corpus.split("train").where(0).endswith("train.parquet, row 1")


def test_a_side_split_without_the_columns_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path))
    parquet(tmp_path / "multi30k" / "train.parquet", [{"en": "a", "cs": "b"}])
    parquet(tmp_path / "multi30k" / "test_2017_flickr.parquet", [{"en": "a"}])
    assert list(load_corpus("multi30k", columns=("en", "cs")).splits) == ["train"]
    assert list(load_corpus("multi30k", columns=("en",)).splits) == ["train", "test_2017_flickr"]
    with pytest.raises(CorpusError, match="`fr` must be one of the columns en, cs"):
        load_corpus("multi30k", columns=("en", "fr"))


def test_a_mirrored_corpus_needs_no_card(tmp_path, monkeypatch):
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path))
    parquet(tmp_path / "private" / "train.parquet", [{"text": "a"}])
    corpus = load_corpus("private")
    assert (corpus.card, list(corpus.split("train"))) == (None, [{"text": "a"}])


def test_where_the_text_of_a_corpus_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("multi30k", "phrasebook"):
        parquet(tmp_path / "mirror" / name / "train.parquet", [{"en": "a", "fr": "b"}])
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path / "mirror"))
    assert corpus_path("multi30k") == tmp_path / "mirror" / "multi30k"
    assert corpus_path("phrasebook") is None  # its grammar writes it
    assert corpus_path("no.tsv") == tmp_path / "no.tsv"
    for language in ("en", "fr"):
        (tmp_path / f"multi30k.{language}").touch()
    assert corpus_path("multi30k", columns=("en", "fr")) == tmp_path / "multi30k"
    with pytest.raises(CorpusError, match="did you mean `multi30k`"):
        corpus_path("multi30")


def test_an_embedded_corpus_is_generated(monkeypatch):
    calls = []

    def generate(name, *, seed):
        calls.append((name, seed))
        return {"train": [{"en": "a", "fr": "b"}], "test": [{"en": "c", "fr": "d"}]}

    monkeypatch.setitem(sys.modules, "nlpseq.synthetic", SimpleNamespace(generate=generate))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    corpus = load_corpus("phrasebook", columns=("en", "fr"))
    assert list(corpus.split("test")) == [{"en": "c", "fr": "d"}]
    assert (calls, corpus.pairs[0]) == ([("phrasebook", corpus.card.source.seed)], ("en", "fr"))


def test_no_copy_stands_before_the_grammar(tmp_path, monkeypatch):
    rows = {"train": [{"en": "new", "fr": "b"}]}
    monkeypatch.setitem(sys.modules, "nlpseq.synthetic", SimpleNamespace(generate=lambda *_, **__: rows))
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path))
    parquet(tmp_path / "phrasebook" / "train.parquet", [{"en": "old", "fr": "b"}])
    assert texts(load_corpus("phrasebook"), "train") == ["new"]


def test_the_phrasebook_is_what_its_card_says():
    corpus = load_corpus("phrasebook")
    assert {name: len(split) for name, split in corpus.splits.items()} == {
        name: facts.rows for name, facts in corpus.card.splits.items()
    }
    assert corpus.split("train").columns == ("en", "fr")


def test_a_missing_split_lists_the_present_ones(tmp_path):
    corpus = load_corpus(pairs(tmp_path / "a.tsv", 5))
    message = r"`tests` must be a split of a\.tsv \(train, validation, test, all\).*`test`\?"
    with pytest.raises(CorpusError, match=message):
        corpus.split("tests")


def test_corpus_files(tmp_path, monkeypatch):
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path))
    (tmp_path / "google_analogies").mkdir()
    (tmp_path / "google_analogies" / "questions-words.txt").write_text(": x\n")
    assert corpus_file("google_analogies", "questions-words.txt").read_text() == ": x\n"
    with pytest.raises(CorpusError, match=r"`x` must be a file of google_analogies \(questions-words\.txt\)"):
        corpus_file("google_analogies", "x")
    with pytest.raises(CorpusError, match=r"must be a corpus of rows, but is the files vectors\.bin\.gz"):
        load_corpus("glove_6b_100d_top100k")


def test_every_card_can_be_read_and_used():
    cards = catalogue()
    embedded = ["almanac", "newswire", "phrasebook", "python-library", "reviews"]
    assert [card.name for card in cards[:5]] == embedded
    assert {card.name for card in cards} >= {"multi30k", "imdb", "conll2003", "wnut_17", "tiny_shakespeare"}
    for card in cards:
        assert card.title
        assert card.licence
        assert card.citation
        assert card.source.kind in {"generated", "library", "hub", "raw"}
        assert card.embedded or card.splits or card.artefacts
        assert all(facts.rows > 0 for facts in card.splits.values())
        if not card.embedded:
            assert all(re.fullmatch("[0-9a-f]{64}", facts.sha256) for facts in card.splits.values())
        assert set(card.labels) <= set(card.columns.values())
        assert {language for pair in card.pairs for language in pair} <= set(card.languages)
        assert card.source.revision != "unverified" or not card.source.verified
        if card.task == "translation":
            assert (card.columns["source"], card.columns["target"]) == card.pairs[0]


def test_a_broken_card_is_named(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "card.toml").write_text('title = "x"\nlanguages = []\nsource = {kind = "hub", colour = 1}\n')
    monkeypatch.setattr("nlpseq.cards.share_path", lambda *_: tmp_path)
    with pytest.raises(CorpusError, match=r"card\.toml` must be a corpus card, but is not: .*colour"):
        load_corpus("mine")


def test_share_path_finds_the_wheel_first(tmp_path, monkeypatch):
    assert (share_path("corpora", "imdb") / "card.toml").is_file()
    with pytest.raises(UsageError, match=r"`corpora/nope` must be shipped with nlpseq, but is \"missing\" \(looked in"):
        share_path("corpora", "nope")
    (tmp_path / "nlpseq" / "_share" / "corpora").mkdir(parents=True)
    monkeypatch.setattr("nlpseq.__path__", [str(tmp_path / "nlpseq")])
    assert share_path("corpora") == tmp_path / "nlpseq" / "_share" / "corpora"


@pytest.mark.real
@pytest.mark.parametrize("name", [card.name for card in catalogue() if card.splits and card.source.kind != "generated"])
def test_the_mirror_is_what_the_cards_say(name, monkeypatch):
    from nlpseq.fetch import content_hash

    monkeypatch.setenv("NLPSEQ_CORPORA", MIRROR)
    corpus = load_corpus(name)
    assert set(corpus.splits) == set(corpus.card.splits)
    for split, facts in corpus.card.splits.items():
        columns = [c for c in sorted(corpus.card.columns.values()) if c in corpus.split(split).columns]
        assert len(corpus.split(split)) == facts.rows
        assert content_hash(corpus.split(split), columns) == facts.sha256
