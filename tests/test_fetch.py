import gzip
import sys
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest

from nlpseq.cards import catalogue, read_card
from nlpseq.corpora import corpus_file, load_corpus
from nlpseq.errors import CorpusError
from nlpseq.fetch import cache_folder, content_hash, fetch


@pytest.fixture
def card(tmp_path, monkeypatch):
    """Write a card whose raw files lie in tmp_path/web, and let only that card be known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NLPSEQ_CORPORA", raising=False)
    monkeypatch.setattr("nlpseq.cards.share_path", lambda *_: tmp_path / "cards")
    (tmp_path / "web").mkdir()
    (tmp_path / "cards" / "toy").mkdir(parents=True)

    def write(body, **files):
        for name, data in files.items():
            path = tmp_path / "web" / name.replace("__", ".")
            path.write_bytes(gzip.compress(data.encode()) if path.suffix == ".gz" else data.encode())
        head = 'task = "t"\ntitle = "Toy"\nlanguages = ["en"]\nlicence = "l"\ncitation = "c"\n'
        text = head + body.replace("WEB", f"{(tmp_path / 'web').as_uri()}/")
        (tmp_path / "cards" / "toy" / "card.toml").write_text(text)
        return tmp_path

    return write


PARALLEL = """
[columns]
source = "en"
target = "fr"
[source]
kind = "raw"
format = "parallel"
url = "WEB"
[source.files.train]
en = "train.en.gz"
fr = "train.fr"
[splits]
train = { rows = 2, sha256 = "HASH" }
"""
ROWS = [{"en": "a", "fr": "é"}, {"en": "b", "fr": "c"}]
GOOD = PARALLEL.replace("HASH", content_hash(ROWS, ["en", "fr"]))


def test_raw_parallel_files_are_fetched_once_and_loaded(card):
    root = card(GOOD, train__en__gz="a \nb\n", train__fr="é\nc\n")
    corpus = load_corpus("toy", columns=("en", "fr"))
    assert list(corpus.split("train")) == ROWS
    assert [path.name for path in (cache_folder() / "toy").iterdir()] == ["train.parquet"]
    (root / "web" / "train.fr").unlink()
    assert list(load_corpus("toy").split("train")) == ROWS
    assert fetch("toy", cache_folder()) == cache_folder() / "toy"


def test_other_text_than_the_card_says_is_refused(card):
    root = card(GOOD, train__en__gz="a\nB\n", train__fr="é\nc\n")
    message = r"`toy train` must have the content hash \w{16} of its card, but has \w{16} \(raw source file:"
    with pytest.raises(CorpusError, match=message):
        fetch("toy", root / "out")
    assert list((root / "out").iterdir()) == []


def test_other_text_is_kept_where_the_card_expects_it(card):
    body = GOOD.replace('kind = "raw"', 'kind = "raw"\nsame_text = false')
    root = card(body, train__en__gz="a\nB\n", train__fr="é\nc\n")
    assert (fetch("toy", root / "out") / "train.parquet").is_file()


def test_other_numbers_of_rows_are_refused(card):
    root = card(GOOD, train__en__gz="a\n", train__fr="é\n")
    with pytest.raises(CorpusError, match=r"`toy train` must have 2 rows, but has 1 \(raw source file:"):
        fetch("toy", root / "out")


def test_files_that_fit_badly_are_refused(card):
    root = card(GOOD, train__en__gz="a\nb\n", train__fr="é\n")
    with pytest.raises(CorpusError, match="must have the same number of lines in each file"):
        fetch("toy", root / "out")


def test_offline_is_one_sentence_that_says_what_was_tried(card):
    card(GOOD)
    message = (
        r"^`toy` must be on this machine or within reach, but is not: no toy in \$NLPSEQ_CORPORA \(not set\) or "
        r".*cache/nlpseq/corpora, and raw source file:.*/web/ gave: URLError: .*No such file.* "
        r"\(\$NLPSEQ_CORPORA may name a folder that holds a copy, toy/\)\.$"
    )
    with pytest.raises(CorpusError, match=message):
        load_corpus("toy")


def test_conll_files(card):
    body = """
[columns]
tokens = "tokens"
tags = "ner_tags"
[source]
kind = "raw"
format = "conll"
url = "WEB"
[source.files]
test.conll = "annotated"
[splits]
test = { rows = 1 }
"""
    root = card(body, annotated="Ada\tB-person\nwrote\tO\n\t\n")
    assert (fetch("toy", root / "out") / "test.parquet").is_file()
    assert list(load_corpus("toy").split("test")) == [{"tokens": ["Ada", "wrote"], "ner_tags": ["B-person", "O"]}]


def test_one_text_is_cut_by_characters(card):
    body = """
