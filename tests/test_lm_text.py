"""Which text is read, how it is cut, and that ids on disk are whole."""

import gzip
from itertools import chain

import numpy as np
import pytest

from nlpseq.errors import CorpusError
from nlpseq.lm_text import encode_text, learn_units, open_source, training_rows
from nlpseq.settings import LMTextConfig
from nlpseq.units import Characters, TokenUnits
from nlpseq.vocab import EOS, UNK

LINES = "".join(f"line {number}, and what follows it\n" for number in range(400))


def rows(source, names):
    return list(source.rows(names))


def encode(texts, units, path, joined=False):
    return encode_text(iter(texts), units, path=path, joined=joined, told=lambda _: None)


@pytest.mark.parametrize("name", ["mine.txt", "mine.tex", "mine", "mine.txt.gz"])
def test_any_file_of_text_is_cut_in_place_at_ends_of_lines(tmp_path, name):
    content = LINES.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    source = open_source(str(tmp_path / name), None, as_bytes=False)
    parts = [rows(source, part)[0] for part in ("train", "validation", "test")]
    assert "".join(parts) == "".join(rows(source, "all")) == LINES
    assert all(part.endswith("\n") for part in parts)
    assert [round(len(part) / len(LINES), 2) for part in parts] == [0.9, 0.05, 0.05]
    assert source.running


def test_a_folder_holds_out_whole_files(tmp_path):
    for number in range(45):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / f"{number}.md").write_text(f"text {number}")
    (tmp_path / ".hidden").write_bytes(b"\xff")
    source = open_source(str(tmp_path), None, as_bytes=False)
    parts = [rows(source, part) for part in ("train", "validation", "test")]
    assert sorted(chain(*parts)) == sorted(rows(source, "all")) == sorted(f"text {n}" for n in range(45))
    assert [len(part) for part in parts] == [41, 2, 2]
    assert not source.running
    assert not source.python


