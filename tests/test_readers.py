import gzip
import random
import sys
import time

import pytest

from nlpseq.errors import CorpusError
from nlpseq.readers import memory_table, open_table, parallel_table, parquet_table


def write(path, data):
    data = data if isinstance(data, bytes) else data.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows(table):
    """The usable rows; raises the first fault."""
    found = []
    for record in table.scan():
        if isinstance(record.row, CorpusError):
            raise record.row
        found.append(record.row)
    return found


def faults(table):
    return [str(record.row) for record in table.scan() if isinstance(record.row, CorpusError)]


SAME = [
    ("a.tsv", 'en\tfr\nShe said "hi\tElle\nb\tc\n'),
    ("a.TSV.gz", 'en\tfr\nShe said "hi\tElle\nb\tc\n'),
    ("a.csv", 'en,fr\n"She said ""hi",Elle\nb,c\n'),
    ("a.jsonl", '{"en": "She said \\"hi", "fr": "Elle"}\n\n{"fr": "c", "en": "b", "more": 1}\n'),
    ("bom.tsv", '\ufeffen\tfr\r\nShe said "hi\tElle\r\nb\tc'),
]


@pytest.mark.parametrize(("name", "text"), SAME)
def test_formats_hold_the_same_rows(tmp_path, name, text):
    table = open_table(write(tmp_path / name, text))
    expected = [{"en": 'She said "hi', "fr": "Elle"}, {"en": "b", "fr": "c"}]
    assert table.columns == ("en", "fr")
    assert rows(table) == expected
    assert rows(table) == expected  # a table can be read again
    assert rows(open_table(tmp_path / name, ("fr",))) == [{"fr": "Elle"}, {"fr": "c"}]


def test_csv_fields_hold_line_ends_and_commas(tmp_path):
    table = open_table(write(tmp_path / "a.csv", 'text,label\n"one,\ntwo",pos\n\nthree,neg\n'))
    assert [(number, row["text"]) for number, row in table.scan()] == [(3, "one,\ntwo"), (5, "three")]


def test_text_lines_end_only_at_line_feeds(tmp_path):
    table = open_table(write(tmp_path / "a.txt", "one\u2028still one\x0c\x1c\r\n\ntwo"))
    assert [row["text"] for row in rows(table)] == ["one\u2028still one\x0c\x1c", "", "two"]


def test_digits_are_columns_of_a_file_without_header(tmp_path):
    path = write(tmp_path / "a.tsv", "x\ta\tb\ny\tc\td\n")
    assert rows(open_table(path, ("3", "2"))) == [{"3": "b", "2": "a"}, {"3": "d", "2": "c"}]
    with pytest.raises(CorpusError, match=r"`4` must be one of the columns 1, 2, 3, but is none of them"):
        open_table(path, ("4",))


def test_conll_takes_first_and_last_column(tmp_path):
    text = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER"
    table = open_table(write(tmp_path / "a.conll", text))
    assert list(table.scan()) == [
        (3, {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}),
        (6, {"tokens": ["Peter"], "tags": ["B-PER"]}),
    ]


def test_parallel_files(tmp_path):
    files = {"en": write(tmp_path / "m.en", "a\nb\n"), "fr": write(tmp_path / "m.fr.gz", "c\nd")}
    assert rows(parallel_table(files)) == [{"en": "a", "fr": "c"}, {"en": "b", "fr": "d"}]


def test_parallel_files_of_unequal_length(tmp_path):
    files = {"en": write(tmp_path / "m.en", "a\nb\nc\n"), "fr": write(tmp_path / "m.fr", "d\n")}
    table = parallel_table(files)
    assert [row for _, row in table.scan() if isinstance(row, dict)] == [{"en": "a", "fr": "d"}]
    with pytest.raises(CorpusError, match=r"same number of lines in each file, but m\.en has 3 and m\.fr has 1"):
        rows(table)


