"""From a corpus to ids on disk: which words stay, which documents are held out, and that memory stays bounded."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nlpseq import Tokenizer, word_stream
from nlpseq.config import from_plain
from nlpseq.errors import CorpusError
from nlpseq.settings import EmbedConfig
from nlpseq.word_stream import WordStream, open_source, prepare_stream

LINES = [f"The {a} sees {n} of the dogs, {b}" for a in ("king", "queen") for b in ("Rex", "Ann", "Bo") for n in "123"]


def config(corpus: Path, **options: object) -> EmbedConfig:
    return from_plain(EmbedConfig, {"corpus": str(corpus), "out": "unused", "min_count": 1, **options}, "here")


def stream(corpus: Path, folder: Path, **options: object) -> WordStream:
    folder.mkdir(exist_ok=True)
    chosen = config(corpus, **options)
    return prepare_stream(open_source(chosen), chosen, path=folder / "text", told=lambda rows: None)


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def texts(found: WordStream, part: str = "train") -> list[str]:
    data = getattr(found, part)
    return [" ".join(found.words[i] for i in data.ids[a:b]) for a, b in pairwise(data.offsets)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus with a validation split."""
    write(tmp_path / "c" / "train.txt", LINES)
    write(tmp_path / "c" / "validation.txt", ["The king sees a unicorn", "the"])
    return tmp_path / "c"


def test_words_become_ids_commonest_first_and_documents_stay_apart(folder: Path, tmp_path: Path):
    found = stream(folder, tmp_path / "s")
    assert found.words[:7] == ("the", ",", "[NUM]", "dogs", "of", "sees", "king")
    assert found.words[6:] == ("king", "queen", "ann", "bo", "rex")
    assert found.counts.tolist() == [36, 18, 18, 18, 18, 18, 9, 9, 6, 6, 6]
    assert texts(found)[0] == "the king sees [NUM] of the dogs , rex"
    assert len(found.train) == 18
    assert np.bincount(found.train.ids).tolist() == found.counts.tolist()


def test_the_validation_split_is_held_out_and_counts_for_nothing(folder: Path, tmp_path: Path):
    found = stream(folder, tmp_path / "s")
    assert texts(found, "held") == ["the king sees", "the"]
    assert "unicorn" not in found.words
    facts = {"words_read": 162, "words_dropped": 0, "documents": 18, "words": 162, "held_documents": 2, "held_words": 4}
    assert dict(found.facts) == facts


def test_every_thousandth_row_is_held_out_where_there_is_no_validation(folder: Path, tmp_path: Path):
    write(folder / "test.txt", ["a b"])
    (folder / "validation.txt").unlink()
    write(folder / "train.txt", [f"row w{n}" for n in range(1, 2601)])
    found = stream(folder, tmp_path / "s", numbers=False)
    assert texts(found, "held") == ["row", "row", "row"]
    assert {"w500", "w1500", "w2500"}.isdisjoint(found.words)
    assert len(found.train) == 2597


def test_splits_are_chosen_and_all_is_a_whole_file(folder: Path, tmp_path: Path):
    write(folder / "test.txt", ["plum pie"])
    both = stream(folder, tmp_path / "both", splits="train, test")
    assert {"plum", "king"} <= set(both.words)
    assert len(both.held) == 2
    read = stream(folder, tmp_path / "validation", splits="validation,train")
    assert "unicorn" in read.words
    assert len(read.held) == 0
    single = write(tmp_path / "mine.txt", LINES)
    assert len(stream(single, tmp_path / "cut").train) < len(stream(single, tmp_path / "all", splits="all").train) == 18
    with pytest.raises(CorpusError, match=r"`unsupervised` must be a split of c \(train, validation, test\)"):
        stream(folder, tmp_path / "s", splits="train,unsupervised")


def test_words_below_the_minimum_count_are_dropped_and_neighbours_move_together(folder: Path, tmp_path: Path):
    found = stream(folder, tmp_path / "s", min_count=9)
    assert texts(found)[0] == "the king sees [NUM] of the dogs ,"
    assert found.facts["words_dropped"] == 18
    found = stream(folder, tmp_path / "two", max_words=2)
    assert found.words == ("the", ",")
    assert texts(found)[0] == "the the ,"


def test_case_numbers_and_links_as_they_are_set(tmp_path: Path):
    path = write(tmp_path / "t" / "train.txt", [f"See HTTP://a.org/b and {n} [NUM] Cats" for n in range(3)] * 2)
    words = stream(path, tmp_path / "s", splits="all").words
    assert {"see", "[URL]", "[NUM]", r"[\num]", "cats"} <= set(words)
    words = stream(path, tmp_path / "t2", splits="all", lowercase=False, numbers=False, links=False).words
    assert {"See", "HTTP://a.org/b", "0", r"[\NUM]", "Cats"} <= set(words)


def test_a_blank_line_is_no_document(trained: Path, tmp_path: Path):
    path = write(tmp_path / "a.txt", ["the 4 cats", "", "the 5 dogs", "  ", "6 cats"])
    units = {"tokenizer": str(trained / "units"), "min_count": 5}
    for place, options in enumerate(({}, units)):
        assert len(stream(path, tmp_path / f"s{place}", splits="all", **options).train) == 3
    path = write(tmp_path / "b.txt", ["the 4 cats", "\u200b", "the 5 dogs"])  # a line of no unit at all
    assert stream(path, tmp_path / "s2", splits="all", **units).counts.sum() == 6


