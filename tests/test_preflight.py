import pytest

from nlpseq.corpora import load_corpus
from nlpseq.errors import CorpusError
from nlpseq.preflight import preflight, render


@pytest.fixture
def folder(tmp_path):
    """Write splits of tab-separated pairs and return the loaded corpus."""

    def write(**splits):
        for name, lines in splits.items():
            data = lines if isinstance(lines, bytes) else "\n".join(["en\tfr", *lines, ""]).encode()
            (tmp_path / f"{name}.tsv").write_bytes(data)
        return load_corpus(tmp_path)

    return write


def messages(result, severity):
    return [found.message for found in result.faults if found.severity == severity]


def test_a_clean_corpus_has_statistics_and_no_faults(folder):
    result = preflight(folder(train=["a b\tc", "d\tdd ee ff"], test=["x\tx"]), ("en", "fr"))
    assert result.faults == ()
    result.raise_errors()
    train = result.splits["train"]
    assert (train.rows, train.identical, result.splits["test"].identical) == (2, 0.0, 1.0)
    english, french = train.columns["en"], train.columns["fr"]
    assert (english.words, english.mean, english.p95, english.longest, english.characters) == (3, 1.5, 2, 2, 4)
    assert (french.words, french.longest, french.characters, french.unknown) == (4, 3, 9, None)
    assert result.samples == ({"en": "a b", "fr": "c"}, {"en": "d", "fr": "dd ee ff"})
    assert list(result.splits) == ["train", "test"]


def test_the_95_percent_length_is_that_of_95_in_100(folder):
    result = preflight(folder(train=[f"{'w ' * n}\tx" for n in range(1, 101)], test=["q\tq"]), ("en",))
    found = result.splits["train"].columns["en"]
    assert (found.p95, found.longest, found.mean) == (95, 100, 50.5)


def test_all_faults_are_listed_at_once(folder):
    lines = b"en\tfr\ncaf\xe9\tx\na\tb\tc\n\tempty\nshort\t" + b"w " * 40 + b"\n" + b"long " * 60 + b"\tlong\nsame\tq\n"
    result = preflight(
        folder(train=lines, validation=["same\tz", "new\tz"], test=[]),
        ("en", "fr"),
        max_words=50,
        max_characters=250,
        max_ratio=9,
    )
    errors, warnings = messages(result, "error"), messages(result, "warning")
    assert len(errors) == 3
    assert "must be UTF-8 text, but is not (byte 0xe9, perhaps Latin-1)" in errors[1]
    assert "train.tsv, line 2)" in errors[1]
    assert "must have 2 columns in every line, but has 3" in errors[2]
    assert errors[0].startswith("`test` must have at least one row, but has none (")
    assert sorted(warnings) == [
        "train: 1 rows are very long, with more than 250 characters in en (line 6).",
        "train: 1 rows are very long, with more than 50 words in en (line 6).",
        "train: 1 rows have nothing in en and will be skipped (line 4).",
        "train: 2 rows differ much in length, one side more than 9 times the other (line 5, 6).",
        "validation: 1 text(s) of en stand in train too.",
    ]
    assert result.splits["train"].rows == 4
    with pytest.raises(CorpusError) as raised:
        result.raise_errors()
    assert str(raised.value).splitlines() == errors


def test_by_default_long_rows_and_uneven_pairs_are_warnings(folder):
    lines = ["w " * 1000 + "\t" + "x " * 500, "w " * 1001 + "\t" + "x " * 500, "a\t" + "x " * 27, "a\t" + "x " * 28]
    result = preflight(folder(train=[*lines, "w\t" + "x" * 10_001], test=["q\tq"]), ("en", "fr"))
    assert result.errors == ()
    assert sorted(messages(result, "warning")) == [
        "train: 1 rows are very long, with more than 1,000 words in en (line 3).",
        "train: 1 rows are very long, with more than 10,000 characters in fr (line 6).",
        "train: 1 rows differ much in length, one side more than 9 times the other (line 5).",
    ]


def test_a_text_and_its_label_may_differ_in_length(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path))
    (tmp_path / "imdb").mkdir()
    pq.write_table(pa.Table.from_pylist([{"text": "w " * 500, "label": 1}]), tmp_path / "imdb" / "train.parquet")
    assert not any("differ much" in text for text in messages(preflight(load_corpus("imdb")), "warning"))


def test_the_first_three_places_are_named(folder):
    result = preflight(folder(train=["\tx"] * 5 + ["a\tb"], test=["q\tq"]), ("en", "fr"))
    assert messages(result, "warning") == ["train: 5 rows have nothing in en and will be skipped (line 2, 3, 4, …)."]


def test_many_unreadable_lines_do_not_flood(folder):
    result = preflight(folder(train=b"en\tfr\nok\tok\n" + b"\xff\tx\n" * 100, test=["q\tq"]), ("en", "fr"))
    errors = messages(result, "error")
    assert len(errors) == 4
    assert errors[-1] == "train: 97 more lines cannot be read."


def test_wrong_columns_are_faults(folder):
    result = preflight(folder(train=["a\tb"], test=["q\tq"]), ("en", "fra"))
    starts = [message.partition(", but")[0] for message in messages(result, "error")]
    assert starts == [f"`fra` must be one of the columns en, fr of {name}" for name in ("test", "train")]
    assert messages(result, "error")[0].endswith("did you mean `fr`?")
    assert list(result.splits["train"].columns) == ["en"]


