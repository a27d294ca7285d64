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
    (tmp_path / ".DS_Store").write_text("x")
    corpus = load_corpus(tmp_path)
    assert [row["en"] for row in corpus.split("all")] == [f"en {n}" for n in range(12)]
    assert sum(map(len, corpus.splits.values())) == 12
    assert corpus.split("all").where(5) == f"{tmp_path}, row 6"
    assert load_corpus(tmp_path, columns=("fr",)).split("all").columns == ("fr",)


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
