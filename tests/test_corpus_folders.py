import gzip
import shutil

import pytest

from nlpseq.corpora import load_corpus
from nlpseq.errors import CorpusError


def pairs(path, count, start=0):
    lines = [f"en {n}\tfr {n}" for n in range(start, start + count)]
    path.write_text("en\tfr\n" + "\n".join(lines) + "\n")
    return path


def test_a_folder_of_splits(tmp_path):
    for name, count in (("train.tsv", 5), ("dev.tsv", 2), ("test.tsv", 3), ("test_2017.tsv", 1)):
        pairs(tmp_path / name, count)
    (tmp_path / "README.md").write_text("not a split")
    corpus = load_corpus(tmp_path)
    assert list(corpus.splits) == ["train", "validation", "test", "test_2017"]
    assert [len(split) for split in corpus.splits.values()] == [5, 2, 3, 1]


def test_a_folder_of_parallel_files(tmp_path):
    for split, count in (("train", 4), ("valid", 2)):
        for language in ("en", "fr"):
            (tmp_path / f"{split}.{language}").write_text("".join(f"{language} {n}\n" for n in range(count)))
    corpus = load_corpus(tmp_path, columns=("en", "fr"))
    assert list(corpus.split("validation")) == [{"en": "en 0", "fr": "fr 0"}, {"en": "en 1", "fr": "fr 1"}]
    assert len(corpus.split("train")) == 4


def test_a_folder_with_train_alone_is_cut(tmp_path):
    pairs(tmp_path / "train.tsv", 40)
    assert [len(split) for split in load_corpus(tmp_path).splits.values()] == [36, 2, 2]


def test_a_folder_needs_no_train_to_be_read(tmp_path):
    pairs(tmp_path / "test.tsv", 4)
    corpus = load_corpus(tmp_path, columns=("en", "fr"))
    assert {name: len(split) for name, split in corpus.splits.items()} == {"test": 4}
    with pytest.raises(CorpusError, match=r"`train` must be a split of .* \(test\), but is not there"):
        corpus.split("train")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("dev.tsv", "valid.tsv"), r"`validation` must be one file .*, but is dev\.tsv, valid\.tsv"),
        (("dev.en", "dev.fr", "val.de"), r"`validation` must be one file .*, but is dev\.en, dev\.fr, val\.de"),
        (("test.tsv", "test.tsv.gz"), r"`test` must be one file .*, but is test\.tsv, test\.tsv\.gz"),
        (("test.en", "test.tsv"), r"`test` must be one file .*, but is test\.en, test\.tsv"),
        (("test.en",), r"`test` must be one file .*, but is test\.en"),
    ],
)
def test_files_that_stand_for_the_same_split(tmp_path, names, found):
    for name in ("train.tsv", *names):
        pairs(tmp_path / name, 4)
    with pytest.raises(CorpusError, match=found):
        load_corpus(tmp_path)


