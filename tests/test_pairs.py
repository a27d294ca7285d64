import errno
import io
import json
import os
import threading
import time

import pytest

from nlpseq import pairs
from nlpseq.corpora import Split
from nlpseq.errors import CorpusError, WorkError
from nlpseq.pairs import Counts, encode_split, language, learn_tokenizer, normalised_rows, open_pairs, texts
from nlpseq.readers import memory_table
from nlpseq.settings import PairConfig, TokenizerConfig
from nlpseq.tokenizer import Tokenizer
from nlpseq.vocab import EOS, NUM

ROWS = [
    ("I drink milk .", "je bois du lait .", "note 1"),
    ("I eat 2 or 7 .", "je mange deux ou 7 .", "note 2"),
    ("", "rien", "note 3"),
    ("a b c d e f g h", "a", "note 4"),
    ("a", "a b c d e f g h i", "note 5"),
    ("you drink", "tu bois", "note 6"),
    ("I drink", "", "note 7"),
]
WORDS = TokenizerConfig(units="word", vocab_size=100)


@pytest.fixture
def folder(tmp_path):
    lines = ["en\tfr\tnote", *("\t".join(row) for row in ROWS)]
    for name in ("train", "validation", "test"):
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def split(folder):
    return open_pairs(str(folder), PairConfig("en", "fr"))[0].split("train")


@pytest.fixture
def tokenizer():
    return Tokenizer.train(["I drink milk . eat [NUM] or a b c d", "je bois du lait . mange deux ou rien you"], WORDS)


@pytest.mark.parametrize("asked", [("fr", "en"), ("en", "note")])
def test_columns_are_those_asked_for(folder, asked):
    corpus, columns = open_pairs(str(folder), PairConfig(*asked))
    assert columns == asked
    first = next(texts(corpus.split("train"), columns))
    assert first == tuple(dict(zip(("en", "fr", "note"), ROWS[0], strict=True))[column] for column in asked)


@pytest.mark.parametrize("asked", [(None, None), ("en", None), (None, "fr")])
def test_of_more_than_two_columns_none_is_guessed(folder, asked):
    must = r"`source and target` must be given where there are more than two columns \(en, fr, note\), but is absent"
    with pytest.raises(CorpusError, match=must):
        open_pairs(str(folder), PairConfig(*asked))


@pytest.mark.parametrize(
    ("asked", "expected"), [((None, None), ("en", "fr")), (("fr", None), ("fr", "en")), ((None, "en"), ("fr", "en"))]
)
def test_of_two_columns_those_not_asked_for_are_plain(tmp_path, asked, expected):
    (tmp_path / "mine.tsv").write_text("en\tfr\n" + "".join(f"w{n}\tv{n}\n" for n in range(30)))
    assert open_pairs(str(tmp_path / "mine.tsv"), PairConfig(*asked))[1] == expected


def test_a_corpus_of_another_task_is_refused_before_it_is_fetched():
    with pytest.raises(CorpusError, match="`corpus` must be one of pairs, or come with source and target, but is imdb"):
        open_pairs("imdb", PairConfig())


@pytest.fixture
def synthetic(monkeypatch):
    """Stands in for the grammar, which takes seconds, and lists what was generated."""
    asked = []

    def generate(name, *, seed):
        asked.append(name)
        return {split: [{"en": f"{split} {n}", "fr": "oui"} for n in range(3)] for split in ("train", "validation")}

    monkeypatch.setattr("nlpseq.synthetic.generate", generate)
    return asked


def test_a_corpus_knows_its_own_columns(synthetic):
    assert open_pairs("phrasebook", PairConfig("fr"))[1] == ("fr", "en")
    assert synthetic == ["phrasebook"]  # it takes seconds: once is enough


def test_one_file_is_cut_alike_whether_columns_were_named_or_not(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text("\n".join(["en\tfr", *(f"w{n}\tv{n}" for n in range(200))]) + "\n")
    cuts = [
        [list(corpus.split(name)) for name in ("train", "validation", "test")]
        for corpus, _ in (open_pairs(str(path), PairConfig(*a)) for a in ((), ("en",), (None, "fr"), ("en", "fr")))
    ]
    assert [len(part) for part in cuts[0]] == [180, 10, 10]
    assert cuts[0][0][0].keys() == {"en", "fr"}
    assert cuts[1:] == cuts[:1] * 3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("en", "fx"), "fx"),
        (("noet", "fr"), "noet"),
        (("en", "en"), r"`target` must be another column than the source, but is \"en\"\."),
    ],
)
def test_wrong_columns_are_said(folder, asked, message):
    with pytest.raises(CorpusError, match=message):
        open_pairs(str(folder), PairConfig(*asked))