@pytest.mark.parametrize("cell", [[{"a": 1}], {"a": 1}, [1, 2]])
def test_a_column_that_is_no_text_is_said(tmp_path: Path, cell: object):
    path = write(tmp_path / "a.jsonl", [json.dumps({"text": f"the cat {n}", "spans": cell}) for n in range(9)])
    with pytest.raises(CorpusError) as caught:
        stream(path, tmp_path / "s", splits="all", text="spans")
    assert str(caught.value) == f"`spans` must hold text or tokens, but is {cell!r}."


def test_the_units_of_a_tokeniser_keep_their_ids_and_both_columns_are_read(trained: Path, tmp_path: Path):
    tokenizer = Tokenizer.load(trained / "units")
    options = {"tokenizer": str(trained / "units"), "min_count": 5, "source": "en", "target": "fr"}
    found = stream(trained / "pairs.tsv", tmp_path / "s", **options)
    assert found.words == tuple(tokenizer.units(range(len(tokenizer))))
    assert found.words[:6] == ("<pad>", "[UNK]", "<go>", "<eos>", "[NUM]", "[URL]")
    assert found.counts[:4].tolist() == [0, 0, 0, 0]
    assert "le chat mange du pain" in texts(found) + texts(found, "held")
    assert "the cat eats bread" in texts(found) + texts(found, "held")
    assert len(found.train) + len(found.held) == 2 * 57


def test_what_has_been_written_whole_is_not_written_again(folder: Path, tmp_path: Path):
    first = stream(folder, tmp_path / "s")
    write(folder / "train.txt", ["another text"] * 3)
    assert texts(stream(folder, tmp_path / "s")) == texts(first)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        *("text.held.ids", "text.held.offsets", "text.json", "text.train.ids", "text.train.offsets")
    ]


def test_a_pass_that_was_killed_is_begun_anew(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = texts(stream(folder, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(word_stream, "_finish", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream(folder, tmp_path / "s")
    assert texts(stream(folder, tmp_path / "s")) == expected


@pytest.mark.parametrize("name", ["text.json", "text.train.ids", "text.held.offsets"])
def test_damaged_files_are_made_anew(folder: Path, tmp_path: Path, name: str):
    expected = stream(folder, tmp_path / "s")
    path = tmp_path / "s" / name
    for content in (path.read_bytes()[:-3], path.read_bytes().replace(b"9", b"8").replace(b"\1", b"\2"), b""):
        path.write_bytes(content)
        found = stream(folder, tmp_path / "s")
        assert texts(found) == texts(expected)
        assert found.counts.tolist() == expected.counts.tolist()


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        (LINES, {"min_count": 100}, r"two different words that stand there 100 times or more \(min_count\), but is w"),
        (["a a a a"] * 9, {}, r"at least two different words .* is with one alone"),
        (["", " ", "\t"], {}, r"at least two different words .* is without any"),
        (["a", "b", "c", "d"], {}, r"`train` must have a row of two words or more, but is without one"),
        (["a b", "c \0 d", "e"], {}, r"must be UTF-8 text, but is binary or UTF-16 \(it holds NUL bytes\)"),
        (["one", "two", "three", "four"] * 9000 + ["nul \0 late"], {}, r"holds a NUL byte .*line 36001"),
        (LINES, {"text": "body"}, r"`body` must be one of the columns text, but is none"),
    ],
)  # fmt: skip
def test_text_that_gives_no_vectors(tmp_path: Path, lines: list[str], options: dict[str, object], said: str):
    path = write(tmp_path / "mine.txt", lines)
    with pytest.raises(CorpusError, match=said):
        stream(path, tmp_path / "s", splits="all", **options)
    assert list((tmp_path / "s").iterdir()) == []


def test_which_column_is_meant_is_asked_and_not_guessed(tmp_path: Path):
    path = write(tmp_path / "mine.csv", ["id,body", *(f"{n},the cat sat on mat {n}" for n in range(40))])
    said = r"`text` must be given where there are several columns \(id, body\), or source and target, but is absent"
    with pytest.raises(CorpusError, match=said):
        stream(path, tmp_path / "s")
    assert texts(stream(path, tmp_path / "s", text="body"))[0] == "the cat sat on mat [NUM]"


def test_an_empty_file(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"`mine.txt` must hold text, but is empty"):
        stream(write(tmp_path / "mine.txt", []), tmp_path / "s")


def test_one_endless_line_is_read_whole_in_little_memory(tmp_path: Path):
    path = tmp_path / "mine.txt"
    path.write_text(" ".join(f"w{n % 1000}" for n in range(600_000)), "utf-8")
    tracemalloc.start()
    found = stream(path, tmp_path / "s")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(found.train), len(found.train.ids), len(found.words)) == (1, 600_000, 1000)
    assert found.train.ids[:3].tolist() == found.train.ids[1000:1003].tolist()
    assert peak < 40e6  # the words of it as text would take fifty


def test_memory_is_bounded_by_forgetting_the_rarest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(word_stream, "_BLOCK", 500)
    lines = [f"common often rare{n} close{n // 9} spread{n % 100}" for n in range(900)]
    path = write(tmp_path / "mine.txt", lines)
    whole = stream(path, tmp_path / "whole", splits="all", min_count=5)
    monkeypatch.setattr(word_stream, "_MOST", 100)
    found = stream(path, tmp_path / "s", splits="all", min_count=5)
    assert found.words[:2] == whole.words[:2] == ("common", "often")
    assert found.counts[:2].tolist() == [899, 899]
    assert "spread7" in whole.words
    assert "spread7" not in found.words  # nine times in all, but never twice while it was remembered
    assert np.bincount(found.train.ids, minlength=len(found.words)).tolist() == found.counts.tolist()
