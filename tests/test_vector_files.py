from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nlpseq import vector_files
from nlpseq.errors import CorpusError, UsageError, WorkError
from nlpseq.vector_files import read_vectors, write_vectors

WORDS = [
    "the",
    ",",
    "7",
    "3.14",
    "1e5",
    "nan",
    "été",
    "日本",
    "a\u00a0b",
    "\u2028",
    "👍🏽",
    "x\ty",
    "[NUM]",
    "#",
    '"',
    "",
    "\\",
]
BINARY = "word2vec-binary"


def numbers(rows: int, size: int = 4) -> np.ndarray:
    """Finite float32 numbers of every size: random bits."""
    bits = np.random.default_rng(rows).integers(0, 2**32, (rows, size), np.uint32)
    return np.where(bits & 0x7F800000 == 0x7F800000, bits & 0x807FFFFF, bits).astype(np.uint32).view(np.float32)


def same(read: vector_files.WordVectors, words: list[str], vectors: np.ndarray) -> None:
    assert read.words == words
    assert read.vectors.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("name", ["v.bin", "v.gz"])
@pytest.mark.parametrize("kind", ["word2vec", BINARY, "glove"])
def test_what_is_written_comes_back_bit_for_bit(tmp_path: Path, kind: str, name: str):
    vectors = numbers(len(WORDS))
    assert write_vectors(tmp_path / name, WORDS, vectors, format=kind) == 0
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    os.rename(tmp_path / name, tmp_path / "plain")  # the name says nothing
    read = read_vectors(tmp_path / "plain")
    same(read, WORDS, vectors)
    assert (read.format, read.repeated) == (kind, 0)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("kind", ["word2vec", BINARY, "glove"])
def test_gensim_reads_what_is_written(tmp_path: Path, kind: str, packed: str):
    path, vectors = tmp_path / f"v.txt{packed}", numbers(len(WORDS))
    write_vectors(path, WORDS, vectors, format=kind)
    keyed = KeyedVectors.load_word2vec_format(str(path), binary=kind == BINARY, no_header=kind == "glove")
    assert keyed.index_to_key == WORDS
    assert keyed.vectors.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("kind", ["word2vec", BINARY, "glove"])
def test_what_gensim_writes_is_read(tmp_path: Path, kind: str, packed: str):
    words = [*WORDS, *(["New York", ". . ."] if kind != BINARY else [])]
    keyed, vectors = KeyedVectors(4), numbers(len(words))
    keyed.add_vectors(words, vectors)
    keyed.save_word2vec_format(str(tmp_path / f"v{packed}"), binary=kind == BINARY, write_header=kind != "glove")
    same(read_vectors(tmp_path / f"v{packed}"), words, vectors)


