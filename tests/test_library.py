"""The standard library as a corpus."""

import pytest

from nlpseq import CorpusError, load_corpus
from nlpseq.corpora import corpus_path, corpus_version
from nlpseq.library import library_splits, library_version
from nlpseq.preflight import preflight, render


@pytest.fixture
def root(tmp_path):
    for number in range(80):
        (tmp_path / "package").mkdir(exist_ok=True)
        (tmp_path / "package" / f"module{number}.py").write_text(f"x = {number}\n")
    for name in ("test", "site-packages", "encodings"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "left_out.py").write_text("pass\n")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    return tmp_path


def test_files_are_in_one_split_each_whatever_the_order_on_the_disk(root):
    splits = library_splits(root)
    files = [row["file"] for rows in splits.values() for row in rows]
    assert sorted(files) == sorted(f"package/module{number}.py" for number in range(80))
    assert [row["file"] for row in splits["test"]] == [f"package/module{n}.py" for n in (76, 67, 31, 77)]
    assert len(splits["train"]) == 73
    assert [row["file"] for row in splits["train"]] != sorted(row["file"] for row in splits["train"])
    assert library_splits(root) == splits
    (root / "package" / "another.py").write_text("y\n")
    more = library_splits(root)
    assert all({r["file"] for r in splits[name]} <= {r["file"] for r in more[name]} for name in splits)


def test_a_library_without_source_is_refused(tmp_path):
    (tmp_path / "only.py").write_text("pass\n")
    with pytest.raises(CorpusError, match="`python-library` must have source files for train, validation and test"):
        library_splits(tmp_path)


def test_it_is_a_corpus_on_every_machine(root, monkeypatch):
    monkeypatch.setattr("nlpseq.library.sysconfig.get_path", lambda _: str(root))
    monkeypatch.delenv("NLPSEQ_CORPORA", raising=False)
    corpus = load_corpus("python-library")
    assert (corpus.task, sorted(corpus.splits)) == ("lm", ["test", "train", "validation"])
    assert corpus.split("train").columns == ("file", "text")
    assert sum(len(split) for split in corpus.splits.values()) == 80
    assert "the running interpreter" in render(preflight(corpus))
    assert corpus_path("python-library") is None
    assert corpus_version("python-library") == library_version()
    assert corpus_version("phrasebook") == corpus_version("mine.tsv") == ""
