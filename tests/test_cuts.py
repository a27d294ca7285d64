"""How one file is cut into splits: rows that are kept or read again, and what is told meanwhile."""

from __future__ import annotations

import pytest

from nlpseq import cuts
from nlpseq.corpora import Corpus, Split, load_corpus
from nlpseq.cuts import HashCut
from nlpseq.readers import memory_table

ROWS = [{"text": f"t{n % 3000}", "label": str(n)} for n in range(5000)]


def cut_of(rows) -> Corpus:
    table = memory_table("a", rows)
    cut = HashCut(table, ("text",))
    return Corpus("a", {name: Split(name, table, cut) for name in cuts.PARTS})


def test_rows_that_were_kept_are_those_that_would_be_read_again(monkeypatch):
    kept = {name: list(split.scan()) for name, split in cut_of(ROWS).splits.items()}
    monkeypatch.setattr(cuts, "_ROOM", 1000)
    corpus = cut_of(ROWS)
    assert corpus.split("test").cut.held("test") is None
    assert {name: list(split.scan()) for name, split in corpus.splits.items()} == kept
    assert sorted(int(r.row["label"]) for part in kept.values() for r in part) == list(range(5000))


def test_test_and_validation_are_not_read_again():
    table, passes = memory_table("a", ROWS), []

    def scan():
        passes.append(1)
        return table.scan()

    counted = type(table)("a", table.columns, scan)
    cut = HashCut(counted, ("text",))
    splits = [Split(name, counted, cut) for name in ("test", "validation")]
    assert [len(list(split)) == len(split) > 0 for split in splits * 2] == [True] * 4
    assert len(passes) == 1


def test_what_a_reader_does_to_a_kept_row_changes_nothing():
    split = cut_of(ROWS).split("test")
    first = [dict(row) for row in split]
    for row in split:
        row.clear()
    assert list(split) == first


def test_what_is_read_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cuts, "TOLD_EVERY", 100)
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(f"{r['text']}\t{r['label']}\n" for r in ROWS[:350]))
    told = []
    corpus = load_corpus(tmp_path / "a.tsv", columns=("text", "label"), told=told.append)
    assert told == []
    assert len(corpus.split("test")) > 0
    assert told == [100, 200, 300]


@pytest.mark.parametrize("columns", [("text",), ("text", "label")])
def test_a_hash_is_the_same_in_every_run(columns):
    found = cuts.text_hash({"text": "a \udcff", "label": "é"}, columns)
    assert found == {1: 2196616980641289824, 2: 1181333640154911754}[len(columns)]


@pytest.mark.parametrize("room", [cuts._ROOM, 0])
def test_blank_lines_change_nothing_of_the_cut(monkeypatch, room):
    monkeypatch.setattr(cuts, "_ROOM", room)
    rows = [{"text": f"t{n}", "label": str(n)} for n in range(300)]
    prose = [row for one in rows for row in (one, {"text": " ", "label": "blank"})]
    held = {name: [row["text"] for row in cut_of(rows).split(name)] for name in cuts.PARTS}
    found = {name: [row["text"] for row in cut_of(prose).split(name)] for name in cuts.PARTS}
    assert [len(held[name]) for name in cuts.PARTS] == [270, 15, 15]
    assert (found["validation"], found["test"]) == (held["validation"], held["test"])
    assert [text for text in found["train"] if text.strip()] == held["train"]
    assert len(cut_of(prose).split("train")) == len(found["train"]) == 570