def test_files_of_a_folder_that_are_not_text_are_left_out_and_counted(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.py").write_text("x = 1\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    source = open_source(str(tmp_path), None, as_bytes=False)
    assert (len(source.left_out), source.python) == (1, True)
    assert rows(source, "all") == ["x = 1\n"] * 4
    assert open_source(str(tmp_path), None, as_bytes=True).left_out == ()


def test_a_folder_of_named_splits_is_taken_as_it_is(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(name)
    source = open_source(str(tmp_path), None, as_bytes=False)
    assert [rows(source, name) for name in source.splits] == [
        ["train"],
        ["valid"],
        ["test"],
        ["test", "train", "valid"],
    ]
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        (tmp_path / "two" / f"{name}.py").write_text(LINES)
    two = open_source(str(tmp_path / "two"), None, as_bytes=False)
    assert rows(two, "all") == [LINES * 2]
    assert two.running
    (tmp_path / "two" / "c.py").write_text("x")
    assert open_source(str(tmp_path / "two"), None, as_bytes=False).python


@pytest.mark.parametrize(
    "names", [("train.txt", "dev.txt", "test.txt"), ("train/a.txt", "validation/b.txt", "test/c.txt"),
              ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")],
)  # fmt: skip
def test_documents_beside_named_splits_are_left_out_and_said(tmp_path, names):
    for name in (*names, "README.md", "LICENSE"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    source = open_source(str(tmp_path), None, as_bytes=False)
    parts = ("train", "validation", "test")
    assert [rows(source, part) for part in parts] == [[f"text of {name}"] for name in names]
    (said,) = source.left_out
    assert "2 files, LICENSE, README.md" in said


def test_a_folder_of_tables_is_read_as_tables_whatever_documents_are_beside_them(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text\n{name} row\n")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "notes.txt").write_text("notes")
    source = open_source(str(tmp_path), None, as_bytes=False)
    assert [rows(source, name) for name in source.splits] == [["train row"], ["test row"]]
    code = tmp_path / "code"
    code.mkdir()
    for name in ("a.py", "b.py", "c.py", "package.jsonl"):
        (code / name).write_text("x")
    source = open_source(str(code), None, as_bytes=False)
    assert rows(source, "all") == ["x"] * 3
    assert source.left_out == (f"{code}: 1 file, package.jsonl left out, which are tables",)
    hub = tmp_path / "hub"
    (hub / "data").mkdir(parents=True)
    (hub / "data" / "train-0.parquet").write_bytes(b"x")
    (hub / "README.md").write_text("about")
    with pytest.raises(CorpusError, match=r"must hold train\.\*"):
        open_source(str(hub), None, as_bytes=False)


def test_blank_files_of_a_folder_are_passed_over_and_those_that_are_no_text_are_said(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.py").write_text(f"x = {number}")
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9")
    (tmp_path / "data.tar.gz").write_bytes(gzip.compress(b"a\0b"))
    source = open_source(str(tmp_path), None, as_bytes=False)
    assert len(rows(source, "all")) == 5
    (said,) = source.left_out
    assert "2 files, data.tar.gz, latin.py left out, not UTF-8 text" in said
    assert len(rows(open_source(str(tmp_path), None, as_bytes=True), "all")) == 7
    for path in tmp_path.glob("[0-9].py"):
        path.unlink()
    with pytest.raises(CorpusError, match=r"must be UTF-8 text, but"):
        open_source(str(tmp_path), None, as_bytes=False)


def test_a_corpus_of_pairs_is_asked_for_its_column():
    with pytest.raises(CorpusError, match=r"`text` must be given where a corpus has pairs \(en, fr\), but is absent"):
        open_source("phrasebook", None, as_bytes=False)
    source = open_source("phrasebook", "fr", as_bytes=False)
    assert len(rows(source, "test")) > 9


def test_a_column_of_a_table_is_read_by_its_rows(tmp_path):
    (tmp_path / "a.tsv").write_text("body\tlabel\n" + "".join(f"text {n}\t{n % 2}\n" for n in range(60)) + "  \t1\n")
    source = open_source(str(tmp_path / "a.tsv"), "body", as_bytes=False)
    assert sorted(rows(source, "train,validation,test")) == sorted(f"text {n}" for n in range(60))
    with pytest.raises(CorpusError, match=r"`tset` must be a split of a\.tsv .*did you mean `test`"):
        source.rows("train,tset")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "`a.txt` must hold text, but is empty"),
        (b" \n", "`a.txt` must hold text, but is empty"),
        (
            b"one\ncaf\xe9\n",
            r"must be UTF-8 text, but is not \(byte 0xe9; a model of --units byte reads any file\) \(.*line 2\)",
        ),
        (b"one\n\0two", "holds a NUL byte .*line 2"),
    ],
)
def test_files_that_are_no_text(tmp_path, content, said):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(CorpusError, match=said):
        open_source(str(tmp_path / "a.txt"), None, as_bytes=False)
    if content.strip():
        source = open_source(str(tmp_path / "a.txt"), None, as_bytes=True)
        assert "".join(rows(source, "all")).encode("utf-8", "surrogateescape") == content


def test_held_out_text_is_whole_rows_or_the_end_of_a_few():
    config = LMTextConfig(held_out=0.25)
    many = [f"row {number % 150}" for number in range(200)]
    source = source_of(many)
    train, held = (list(training_rows(source, config, held=held)) for held in (False, True))
    assert sorted(train + held) == sorted(many)
    assert not set(train) & set(held)
    assert 20 < len(held) < 90
    few = source_of(["a" * 1000, "b" * 100])
    assert list(training_rows(few, config, held=False)) == ["a" * 750, "b" * 75]
    assert list(training_rows(few, config, held=True)) == ["a" * 250, "b" * 25]
    assert list(training_rows(few, config, held=None)) == ["a" * 1000, "b" * 100]
    tiny = source_of(many[:21])
    assert len(list(training_rows(tiny, LMTextConfig(held_out=0.001), held=True))) == 1


def source_of(texts):
    from nlpseq.lm_text import Source

    return Source("mine", {"train": lambda: iter(texts)})


def test_a_limit_cuts_the_training_text():
    config = LMTextConfig(limit=1500)
    assert list(training_rows(source_of(["a" * 1000] * 3), config, held=None)) == ["a" * 1000, "a" * 500]


def test_documents_end_and_parts_of_one_text_do_not(tmp_path):
    units = Characters.learn(["ab"], min_count=1)
    a, b = 6, 7
    two = encode(["ab", "b\u2603"], units, tmp_path / "two")
    assert two.ids.tolist() == [a, b, EOS, b, UNK, EOS]
    assert (two.counts.rows, two.counts.documents, two.counts.units, two.counts.unknown) == (2, 2, 4, 1)
    one = encode(["ab", "b\u2603"], units, tmp_path / "one", joined=True)
    assert one.ids.tolist() == [a, b, b, UNK, EOS]


def test_for_words_a_document_is_a_line(tmp_path):
    config = LMTextConfig(units="word", min_count=2)
    texts = ["the cat\n\n  \nthe cat sees 7\n", "the end"] * 2
    units = learn_units(lambda: iter(texts), config)
    assert isinstance(units, TokenUnits)
    text = encode(texts, units, tmp_path / "t")
    assert text.counts.documents == 6
    assert units.decode(text.ids.tolist()).startswith("the cat\nthe cat sees [NUM]\nthe end\n")
    assert text.counts.characters == sum(len(line) for t in texts for line in t.splitlines() if line.strip())


def test_a_text_is_written_once_and_anew_where_it_was_damaged(tmp_path):
    units = Characters(None)
    first = encode(["abc", "def"], units, tmp_path / "t").ids.tolist()
    assert encode(["other"], units, tmp_path / "t").ids.tolist() == first
    path = tmp_path / "t.ids"
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes([content[4] ^ 1]) + content[5:])
    assert encode(["abc", "def"], units, tmp_path / "t").ids.tolist() == first
    (tmp_path / "t.json").write_text("{}")
    assert encode(["xyz"], units, tmp_path / "t").counts.units == 3


def test_units_are_learnt_from_lines_evenly_over_the_text():
    config = LMTextConfig(units="word", sample=100)
    texts = ["\n".join(f"word{number}" for number in range(1000))]
    units = learn_units(lambda: iter(texts), config)
    assert len(units) == 6 + 100
    assert np.array_equal(units.encode(["word990 word991"])[0][1:], [UNK])
