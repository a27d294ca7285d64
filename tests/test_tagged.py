"""Tagged corpora: columns in any order, every scheme, spans in raw text, and each fault with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nlpseq.corpora import Split
from nlpseq.errors import CorpusError
from nlpseq.readers import open_table
from nlpseq.settings import TagConfig
from nlpseq.tagged import Sentence, Tally, open_tagged, pieces, scheme_of, sentences
from nlpseq.tagged_ids import split_up
from nlpseq.tags import Span

ROWS = [("Ada", "B-PER"), ("Lee", "I-PER"), ("left", "O"), (None, None), ("Rome", "B-LOC"), (None, None), ("Go", "O")]


def write_conll(path: Path, rows=ROWS, form="{0} NN {1}") -> Path:
    path.write_text("".join("\n" if token is None else f"{form.format(token, tag)}\n" for token, tag in rows), "utf-8")
    return path


def read(path: Path, *, scheme: str = "auto", repair: bool = False, tally: Tally | None = None, **columns: str):
    source = open_tagged(str(path), TagConfig(**columns))
    split = source.corpus.split("all" if source.corpus.whole else "train")
    found = scheme_of(source, scheme)
    return found, list(sentences(source, split, found, repair=repair, tally=tally or Tally()))


EXPECTED = [
    Sentence(["Ada", "Lee", "left"], [Span("PER", 0, 2)]), Sentence(["Rome"], [Span("LOC", 0, 1)]), Sentence(["Go"], [])
]  # fmt: skip


def test_conll_columns(tmp_path: Path):
    assert read(write_conll(tmp_path / "a.conll")) == ("iob2", EXPECTED)


@pytest.mark.parametrize(
    ("form", "columns"),
    [("{1} x {0}", {"tokens": "3", "tags": "1"}), ("{0} {1} x", {"tags": "2"}), ("x {0} {1}", {"tokens": "2"})],
)
def test_columns_in_any_order(tmp_path: Path, form: str, columns: dict[str, str]):
    path = write_conll(tmp_path / "a.conll", form=form)
    assert read(path, **columns) == ("iob2", EXPECTED)


def test_json_lines_and_parquet_with_tokens_and_tags(tmp_path: Path):
    rows = [{"tokens": ["Ada", "Lee", "left"], "ner_tags": ["B-PER", "E-PER", "O"]}]
    rows += [{"tokens": ["Rome"], "ner_tags": ["S-LOC"]}, {"tokens": ["Go"], "ner_tags": ["O"]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read(tmp_path / "a.jsonl") == ("iobes", EXPECTED)
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet") == ("iobes", EXPECTED)


@pytest.mark.parametrize(
    "mark",
    [
        lambda a, b, kind: {"start": a, "end": b, "type": kind},
        lambda a, b, kind: {"start": a, "end": b, "label": kind, "text": "?"},
        lambda a, b, kind: [a, b, kind],
    ],
)
def test_json_lines_with_spans_in_characters(tmp_path: Path, mark):
    rows = [
        {"text": "Ada Lee left", "entities": [mark(0, 7, "PER")]}, {"text": "Rome", "entities": [mark(0, 4, "LOC")]},
        {"text": "Go", "entities": None}, {"text": " ", "entities": []},
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tally = Tally()
    assert read(tmp_path / "a.jsonl", tally=tally)[1] == EXPECTED
    assert (tally.rows, tally.empty) == (4, 1)


@pytest.mark.parametrize(
    ("marks", "entities", "said"),
    [
        ([[0, 2, "PER"]], [Span("PER", 0, 1)], 'PER "Ad" does not stand at the edges of tokens'),
        ([[0, 7, "PER"], [4, 7, "X"]], [Span("PER", 0, 2)], 'X "Lee" overlaps another'),
        ([[3, 4, "PER"]], [], 'PER " " does not stand at the edges of tokens'),
    ],
)
def test_spans_that_cut_tokens_are_refused_or_repaired(tmp_path: Path, marks, entities, said):
    lines = [{"text": "Ada Lee left", "entities": marks}, {"text": "Go", "entities": []}, {"text": "b", "entities": []}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    with pytest.raises(
        CorpusError, match=rf"mark whole tokens once .*not so in 1 place\(s\), the first: {said} \(.*a\.jsonl, line 1\)"
    ):
        read(tmp_path / "a.jsonl")
    tally = Tally()
    assert read(tmp_path / "a.jsonl", repair=True, tally=tally)[1][0].entities == entities
    assert tally.illegal == 1


def test_illegal_tags_are_refused_with_their_number_and_place_or_repaired_and_counted(tmp_path: Path):
    rows = [*ROWS[:3], (None, None), ("in", "O"), ("Rome", "I-LOC"), ("x", "I-PER"), (None, None), ("Go", "B-X")]
    path = write_conll(tmp_path / "a.conll", rows)
    where = r"I-LOC behind O, token 2, \"Rome\" \(.*line 5\)"
    said = rf"`tags` must be legal IOB2 \(--scheme .*\), but is not so in 2 place\(s\), .*: {where}"
    with pytest.raises(CorpusError, match=said):
        read(path, scheme="iob2")
    tally = Tally()
    found = read(path, scheme="iob2", repair=True, tally=tally)[1]
    assert found[1].entities == [Span("LOC", 1, 2), Span("PER", 2, 3)]
    assert tally.illegal == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, r"be one for each token, but there are 1 for 2 \(.*line 1\)"),
        ({"tokens": ["a"], "tags": ["PER"]}, 'be O, or B-, I-, E- or S- with a type, but one is "PER"'),
        ({"tokens": ["a"], "tags": [None]}, 'with a type, but one is "None"'),
        ({"tokens": ["a"], "tags": "O"}, "be one for each token, but they are no list"),
        ({"tokens": ["a", ""], "tags": ["O", "O"]}, "a list of texts that are not empty, but these are not"),
        ({"text": "ab", "entities": 5}, r"`entities` must be a list of spans, but is 5 \(.*line 1\)"),
        ({"text": "ab", "entities": True}, "a list of spans, but is True"),
        ({"text": "ab", "entities": False}, "a list of spans, but is False"),
        ({"text": "ab", "entities": {"start": 0}}, "a list of spans, but is {"),
        ({"text": "ab", "entities": [{"start": 0, "end": 3, "type": "X"}]}, "spans with start, end and type, inside"),
        (
            {"text": "ab", "entities": [{"start": 0, "end": 1}]},
            "spans with start, end and type, inside the text, but one",
        ),
    ],
)
def test_rows_that_are_no_tagged_sentences_are_named_by_file_and_line(tmp_path: Path, row, said: str):
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    names = {"tokens": "text", "tags": "entities"} if "text" in row else {}
    source = open_tagged(str(tmp_path / "a.jsonl"), TagConfig(**names))
    split = source.corpus.split("all")
    with pytest.raises(CorpusError, match=said):
        list(sentences(source, split, "iob2", repair=True, tally=Tally()))


def test_columns_that_are_not_there(tmp_path: Path):
    for asked in ({"tokens": "0"}, {"tags": "0"}, {"tokens": "1", "tags": "0"}):
        with pytest.raises(CorpusError, match=r"`column` must be a number, 1 for the first, but is 0"):
            read(write_conll(tmp_path / "a.conll"), **asked)
    (tmp_path / "a.tsv").write_text("left\tright\na\tb\n")
    with pytest.raises(CorpusError, match=r"`tokens` must be a column of a.tsv \(left, right\), but is absent"):
        open_tagged(str(tmp_path / "a.tsv"), TagConfig())
    with pytest.raises(CorpusError, match=r"`corpus` must be one of tagged sentences, .* multi30k \(for translation\)"):
        open_tagged("multi30k", TagConfig())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a B c\nd O\n", r"must have 3 columns in every line, but has 2 \(.*a\.conll, line 2\)"),
        ("a O\n\nb\n", r"must have 2 columns in every line, but has 1 \(.*a\.conll, line 3\)"),
    ],
)
def test_ragged_columns_are_named_by_file_and_line(tmp_path: Path, text: str, said: str):
    (tmp_path / "a.conll").write_text(text)
    with pytest.raises(CorpusError, match=said):
        list(Split("train", open_table(tmp_path / "a.conll")))
    (tmp_path / "b.conll").write_text("a O\n")
    with pytest.raises(CorpusError, match="must have 4 columns in every line, but has 2"):
        list(Split("train", open_table(tmp_path / "b.conll", ["1", "4"])))


def test_the_scheme_is_seen_from_the_whole_of_a_file_that_was_cut(tmp_path: Path):
    """Of six sentences train has four; those of test and validation have all that tell IOB1."""
    path = write_conll(tmp_path / "a.conll", [pair for n in range(6) for pair in ((f"Ada{n}", "O"), (None, None))])
    source = open_tagged(str(path), TagConfig())
    (held,) = source.corpus.split("test")
    text = path.read_text().replace(f"{held['tokens'][0]} NN O", f"{held['tokens'][0]} NN I-PER")
    path.write_text(text)
    source = open_tagged(str(path), TagConfig())
    assert scheme_of(source, "auto") == "iob1"
    assert scheme_of(source, "iobes") == "iobes"


def test_long_sentences_are_cut_behind_stops_where_there_are_any():
    tokens = [*"aaaa.bbb", *"cccccccccccc"]
    assert pieces(tokens, 6) == [0, 5, 11, 17, 20]
    assert pieces(tokens, 20) == [0, 20]
    assert pieces([], 6) == [0, 0]
    parts = list(split_up(Sentence(tokens, [Span("X", 3, 6), Span("Y", 10, 12)]), 6))
    assert [len(part.tokens) for part in parts] == [5, 6, 6, 3]
    assert [part.entities for part in parts] == [
        [Span("X", 3, 5)], [Span("X", 0, 1), Span("Y", 5, 6)], [Span("Y", 0, 1)], []
    ]  # fmt: skip