@pytest.mark.parametrize(("column", "code"), [("en", "en"), ("pt_BR", "pt"), ("zh-Hans", "zh")])
def test_columns_named_by_a_language(column, code):
    assert language(column) == code


@pytest.mark.parametrize("column", ["source", "e", "eng", "EN", "text", "en ", ""])
def test_columns_named_otherwise(column):
    assert language(column) is None


def test_rows_are_normalised_alone_or_as_pairs(split):
    rows = list(normalised_rows(split, ("en", "fr"), WORDS))
    assert rows[1] == ["I eat 2 or [NUM] .", "je mange deux ou [NUM] ."]
    assert len(rows) == 7
    assert list(normalised_rows(split, ("en",), WORDS, every=2))[1:] == [[""], ["a"], ["I drink"]]
    web = Split("train", memory_table("web", [{"en": "Fine.<br /><BR>Not 4/10"}]))
    assert list(normalised_rows(web, ("en",), WORDS)) == [["Fine.\n\nNot [NUM]"]]
    assert list(normalised_rows(split, ("en",), WORDS))[1] == ["I eat [NUM] or [NUM] ."]


def test_the_tokenizer_learns_from_both_columns_and_no_other(split):
    learnt = learn_tokenizer(split, ("en", "fr"), WORDS)
    words = set(learnt.units(range(6, len(learnt))))
    assert {"drink", "bois", "rien", "i"} <= words
    assert "note" not in words


def test_the_sample_is_drawn_evenly(tmp_path):
    lines = [f"w{n}\tv{n}" for n in range(250)]
    for name in ("train", "validation"):
        (tmp_path / f"{name}.tsv").write_text("\n".join(["en\tfr", *lines]) + "\n")
    corpus, columns = open_pairs(str(tmp_path), PairConfig())
    config = TokenizerConfig(units="word", vocab_size=1000, sample=100)
    words = learn_tokenizer(corpus.split("train"), columns, config)
    words = words.units(range(6, len(words)))
    assert sorted(words) == sorted(f"{side}{n}" for side in "wv" for n in range(0, 250, 3))


def rows_of(data):
    return [data.ids[a:b].tolist() for a, b in zip(data.offsets, data.offsets[1:], strict=False)]


def encoded(split, tokenizer, path, **options):
    asked = {"max_length": 7, "backwards": False, "told": lambda done: None} | options
    return encode_split(split, ("en", "fr"), tokenizer=tokenizer, path=path, **asked)