[columns]
text = "text"
[source]
kind = "raw"
format = "whole"
url = "WEB"
cut = [4, 6]
[source.files.train]
text = "input.txt"
[splits]
train = { rows = 1 }
validation = { rows = 1 }
test = { rows = 1 }
"""
    card(body, input__txt="to be\nor not")
    corpus = load_corpus("toy")
    assert [row["text"] for split in corpus.splits.values() for row in split] == ["to b", "e\n", "or not"]


def test_word_tables(card):
    body = """
[columns]
a = "a"
[source]
kind = "raw"
format = "FORMAT"
url = "WEB"
[source.files.test]
text = "w.txt"
[splits]
test = { rows = 2 }
"""
    root = card(body.replace("FORMAT", "scores"), w__txt="car\tauto 3.92\ngem  jewel\t4\n\n")
    fetch("toy", root / "scores")
    card(body.replace("FORMAT", "analogies"), w__txt=": capital\na b c d\n: x\ne f g h\n")
    assert list(load_corpus("toy").split("test"))[1] == {"category": "x", "a": "e", "b": "f", "c": "g", "d": "h"}
    assert list(load_corpus(root / "scores" / "toy" / "test.parquet").splits) == ["train", "validation", "test"]


def test_artefacts_are_copied_or_made_binary(card):
    vectors = "3 2\nthe 0.5 -1\nof 2 3\nand 4 5\n"
    binary = b"2 2\nthe " + np.array([0.5, -1], "<f4").tobytes() + b"of " + np.array([2, 3], "<f4").tobytes()
    body = f"""
[columns]
[source]
kind = "raw"
[artefacts."v.bin.gz"]
url = "WEBv.gz"
words = 2
sha256 = "{sha256(binary).hexdigest()}"
[artefacts."q.txt"]
url = "WEBq.txt"
sha256 = "{sha256(b"q").hexdigest()}"
"""
    root = card(body, v__gz=vectors, q__txt="q")
    assert gzip.decompress(corpus_file("toy", "v.bin.gz").read_bytes()) == binary
    assert corpus_file("toy", "q.txt").read_text() == "q"
    card(body, q__txt="other")
    with pytest.raises(CorpusError, match=r"`toy q\.txt` must have the content hash"):
        fetch("toy", root / "again")


HUB = """
[columns]
text = "text"
[labels]
label = ["neg", "pos"]
[source]
kind = "hub"
id = "some/set"
config = "plain"
revision = "REVISION"
limit = 3
[splits]
test = { rows = 3 }
"""


@pytest.mark.parametrize(("revision", "asked"), [("unverified", None), ("abc", "abc")])
def test_the_hub_is_streamed(card, monkeypatch, revision, asked):
    calls = []

    def load_dataset(*args, **options):
        calls.append((args, options))
        return ({"text": f"t{n}", "label": n % 2} for n in range(5))

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    card(HUB.replace("REVISION", revision))
    rows = list(load_corpus("toy").split("test"))
    assert rows == [{"text": "t0", "label": "neg"}, {"text": "t1", "label": "pos"}, {"text": "t2", "label": "neg"}]
    assert calls == [(("some/set", "plain"), {"split": "test", "revision": asked, "streaming": True})]


def test_a_hub_that_cannot_be_reached(card, monkeypatch):
    def load_dataset(*_args, **_options):
        raise ConnectionError("no route to host\nand a long trace")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    card(HUB)
    with pytest.raises(CorpusError, match=r"and hub source some/set gave: ConnectionError: no route to host \(\$NLP"):
        load_corpus("toy")


def test_a_generated_corpus_can_be_written_down(card, monkeypatch):
    splits = {"train": ROWS, "test": ROWS[:1]}
    monkeypatch.setitem(sys.modules, "nlpseq.synthetic", SimpleNamespace(generate=lambda name, *, seed: splits))
    root = card('[columns]\nsource = "en"\n[source]\nkind = "generated"\n')
    assert list(load_corpus(fetch("toy", root / "out")).split("train")) == ROWS


def test_an_interrupted_fetch_leaves_nothing(card, monkeypatch):
    root = card(GOOD, train__en__gz="a\nb\n", train__fr="é\nc\n")

    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("nlpseq.fetch._verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("toy", root / "out")
    assert list((root / "out").iterdir()) == []


def test_content_hash_depends_on_rows_and_their_order():
    assert content_hash(ROWS, ["en"]) == sha256(b'["a"]\n["b"]\n').hexdigest()
    assert content_hash(ROWS[::-1], ["en"]) != content_hash(ROWS, ["en"])


@pytest.mark.network
@pytest.mark.parametrize("name", [card.name for card in catalogue() if not card.embedded])
def test_every_source_gives_what_its_card_says(name, tmp_path):
    folder = fetch(name, tmp_path)  # verifies rows and hashes itself
    parts = {f"{split}.parquet" for split in read_card(name).splits} | set(read_card(name).artefacts)
    assert {path.name for path in folder.iterdir()} == parts