def test_parquet_streams_and_names_labels(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = {"tags": [[0, 2], [1]], "label": [1, -1], "text": ["a", "b"]}
    pq.write_table(pa.table(data), tmp_path / "a.parquet")
    labels = {"label": ("neg", "pos"), "tags": ("O", "B", "I"), "absent": ("x",)}
    table = parquet_table(tmp_path / "a.parquet", None, labels)
    assert table.rows == 2
    assert rows(table) == [
        {"tags": ["O", "I"], "label": "pos", "text": "a"},
        {"tags": ["B"], "label": None, "text": "b"},
    ]
    assert rows(parquet_table(tmp_path / "a.parquet", ("text",), labels)) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("group", [500, 20_000])
def test_parquet_of_any_length_takes_the_same_memory(tmp_path, group):
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = {"text": [random.Random(row).randbytes(250).hex() for row in range(20_000)]}  # 10 MB
    pq.write_table(pa.table(data), tmp_path / "a.parquet", row_group_size=group)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in parquet_table(tmp_path / "a.parquet", None).scan()]
    assert len(held) == 20_000
    assert max(held) < 5e6


def test_damaged_parquet(tmp_path):
    with pytest.raises(CorpusError, match=r"`a\.parquet` must be a whole Parquet file, but cannot be read as one"):
        open_table(write(tmp_path / "a.parquet", b"PAR1 and nothing"))


HEADS = [
    (b"", r"`a\.tsv` must hold text, but is empty"),
    ("en\tfr\n".encode("utf-16"), r"`a\.tsv` must be UTF-8 text, but is UTF-16 \(.*a\.tsv, line 1\)"),
    ("en\tfr\n".encode("utf-16-le"), r"must be UTF-8 text, but is binary or UTF-16 .* \(.*a\.tsv, line 1\)"),
    (b"en\tfr\na\tb\nx\0y\tz\n", r"must be UTF-8 text, but is binary .* \(.*a\.tsv, line 3\)"),
    (b"en\ten\n", r"`en` must be the name of one column, but is that of 2 \(.*a\.tsv, line 1\)"),
]


@pytest.mark.parametrize(("data", "message"), HEADS)
def test_files_that_are_no_text(tmp_path, data, message):
    with pytest.raises(CorpusError, match=message):
        open_table(write(tmp_path / "a.tsv", data))


LINES = [
    ("a.tsv", b"en\tfr\na\tb\nc\nd\te\n", r"must have 2 columns in every line, but has 1 \(.*a\.tsv, line 3\)"),
    ("a.tsv", b"en\tfr\na\tb\tc\n", r"must have 2 columns in every line, but has 3 \(.*a\.tsv, line 2\)"),
    ("a.tsv", b"en\tfr\ncaf\xe9\tb\n", r"must be UTF-8 text, but is not \(byte 0xe9, perhaps Latin-1\) \(.*line 2\)"),
    ("a.csv", b"en,fr\na\n", r"must have 2 columns in every line, but has 1 \(.*a\.csv, line 2\)"),
    ("a.csv", b'en,fr\n"a,b\n', r"must be CSV with standard quoting, but is not: .* \(.*a\.csv, line 2\)"),
    ("a.csv", b"en,fr\n\xff,b\nc,d\n", r"must be UTF-8 text, but is not .*line 2\)"),
    ("a.jsonl", b'{"en": 1}\n[2]\n', r"must hold one JSON object per line, but does not \(.*a\.jsonl, line 2\)"),
    ("a.jsonl", b'{"en": 1}\n{"fr": 2}\n', r"`en` must be in every object.*but is missing \(.*line 2\)"),
    ("a.conll", b"a B c\nd O\n", r"must have 3 columns in every line, but has 2 \(.*a\.conll, line 2\)"),
    ("a.conll", b"word\n", r"must have 2 columns in every line, but has 1 \(.*a\.conll, line 1\)"),
]


@pytest.mark.parametrize(("name", "data", "message"), LINES)
def test_a_faulty_line_is_one_sentence_with_its_place(tmp_path, name, data, message):
    with pytest.raises(CorpusError, match=message):
        rows(open_table(write(tmp_path / name, data)))


def test_lines_behind_a_faulty_one_are_still_read(tmp_path):
    table = open_table(write(tmp_path / "a.tsv", b"en\tfr\n\xff\tb\nc\nd\te\n"))
    assert len(faults(table)) == 2
    assert [row for _, row in table.scan() if isinstance(row, dict)] == [{"en": "d", "fr": "e"}]