@pytest.mark.parametrize("at_once", [2, 2048])
def test_pairs_become_ids_that_end_in_eos(split, tokenizer, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(pairs, "_AT_ONCE", at_once)
    told = []
    data = encoded(split, tokenizer, tmp_path / "train", told=told.append)
    kept = [
        (["I", "drink", "milk", "."], ["je", "bois", "du", "lait", "."]),
        (["I", "eat", "[UNK]", "or", "[NUM]", "."], ["je", "mange", "deux", "ou", "[NUM]", "."]),
        (["you", "drink"], ["[UNK]", "bois"]),
    ]
    for side, rows in ((0, rows_of(data.source)), (1, rows_of(data.target))):
        assert [tokenizer.units(row) for row in rows] == [[*pair[side], "<eos>"] for pair in kept]
        assert all(row[-1] == EOS for row in rows)
    assert NUM in rows_of(data.source)[1]
    assert data.counts == Counts(7, 3, 2, 2, 12, 13, 1, 1, 1)
    assert told[-1] == 7
    assert len(told) == (4 if at_once == 2 else 1)
    assert data.counts.describe()["source_unknown_percent"] == pytest.approx(100 / 12, abs=1e-3)


def test_reversed_sources_keep_eos_at_the_end(split, tokenizer, tmp_path):
    data = encoded(split, tokenizer, tmp_path / "train", backwards=True)
    assert tokenizer.units(rows_of(data.source)[0]) == [".", "milk", "drink", "I", "<eos>"]
    assert tokenizer.units(rows_of(data.target)[0]) == ["je", "bois", "du", "lait", ".", "<eos>"]


def test_without_a_limit_all_rows_with_text_on_both_sides_are_kept(split, tokenizer, tmp_path):
    data = encoded(split, tokenizer, tmp_path / "test", max_length=None)
    assert len(data.source) == len(data.target) == data.counts.kept == 5
    assert data.counts.empty == 2


def test_the_limit_is_inclusive(split, tokenizer, tmp_path):
    assert encoded(split, tokenizer, tmp_path / "a", max_length=8).counts.kept == 4
    assert encoded(split, tokenizer, tmp_path / "b", max_length=9).counts.kept == 5


def test_a_whole_split_is_not_written_again_but_a_torn_one_is(split, tokenizer, tmp_path):
    first = encoded(split, tokenizer, tmp_path / "train")
    told = []
    again = encoded(split, None, tmp_path / "train", told=told.append)
    assert told == []
    assert rows_of(again.source) == rows_of(first.source)
    assert again.counts == first.counts
    assert json.loads((tmp_path / "train.json").read_text())["kept"] == 3
    (tmp_path / "train.json").unlink()  # as a run leaves it that was killed while it wrote
    (tmp_path / "train.source.ids").write_bytes(b"torn")
    assert rows_of(encoded(split, tokenizer, tmp_path / "train").source) == rows_of(first.source)


def flipped(content, place, bit):
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


DAMAGES = {
    "flipped early": lambda content: flipped(content, 2, 0),
    "flipped in the middle": lambda content: flipped(content, len(content) // 2, 3),
    "flipped at the end": lambda content: flipped(content, len(content) - 2, 1),
    "another figure": lambda content: content.replace(b'"masked": 1', b'"masked": 3'),
    "cut": lambda content: content[:-8],
    "longer": lambda content: content + bytes(8),
    "empty": lambda content: b"",
    "a list": lambda content: b"[1]",
    "a table": lambda content: b'{"rows": 1, "sha256": "0"}',
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["json", "source.ids", "source.offsets", "target.ids", "target.offsets"])
def test_a_damaged_split_is_made_anew(split, tokenizer, tmp_path, name, damage):
    first = encoded(split, tokenizer, tmp_path / "train")
    rows = rows_of(first.source), rows_of(first.target)
    path = tmp_path / f"train.{name}"
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    again = encoded(split, tokenizer, tmp_path / "train")
    assert (rows_of(again.source), rows_of(again.target)) == rows
    assert again.counts == first.counts
    assert path.read_bytes() == whole


@pytest.mark.parametrize("suffixes", [["json"], ["source.ids"], ["source.ids", "source.offsets"]])
def test_a_split_with_another_ones_files_is_made_anew(split, tokenizer, tmp_path, suffixes):
    first = encoded(split, tokenizer, tmp_path / "train", backwards=True)
    rows = rows_of(first.source)
    encoded(split, tokenizer, tmp_path / "other", max_length=None)
    for suffix in suffixes:
        (tmp_path / f"train.{suffix}").write_bytes((tmp_path / f"other.{suffix}").read_bytes())
    again = encoded(split, tokenizer, tmp_path / "train", backwards=True)
    assert (rows_of(again.source), again.counts) == (rows, first.counts)


def test_a_full_disk_is_said(split, tokenizer, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("builtins.open", lambda *_: Full())
    with pytest.raises(WorkError, match=r"train\.source\.ids` must be written whole, but is No space left on device"):
        encoded(split, tokenizer, tmp_path / "train")


def test_what_is_read_to_learn_from_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "TOLD_EVERY", 25)
    for name in ("train", "validation"):
        (tmp_path / f"{name}.tsv").write_text("en\tfr\n" + "".join(f"w{n}\tv{n}\n" for n in range(250)))
    corpus, columns = open_pairs(str(tmp_path), PairConfig())
    told = []
    learn_tokenizer(corpus.split("train"), columns, TokenizerConfig(units="word", sample=100), told=told.append)
    assert told == [0, 75, 150, 225]  # of each three rows one is taken


def test_signs_of_life_are_given_while_units_are_made(split, monkeypatch):
    monkeypatch.setattr(pairs, "_ALIVE", 0.001)
    seen = threading.Event()

    def train(texts, config):
        assert len(list(texts)) == 14
        assert told == [0]
        assert seen.wait(20)

    told = []
    monkeypatch.setattr(Tokenizer, "train", train)
    learn_tokenizer(split, ("en", "fr"), WORDS, told=lambda rows: (told.append(rows), rows == 7 and seen.set()))
    assert told[-1] == 7
    after = len(told)
    time.sleep(0.01)
    assert len(told) == after