def test_a_single_file_reports_each_fault_once(tmp_path):
    text = b"en\tfr\n" + b"".join(b"a%d\tb\n" % n for n in range(60)) + b"\xff\tb\n" * 10
    (tmp_path / "a.tsv").write_bytes(text)
    result = preflight(load_corpus(tmp_path / "a.tsv"), ("en", "fr"))
    assert len(messages(result, "error")) == 4
    assert messages(result, "error")[-1] == "train: 7 more lines cannot be read."
    assert sum(split.rows for split in result.splits.values()) == 60


def test_a_file_too_small_to_cut_is_one_fault(tmp_path):
    (tmp_path / "a.tsv").write_text("en\tfr\na\tb\n")
    result = preflight(load_corpus(tmp_path / "a.tsv"), ("en", "fr"))
    assert len(result.errors) == 1
    assert "must have at least 3 different rows to be cut" in result.errors[0].message


def test_unreadable_lines_are_said_in_place_of_what_they_cause(tmp_path):
    good = '{"en": "a", "fr": "b"}\n'
    (tmp_path / "bad.jsonl").write_text(good + "[1]\n{\nthree\n")
    errors = messages(preflight(load_corpus(tmp_path / "bad.jsonl"), ("en", "fr")), "error")
    assert len(errors) == 3
    assert all("must hold one JSON object per line" in error for error in errors)
    (tmp_path / "bad.jsonl").write_text(good + "x\n" * 9)
    errors = messages(preflight(load_corpus(tmp_path / "bad.jsonl"), ("en", "fr")), "error")
    assert errors[3:] == [f"{tmp_path / 'bad.jsonl'}: 6 more lines cannot be read."]


def test_a_split_of_unreadable_lines_alone_has_no_further_fault(folder):
    result = preflight(folder(train=["a\tb"], test=b"en\tfr\n\xe9\tx\n"), ("en", "fr"))
    assert len(result.errors) == 1
    assert "perhaps Latin-1" in result.errors[0].message


def test_unequal_line_counts_are_a_fault(tmp_path):
    (tmp_path / "m.en").write_text("a\n" * 30)
    (tmp_path / "m.fr").write_text("".join(f"{n}\n" for n in range(28)))
    (tmp_path / "m.en").write_text("".join(f"{n}\n" for n in range(30)))
    result = preflight(load_corpus(tmp_path / "m", columns=("en", "fr")), ("en", "fr"))
    assert len(result.errors) == 1
    assert "but m.en has 30 and m.fr has 28" in result.errors[0].message


def test_tokens_and_tags_must_have_the_same_length(tmp_path):
    lines = '{"tokens": ["a", "b"], "tags": ["O"]}\n{"tokens": ["a"], "tags": ["O"]}\n'
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(lines)
    result = preflight(load_corpus(tmp_path), ("tokens", "tags"))
    assert messages(result, "error")[0] == "test: 1 rows have tokens and tags of different lengths (line 1)."
    assert result.splits["train"].columns["tokens"].words == 3


def test_no_row_is_counted_twice(tmp_path):
    (tmp_path / "a.tsv").write_text("en\tfr\n" + "".join(f"a{n}\tb\n" for n in range(60)))
    result = preflight(load_corpus(tmp_path / "a.tsv"), ("en", "fr"))
    assert sum(split.rows for split in result.splits.values()) == 60
    assert result.faults == ()


def test_coverage_is_counted(folder):
    corpus = folder(train=["a b UNK\tUNK"], test=["q\tq"])
    result = preflight(corpus, ("en", "fr"), coverage=lambda text: (len(text.split()), text.count("UNK")))
    assert result.splits["train"].columns["en"].unknown == pytest.approx(1 / 3)
    assert result.splits["train"].columns["fr"].unknown == 1.0
    assert "unknown 33.33%" in render(result)


def test_other_sizes_than_the_card_are_a_warning(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path))
    (tmp_path / "multi30k").mkdir()
    pq.write_table(pa.Table.from_pylist([{"en": "a", "fr": "b"}]), tmp_path / "multi30k" / "train.parquet")
    result = preflight(load_corpus("multi30k"))
    assert result.columns == ("en", "fr")
    assert [found.severity for found in result.faults] == ["warning"]
    assert result.faults[0].message.startswith("`train` must have 29,000 rows by its card, but has 1 (")
    shown = render(result)
    assert "multi30k: Multi30k: descriptions" in shown
    assert "licence   derived from Flickr30k" in shown


def test_render_shows_it_all(folder):
    shown = render(preflight(folder(train=["a b\t" + "w" * 200, "\tc"], test=["q\tq"]), ("en", "fr")))
    assert "(your own)" in shown
    assert "sample 1\n  en: a b\n  fr: " + "w" * 99 + "…\n" in shown
    assert "same text on both sides: 100.00%" in shown
    assert "0 error(s), 1 warning(s)\n  warning: train: 1 rows have nothing in en" in shown
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.real
def test_what_is_known_of_the_real_corpora():
    assert "test: 123 text(s) of text stand in train too." in messages(preflight(load_corpus("imdb")), "warning")
    assert not any("test: " in text for text in messages(preflight(load_corpus("multi30k")), "warning"))


def test_what_is_read_is_told(folder, monkeypatch):
    monkeypatch.setattr("nlpseq.preflight.TOLD_EVERY", 20)
    told = []
    preflight(folder(train=[f"a {n}\tb" for n in range(50)], validation=["c\td"]), told=told.append)
    assert told == [20, 40]