def test_a_folder_without_splits(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(CorpusError, match=r"must hold train\.\*, .* or files of one format alone, but holds notes\.md"):
        load_corpus(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CorpusError, match=r"but holds notes\.md, notes\.txt"):
        load_corpus(tmp_path)


def test_a_folder_of_one_format_is_one_corpus(tmp_path):
    for start, name in enumerate(("a", "b-1", "b-2")):
        pairs(tmp_path / f"{name}.tsv", 4, start=4 * start)
    for name in (".DS_Store", "_SUCCESS", "README.md", "LICENSE", "readme.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "b-3.tsv").touch()
    corpus = load_corpus(tmp_path)
    assert [row["en"] for row in corpus.split("all")] == [f"en {n}" for n in range(12)]
    assert sum(map(len, corpus.splits.values())) == 12
    assert corpus.split("all").where(5) == f"{tmp_path}, row 6"
    assert load_corpus(tmp_path, columns=("fr",)).split("all").columns == ("fr",)
    assert load_corpus(tmp_path).split("all").table.rows is None
    (tmp_path / "a.tsv").write_bytes(gzip.compress((tmp_path / "a.tsv").read_bytes()))
    (tmp_path / "a.tsv").rename(tmp_path / "a.tsv.gz")
    assert [row["en"] for row in load_corpus(tmp_path).split("all")] == [f"en {n}" for n in range(12)]


def test_a_folder_of_one_format_is_cut_by_the_first_column_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("nlpseq.cuts.TOLD_EVERY", 10)
    told = []
    for name in "ab":
        (tmp_path / f"{name}.tsv").write_text("en\tfr\n" + "".join(f"en {n}\t{name} {n}\n" for n in range(40)))
    corpus = load_corpus(tmp_path, columns=("en", "fr"), told=told.append)
    parts = {name: {row["en"] for row in split} for name, split in corpus.splits.items()}
    assert len(set.union(*parts.values())) == sum(map(len, parts.values())) == 40  # no text is in two of them
    assert told


def test_the_columns_of_a_folder_may_be_called_by_digits(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.tsv").write_text(f"1\t2\nx {name}\ty\n")
    assert [row["1"] for row in load_corpus(tmp_path).split("all")] == ["x a", "x b"]
    assert [row["1"] for row in load_corpus(tmp_path, columns=("1",)).split("all")] == ["1", "x a", "1", "x b"]


def test_the_rows_of_parquet_shards_are_counted_without_reading_them(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in "ab":
        pq.write_table(pa.table({"text": [name] * 3}), tmp_path / f"{name}.parquet")
    assert load_corpus(tmp_path).split("all").table.rows == 6


def test_splits_may_come_in_shards(tmp_path):
    for start, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001")):
        pairs(tmp_path / f"{name}.tsv", 4, start=4 * start)
    corpus = load_corpus(tmp_path)
    assert {name: [row["en"] for row in split] for name, split in corpus.splits.items()} == {
        "train": [f"en {n}" for n in range(8)],
        "validation": [f"en {n}" for n in range(8, 12)],
    }


def test_a_name_that_only_begins_as_a_split_is_none(tmp_path):
    for start, name in enumerate(("genesis", "exodus", "testament")):
        pairs(tmp_path / f"{name}.tsv", 4, start=4 * start)
    assert len(load_corpus(tmp_path).split("all")) == 12


@pytest.mark.parametrize("names", [("a.tsv", "a.tsv.gz"), ("a.tsv", "b.csv"), ("a.tsv", "x.tsv/")])
def test_what_is_no_folder_of_one_format(tmp_path, names):
    pairs(tmp_path / names[0], 4)
    if names[1].endswith("/"):
        (tmp_path / names[1]).mkdir()
    else:
        shutil.copy(tmp_path / names[0], tmp_path / names[1])
    pairs(tmp_path / "A.tsv", 4)
    with pytest.raises(CorpusError, match="or files of one format alone, but holds .*" + names[1].strip("/")):
        load_corpus(tmp_path)


def test_texts_beside_one_that_is_called_as_a_split_are_not_left_out_in_silence(tmp_path):
    for name in ("train", "part-1", "part-2"):
        pairs(tmp_path / f"{name}.tsv", 4)
    message = r"and not both, but holds train\.tsv and part-1\.tsv \(2 others would not be read\)"
    with pytest.raises(CorpusError, match=message):
        load_corpus(tmp_path)
    pairs(tmp_path / "test.tsv", 4)
    assert list(load_corpus(tmp_path).splits) == ["train", "test"]


def test_a_folder_of_empty_files_is_refused(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").touch()
    with pytest.raises(CorpusError, match=r"`a\.txt` must hold text, but is empty"):
        load_corpus(tmp_path)


def test_the_folder_one_is_in_has_a_name(tmp_path, monkeypatch):
    pairs(tmp_path / "a.tsv", 4)
    monkeypatch.chdir(tmp_path)
    assert load_corpus(".").name == tmp_path.name


def test_a_folder_of_one_format_names_the_file_that_is_at_fault(tmp_path):
    pairs(tmp_path / "a.tsv", 2)
    pairs(tmp_path / "b.tsv", 2).write_text("en\tfr\nx\n")
    with pytest.raises(CorpusError, match=r"`b\.tsv` must have 2 columns .*, but has 1 \(.*b\.tsv, line 2\)"):
        list(load_corpus(tmp_path).split("all"))
    (tmp_path / "b.tsv").write_text("en\tde\nx\ty\n")
    with pytest.raises(CorpusError, match=r"`fr` must be one of the columns en, de"):
        load_corpus(tmp_path)


def test_a_folder_with_two_formats(tmp_path):
    pairs(tmp_path / "train.tsv", 5)
    (tmp_path / "train.csv").write_text("en,fr\na,b\n")
    with pytest.raises(CorpusError, match=r"`train` must be one file .*, but is train\.csv, train\.tsv"):
        load_corpus(tmp_path)