def test_a_nul_byte_far_into_the_file(tmp_path):
    table = open_table(write(tmp_path / "a.txt", b"word\n" * 20_000 + b"a\0b\n"))
    with pytest.raises(CorpusError, match=r"must be UTF-8 text, but holds a NUL byte \(.*a\.txt, line 20001\)"):
        rows(table)


def test_a_truncated_gz(tmp_path):
    path = write(tmp_path / "a.txt.gz", "".join(f"line {n * n * n % 9973}\n" for n in range(50_000)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CorpusError, match=r"`a\.txt\.gz` must be a whole file, but ends early.*after line \d{5}\)"):
        rows(open_table(path))


def test_a_gz_that_is_none(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(b"plain text")
    with pytest.raises(CorpusError, match=r"`a\.txt\.gz` must be a readable file, but cannot be read .*[Nn]ot a gzip"):
        open_table(tmp_path / "a.txt.gz")


def test_a_missing_column_lists_the_present_ones(tmp_path):
    path = write(tmp_path / "a.tsv", "english\tfrench\na\tb\n")
    message = r"`frensh` must be one of the columns english, french, but is none .*\); did you mean `french`\?"
    with pytest.raises(CorpusError, match=message):
        open_table(path, ("frensh",))


def test_a_first_line_that_is_no_header_is_shown_in_part(tmp_path):
    path = write(tmp_path / "a.tsv", "\t".join(["a sentence " * 20, *"bcdefghij"]) + "\n")
    with pytest.raises(CorpusError, match="must be one of the columns") as raised:
        open_table(path, ("source", "target"))
    shown = f"columns {('a sentence ' * 4)[:39]}…, b, c, d, e, f, g, h, … (10 in all), but is none of them ("
    assert shown in str(raised.value)
    assert str(raised.value).endswith("line 1); no header line? Then columns go by number: 1, 2, …")
    with pytest.raises(CorpusError) as raised:
        open_table(path, ("99",))
    assert "no header line" not in str(raised.value)


def test_carriage_returns_alone_end_no_line(tmp_path):
    message = r"`a\.tsv` must end its lines with line feeds, but has carriage returns alone \(.*a\.tsv\)\.$"
    with pytest.raises(CorpusError, match=message):
        open_table(write(tmp_path / "a.tsv", "en\tfr\r" + "a\tb\r" * 200), ("en", "fr"))
    assert rows(open_table(write(tmp_path / "b.txt", "a\rb\r\n"))) == [{"text": "a\rb"}]


def test_a_foreign_ending(tmp_path):
    message = r"`a\.docx` must end in one of \.parquet \.tsv .*, but ends in \"\.docx\""
    with pytest.raises(CorpusError, match=message):
        open_table(write(tmp_path / "a.docx", "x"))


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.txt"])
def test_a_line_of_ten_megabytes_is_read_at_once(tmp_path, name):
    long = "word " * 2_000_000
    text = {"a.jsonl": f'{{"text": "{long}"}}\n', "a.txt": long + "\n"}.get(name, f"text\n{long}\n")
    path = write(tmp_path / name, text)
    start = time.perf_counter()
    assert len(rows(open_table(path))[0]["text"]) == 10_000_000
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(("name", "text"), [*SAME, ("a.txt", "a\n"), ("a.conll", "a O\n")])
def test_text_needs_neither_pyarrow_nor_datasets(tmp_path, monkeypatch, name, text):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert rows(open_table(write(tmp_path / name, text)))


def test_parquet_without_pyarrow_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(CorpusError, match=r"must be read with pyarrow, but that is not installed"):
        open_table(write(tmp_path / "a.parquet", b"PAR1"))


def test_a_table_in_memory():
    table = memory_table("made", [{"en": "a", "fr": "b"}], ("fr",))
    assert (rows(table), table.rows, table.unit) == ([{"fr": "b"}], 1, "row")
    with pytest.raises(CorpusError, match="`de` must be one of the columns en, fr"):
        memory_table("made", [{"en": "a", "fr": "b"}], ("de",))