TOKENS = st.text(st.characters(exclude_characters="\n\0 ", exclude_categories=["Cs", "Cc"]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(TOKENS, min_size=1, max_size=12, unique=True), st.sampled_from(["word2vec", BINARY, "glove"]))
def test_any_words_come_back(tmp_path_factory: pytest.TempPathFactory, words: list[str], kind: str):
    assume(kind != "glove" or not words[0].startswith("\ufeff"))
    path, vectors = tmp_path_factory.mktemp("any") / "v", numbers(len(words), 5)
    write_vectors(path, words, vectors, format=kind)
    same(read_vectors(path), words, vectors)


def test_word2vec_s_own_tool_ends_rows_of_numbers_with_a_space_and_binary_ones_with_a_line_feed(tmp_path: Path):
    vectors = np.array([[1, -0.5], [0, 2.25]], np.float32)
    (tmp_path / "t").write_bytes(b"2 2\n</s> 1.000000 -0.500000 \nthe 0.000000 2.250000 \n")
    same(read_vectors(tmp_path / "t"), ["</s>", "the"], vectors)
    rows = [word + b" " + row.tobytes() + b"\n" for word, row in zip([b"</s>", b"the"], vectors, strict=True)]
    (tmp_path / "b").write_bytes(b"2 2\n" + b"".join(rows))
    same(read_vectors(tmp_path / "b"), ["</s>", "the"], vectors)


@pytest.mark.parametrize("head", ["", "4 2\n"])
@pytest.mark.parametrize(
    ("space", "end"), [(" ", "\n"), ("\t", "\n"), ("  ", "\n"), (" ", "\r\n"), (" ", " \n"), (" ", "\n\n")]
)
def test_text_may_be_laid_out_otherwise(tmp_path: Path, head: str, space: str, end: str):
    rows = [("5", "1", "2"), ("at name@domain.com", "-.5", "1e-3"), (". . .", "+3", "4."), ("b", "0", "-0")]
    (tmp_path / "v").write_bytes((head + end.join(space.join(row) for row in rows)).encode())
    same(read_vectors(tmp_path / "v"), [row[0] for row in rows], np.array([r[1:] for r in rows], np.float32))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("head", [b"", b"2 2\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path, head: bytes, packed: bool):
    content = b"\xef\xbb\xbf" + head + b"the 1 2\n\xef\xbb\xbf 3 4\n"
    (tmp_path / "v").write_bytes(gzip.compress(content) if packed else content)
    read = read_vectors(tmp_path / "v")
    same(read, ["the", "\ufeff"], np.array([[1, 2], [3, 4]], np.float32))
    assert read.format == ("word2vec" if head else "glove")


def test_a_first_word_that_would_be_read_as_a_byte_order_mark_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="`words` must not begin with a byte order mark, but is '"):
        write_vectors(tmp_path / "v", ["\ufeffa", "b"], numbers(2), format="glove")
    assert not (tmp_path / "v").exists()
    for kind in ("word2vec", BINARY):
        write_vectors(tmp_path / kind, ["\ufeffa", "b"], numbers(2), format=kind)
        same(read_vectors(tmp_path / kind), ["\ufeffa", "b"], numbers(2))


def test_of_a_word_that_stands_there_twice_the_first_counts_as_in_gensim(tmp_path: Path):
    (tmp_path / "v").write_text("4 2\na 1 2\nb 3 4\na 5 6\na 7 8\n")
    read = read_vectors(tmp_path / "v")
    same(read, ["a", "b"], KeyedVectors.load_word2vec_format(str(tmp_path / "v")).vectors[:2])
    assert read.repeated == 2


@pytest.mark.parametrize("block", [64, 65, 100, 1000])
@pytest.mark.parametrize("kind", ["word2vec", BINARY, "glove"])
def test_where_a_block_ends_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, block: int):
    words, vectors = [f"wörd{i}" if (i + 1) % 3 else f"x_{i}x" for i in range(50)], numbers(50, 3)
    write_vectors(tmp_path / "v", words, vectors, format=kind)
    if kind != BINARY:
        words = [word.replace("_", " ") for word in words]
        (tmp_path / "v").write_bytes((tmp_path / "v").read_bytes().replace(b"_", b" "))
    monkeypatch.setattr(vector_files, "_BLOCK", block)
    monkeypatch.setattr(vector_files, "_ROWS", 7)
    same(read_vectors(tmp_path / "v"), words, vectors)
    write_vectors(tmp_path / "again", words, vectors, format="glove")
    same(read_vectors(tmp_path / "again"), [word.replace(" ", "_") for word in words], vectors)


@pytest.mark.parametrize("kind", [BINARY, "glove"])
def test_memory_is_bounded_by_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    vectors = np.random.default_rng(1).normal(size=(3000, 300)).astype(np.float32)
    write_vectors(tmp_path / "v.gz", [f"w{i}" for i in range(3000)], vectors, format=kind)
    monkeypatch.setattr(vector_files, "_BLOCK", 1 << 16)
    tracemalloc.start()
    read = read_vectors(tmp_path / "v.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.25 * read.vectors.nbytes + 3000 * 300 + (1 << 19)  # the words are 3,000 strings and a dict


def binary(*rows: tuple[bytes, list[float]], head: bytes) -> bytes:
    return head + b"".join(word + b" " + np.array(row, "<f4").tobytes() for word, row in rows)


BAD = {
    "empty": (b"", "hold word2vec or GloVe vectors, but is empty"),
    "blank": (b"\n \n", "but is empty"),
    "no words": (
        b"0 3\n",
        'header how many words and numbers \\(1 to 65,536\\) there are, but says "0 3" \\(.*, line 1',
    ),
    "no numbers": (b"3 0\na\nb\nc\n", 'says "3 0"'),
    "too wide": (b"3 999999999\n\0\1\2", 'says "3 999999999"'),
    "too few": (b"3 2\na 1 2\nb 3 4\n", "hold 3 words, as its header says, but holds 2 "),
    "too many": (b"1 2\na 1 2\nb 3 4\n", "hold 1 words, as its header says, but holds more"),
    "another size": (b"2 3\na 1 2\nb 3 4\n", "hold a word and 3 numbers in each line, but has 2 \\(.*, line 2\\)"),
    "ragged": (b"a 1 2\n\nb 3\nc 4 5\nd 1 2", "hold a word and 2 numbers in each line, but has 1 \\(.*, line 3\\)"),
    "long row": (b"3 2\na 1 2\nb 3 4 5\nc 1 2", "2 numbers in each line, but has more than 2 \\(.*, line 3\\)"),
    "a word for a number": (b"a 1 2\nb 3 x4\nc 5 6\n", 'hold numbers behind each word, but has "x4" \\(.*, line 2'),
    "nan": (b"a 1 2\nb 3 nan\n", "hold finite numbers, but has one that is not finite \\(.*, line 2"),
    "infinity": (b"2 2\na 1 2\nb -inf 3\n", "has one that is not finite \\(.*, line 3"),
    "beyond float32": (b"a 1 2\nb 1e39 3\n", "has one that is not finite \\(.*, line 2"),
    "Latin-1": ("a 1 2\nété 3 4\n".encode("latin-1"), "be UTF-8 text, but is not \\(byte 0xe9\\) \\(.*, line 2"),
    "NUL": (b"a 1 2\nb\0c 3 4\n", "be UTF-8 text, but holds a NUL byte \\(.*, line 2"),
    "NUL behind a header": (b"2 2\na 1 2\nb\0c 3 4\n", "be UTF-8 text, but holds a NUL byte \\(.*, line 3"),
    "prose": (b"It was the best of times,\nit was the worst\n", 'hold numbers behind each word, but has "'),
    "words": (b"one\ntwo\n", "hold word2vec or GloVe vectors, but has lines without numbers \\(.*, line 1"),
    "pickle": (b"\x80\x04\x95", "is a pickle, which could run code"),
    "zip": (b"PK\x03\x04", "is a zip archive \\(unpack it\\)"),
    "gzip cut": (
        gzip.compress(b"a 1 2\n" * 99)[:30],
        "be a whole file of word vectors, but cannot be read: Compressed",
    ),
    "gzip broken": (b"\x1f\x8b\x08junkjunk", "be a whole file of word vectors, but cannot be read: "),
    "binary cut": (
        binary((b"a", [1, 2, 3]), (b"b", [4, 5]), head=b"2 3\n"),
        "be whole, with 2 words of 3 numbers, as its header says, but ends inside row 2 ",
    ),
    "binary short": (binary((b"a", [1, 2, 3]), head=b"2 3\n"), "hold 2 words, as its header says, but holds 1 "),
    "binary long": (binary((b"a", [1, 2]), (b"b", [3, 4]), head=b"1 2\n"), "hold 1 words, .* but holds more"),
    "binary size": (
        binary((b"a", [1, 2, 3]), (b"b", [4, 5, 6]), (b"c", [4, 5, 6]), head=b"3 2\n"),
        "hold a word and 2 finite numbers in each row, but does not \\(another size in the header, .* row 2\\)",
    ),
    "binary nan": (binary((b"a", [1, 2]), (b"b", [3, np.nan]), head=b"2 2\n"), "has a number that is not .* row 2\\)"),
    "binary Latin-1": (binary((b"a", [1, 2]), (b"\xe9", [3, 4]), head=b"2 2\n"), "is not \\(byte 0xe9\\) .* row 2\\)"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(CorpusError, match=said) as error:
        read_vectors(tmp_path / "v.txt")
    assert len(str(error.value).splitlines()) == 1


def test_no_place_where_a_file_is_cut_goes_unseen(tmp_path: Path):
    for kind in ("word2vec", BINARY):
        write_vectors(tmp_path / kind, ["a", "bc", "d"], numbers(3), format=kind)
        whole = (tmp_path / kind).read_bytes()
        last = whole.rindex(b" ") if kind == "word2vec" else len(whole)  # the last number of text may lose digits
        for end in range(last):
            (tmp_path / "v").write_bytes(whole[:end])
            with pytest.raises(CorpusError):
                read_vectors(tmp_path / "v")


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vector_files, "_BLOCK", 64)
    (tmp_path / "v").write_bytes(b"9 2\na 1 2\n" + b"b" * 1000)
    with pytest.raises(CorpusError, match=r"hold one word in each line, but has an endless line \(.*, line 3\)"):
        read_vectors(tmp_path / "v")


def test_the_line_is_counted_over_blocks_and_blank_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vector_files, "_BLOCK", 64)
    (tmp_path / "v").write_text("".join(f"w{i} 1 2\n\n" for i in range(50)) + "x 1 nan\n")
    with pytest.raises(CorpusError, match=r"has one that is not finite \(.*, line 101\)"):
        read_vectors(tmp_path / "v")


def test_folders_and_absent_files_are_refused(tmp_path: Path):
    with pytest.raises(CorpusError, match="be a whole file of word vectors, but is a folder"):
        read_vectors(tmp_path)
    with pytest.raises(CorpusError, match="but cannot be read: No such file or directory"):
        read_vectors(tmp_path / "none")


@pytest.mark.parametrize("kind", ["word2vec", BINARY, "glove"])
def test_spaces_become_underscores_and_are_counted(tmp_path: Path, kind: str):
    assert write_vectors(tmp_path / "v", ["New York", "a", ". . ."], numbers(3), format=kind) == 2
    assert read_vectors(tmp_path / "v").words == ["New_York", "a", "._._."]
    with pytest.raises(UsageError, match='differ in more than spaces and underscores, but is "a b" and "a_b"'):
        write_vectors(tmp_path / "w", ["a b", "c", "a_b"], numbers(3), format=kind)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("word", ["a\nb", "a\0", "\ud800"])
def test_words_that_would_not_come_back_are_refused(tmp_path: Path, word: str):
    with pytest.raises(UsageError, match="`words` must be such as glove can hold, but is "):
        write_vectors(tmp_path / "v", [word], numbers(1), format="glove")
    assert list(tmp_path.iterdir()) == []


def test_tables_for_the_projector(tmp_path: Path):
    write_vectors(tmp_path / "p", ["New York", "b"], np.array([[1, 0.1], [2, -3]], np.float32), format="tsv")
    assert (tmp_path / "p" / "vectors.tsv").read_text() == "1\t0.1\n2\t-3\n"
    assert (tmp_path / "p" / "metadata.tsv").read_text() == "New York\nb\n"  # one column has no header there
    write_vectors(tmp_path / "q", ["a", "b"], numbers(2), format="tsv", counts=[5, 3])
    assert (tmp_path / "q" / "metadata.tsv").read_text() == "word\tcount\na\t5\nb\t3\n"
    with pytest.raises(CorpusError, match=r"has numbers alone \(a projector's words stand in its metadata\.tsv\)"):
        read_vectors(tmp_path / "q" / "vectors.tsv")
    for rows in ("3 0.5 0.6\n4 1 2\n", "3\t0.5 0.6\n4\t1 2\n"):  # words may be numbers
        (tmp_path / "v").write_text(rows)
        assert read_vectors(tmp_path / "v").words == ["3", "4"]
    with pytest.raises(UsageError, match="be such as tsv can hold"):
        write_vectors(tmp_path / "r", ["a\tb"], numbers(1), format="tsv")


@pytest.mark.parametrize("kind", ["word2vec", "tsv"])
def test_what_is_there_is_replaced_only_when_asked_and_only_by_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    path = tmp_path / "v"
    file = path / "vectors.tsv" if kind == "tsv" else path
    write_vectors(path, ["a"], numbers(1), format=kind)
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"`out` must be a new file, but is there already \(--replace"):
        write_vectors(path, ["b", "c"], numbers(2), format=kind)
    with monkeypatch.context() as patch:
        patch.setattr(vector_files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(WorkError, match="must be written whole, but is No space left"):
            write_vectors(path, ["b", "c"], numbers(2), format=kind, replace=True)
    assert file.read_bytes() == before
    assert [p for p in tmp_path.rglob("*") if p.name.startswith(".")] == []
    write_vectors(path, ["b", "c"], numbers(2), format=kind, replace=True)
    assert file.read_bytes() != before


def test_a_pipe_is_no_file_to_replace(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for kind in ("glove", "tsv"):
        with pytest.raises(UsageError, match=r"but is (a folder or a device|none) \(.*pipe\)"):
            write_vectors(tmp_path / "pipe", ["a"], numbers(1), format=kind, replace=True)
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_no_file_to_replace(tmp_path: Path):
    with pytest.raises(UsageError, match="be a new file"):
        write_vectors(tmp_path, ["a"], numbers(1), format="glove", replace=True)


def test_a_line_feed_inside_a_binary_word_is_refused(tmp_path: Path):
    row = np.ones(2, np.float32).tobytes()
    (tmp_path / "v.bin").write_bytes(b"2 2\n" + b"a\nb " + row + b"c " + row)
    with pytest.raises(CorpusError, match="must hold a word and 2 finite numbers in each row"):
        read_vectors(tmp_path / "v.bin")
