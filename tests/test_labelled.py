import json

import numpy as np
import pytest

from nlpseq.cuts import untold
from nlpseq.errors import CorpusError
from nlpseq.labelled import (
    Example,
    LabelledSplit,
    classes_of,
    cut,
    encode_labelled,
    labelled_splits,
    open_labelled,
    readable,
    scorable,
)
from nlpseq.settings import LabelConfig, ReadingConfig, TokenizerConfig
from nlpseq.tokenizer import Tokenizer

WORD = TokenizerConfig(units="word", lowercase=True, numbers=False)
READING = ReadingConfig(max_tokens=6)


def lines(number, label=lambda n: ("bad", "good")[n % 2]):
    return "".join(f"text number {n},{label(n)}\n" for n in range(number))


def write(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def test_columns_are_those_asked_for_else_the_corpus_own_else_text_and_label(tmp_path):
    assert open_labelled("reviews", LabelConfig())[1] == ("text", "label")
    path = write(tmp_path, "a.csv", "label,body,text\n" + "".join(f"{n},b{n},t{n}\n" for n in range(9)))
    assert open_labelled(path, LabelConfig())[1] == ("text", "label")
    corpus, columns = open_labelled(path, LabelConfig("body", None))
    assert columns == ("body", "label")
    assert set(corpus.splits) == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (LabelConfig(None, None), "`label` must be a column of a.csv (text, verdict), but is absent: give"),
        (LabelConfig(None, "verdct"), 'must be a column of a.csv (text, verdict), but is "verdct"; did you'),
        (LabelConfig("text", "text"), '`label` must be another column than the text, but is "text".'),
        (LabelConfig("txt", "verdict"), "`txt` must be one of the columns text, verdict, but is none of them"),
    ],
)  # fmt: skip
def test_columns_that_are_not_there_are_said_with_those_that_are(tmp_path, columns, said):
    path = write(tmp_path, "a.csv", "text,verdict\n" + lines(9))
    with pytest.raises(CorpusError) as caught:
        open_labelled(path, columns)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_corpus_without_validation_holds_out_a_tenth_of_its_distinct_texts(tmp_path):
    rows = lines(200) + "".join(f"text number {n},good\n" for n in range(50))  # fifty texts stand twice
    write(tmp_path / "c", "train.csv", "text,label\n" + rows)
    write(tmp_path / "c", "test.csv", "text,label\n" + lines(5))
    corpus, columns = open_labelled(str(tmp_path / "c"), LabelConfig())
    splits = labelled_splits(corpus, columns)
    texts = {name: [one.text for one in split] for name, split in splits.items()}
    assert len(set(texts["validation"])) == 20
    assert set(texts["validation"]).isdisjoint(texts["train"])
    assert len(texts["validation"]) + len(texts["train"]) == 250
    assert len(texts["test"]) == 5
    shuffled = "".join(sorted(rows.splitlines(keepends=True), reverse=True))
    write(tmp_path / "c", "train.csv", "text,label\n" + shuffled)
    again = labelled_splits(*open_labelled(str(tmp_path / "c"), LabelConfig()))
    assert {one.text for one in again["validation"]} == set(texts["validation"])


def test_a_validation_of_its_own_is_taken_as_it_is(tmp_path):
    for name in ("train", "validation"):
        write(tmp_path / "c", f"{name}.csv", "text,label\n" + lines(30))
    splits = labelled_splits(*open_labelled(str(tmp_path / "c"), LabelConfig()))
    assert {name: sum(1 for _ in split) for name, split in splits.items()} == {"train": 30, "validation": 30}


def test_one_text_alone_cannot_be_cut(tmp_path):
    write(tmp_path / "c", "train.csv", "text,label\nsame,good\nsame,bad\n")
    write(tmp_path / "c", "test.csv", "text,label\n" + lines(5))
    splits = labelled_splits(*open_labelled(str(tmp_path / "c"), LabelConfig()))
    with pytest.raises(CorpusError, match=r"`train` must have at least 2 different texts, .* but is of 1"):
        list(splits["train"])


def scored(folder, **parts):
    for name, text in parts.items():
        write(folder, f"{name}.csv", text)
    splits = labelled_splits(*open_labelled(str(folder), LabelConfig()))
    return scorable(splits, classes_of(splits["train"], "c"))


@pytest.mark.parametrize("test", ["id,text\n1,one\n", "text,label\none,\ntwo,\n", "text,label\none,-1\ntwo,-1\n"])
def test_a_test_without_a_label_is_no_test(tmp_path, test):
    found, left = scored(tmp_path / "c", train="text,label\n" + lines(90), test=test)
    assert (set(found), left) == ({"train", "validation"}, {})


def test_a_label_of_test_that_train_does_not_have_is_said_at_once(tmp_path):
    with pytest.raises(CorpusError, match=r"one of the classes of train \(bad, good\), but is \"-1\" \(.*line 4\)"):
        scored(tmp_path / "c", train="text,label\n" + lines(90), test="text,label\na,bad\nb,good\nc,-1\n")
    minus = "text,label\n" + lines(90, lambda n: "1" if n % 2 else "-1")
    assert scored(tmp_path / "c", train=minus, test="text,label\na,-1\n")[0]["test"] is not None


def test_rare_classes_are_left_out_of_splits_that_were_cut_off_here(tmp_path):
    path = write(
        tmp_path, "a.csv", "text,label\n" + lines(200, lambda n: f"c{n}" if n < 60 else "many" if n % 2 else "more")
    )
    splits = labelled_splits(*open_labelled(path, LabelConfig()))
    classes = classes_of(splits["train"], "a.csv")
    found, left = scorable(splits, classes)
    for name in ("validation", "test"):
        kept, all_ = [one.label for one in found[name]], [one.label for one in splits[name]]
        assert set(kept) <= set(classes)
        assert len(kept) + left[name] == len(all_) == 10
        assert left[name] > 0


def test_labels_are_one_line_and_gaps_do_not_make_numbers_of_them(tmp_path):
    path = write(tmp_path, "a.csv", 'text,label\none,"very\tbad\nindeed"\n' + lines(5))
    assert (
        next(iter(LabelledSplit(open_labelled(path, LabelConfig())[0].split("all"), ("text", "label")))).label
        == "very bad indeed"
    )
    pq = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    values = pa.array([0.0, 1.0, float("nan"), 2.5, None], pa.float64())
    pq.write_table(pa.table({"text": [f"t{n}" for n in range(5)], "label": values}), tmp_path / "a.parquet")
    split = open_labelled(str(tmp_path / "a.parquet"), LabelConfig())[0].split("all")
    assert [one.label for one in LabelledSplit(split, ("text", "label"))] == ["0", "1", None, "2.5", None]


def examples(*labels):
    return [Example(f"t{n}", label, f"a.csv, line {n + 2}") for n, label in enumerate(labels)]


def test_classes_keep_their_names_and_have_an_order():
    assert list(classes_of(examples("pos", "neg", "pos"), "c")) == ["neg", "pos"]
    assert classes_of(examples("10", "9", "-1", "9"), "c") == {"-1": 1, "9": 2, "10": 1}
    assert list(classes_of(examples("pos", "neg"), "c", order=("pos", "neg", "none"))) == ["pos", "neg"]
    assert list(classes_of(examples("b", "2", "10"), "c")) == ["10", "2", "b"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["good", None, "good"], '`label` must have at least two values in train, but is "good" alone (c).'),
        ([None], "`label` must have at least two values in train, but is without one (c)."),
        ([str(n) for n in range(1001)], 'must have at most 1,000 different values in train, but is more, such as'),
    ],
    ids=["one", "none", "many"],
)  # fmt: skip
def test_too_few_and_too_many_classes(labels, said):
    with pytest.raises(CorpusError) as caught:
        classes_of(examples(*labels), "c")
    assert said in str(caught.value)


def test_breaks_of_html_are_breaks_and_numbers_stay():
    assert readable("Fine.<br /><br/>4/10 <BR>x", WORD) == "fine.\n\n4/10 \nx"
    assert readable("see 4/10 at https://a.org/b", TokenizerConfig()) == "see [NUM] at [URL]"


@pytest.mark.parametrize(
    ("keep", "kept"), [("end", [5, 6, 7, 8, 9]), ("start", [0, 1, 2, 3, 4]), ("both", [0, 1, 7, 8, 9])]
)
def test_long_texts_are_cut(keep, kept):
    config = ReadingConfig(max_tokens=5, keep=keep)
    assert list(cut(range(10), config)) == kept
    assert list(cut(range(5), config)) == [0, 1, 2, 3, 4]
    assert list(cut(range(2), ReadingConfig(max_tokens=1, keep=keep))) == [kept[-1] - 8 if keep != "start" else 0]


def test_ids_and_labels_are_kept_on_disk_and_made_anew_where_damaged(tmp_path):
    tokenizer = Tokenizer.train(["a b c d e f g 4"], WORD)
    rows = [
        Example("A b", "no", "line 2"),
        Example("a b c d e f g", "yes", "line 3"),
        Example(" ", "yes", "line 4"),
        Example("a", None, "line 5"),
        Example("x 4", "yes", "line 6"),
    ]

    def encode(given=rows):
        return encode_labelled(
            iter(given), ["no", "yes"], tokenizer=tokenizer, path=tmp_path / "d", reading=READING, told=untold
        )

    data = encode()
    assert data.labels.tolist() == [0, 1, 1]
    assert np.diff(data.tokens.offsets).tolist() == [2, 6, 2]
    expected = {"rows": 5, "kept": 3, "empty": 1, "unlabelled": 1, "cut": 1, "tokens": 10, "unknown": 1}
    assert data.counts.describe() == expected | {"unknown_percent": 10.0}
    assert encode(given=[]).labels.tolist() == [0, 1, 1]  # what is whole is not made again
    content = json.loads((tmp_path / "d.json").read_bytes())
    (tmp_path / "d.json").write_text(json.dumps(content | {"kept": 2}))
    assert len(encode(rows[:1]).labels) == 1
    (tmp_path / "d.text.ids").write_bytes(b"none")
    assert len(encode(rows[:2]).labels) == 2


def test_a_label_that_train_does_not_know_is_said_with_its_place(tmp_path):
    tokenizer = Tokenizer.train(["a"], WORD)
    rows = [Example("a", "no", "b.csv, line 2"), Example("a", "maybe", "b.csv, line 3")]
    said = r'`label` must be one of the classes of train \(no, yes\), but is "maybe" \(b.csv, line 3\)\.'
    with pytest.raises(CorpusError, match=said):
        encode_labelled(rows, ["no", "yes"], tokenizer=tokenizer, path=tmp_path / "d", reading=READING, told=untold)


def test_examples_have_their_place_and_null_is_no_label(tmp_path):
    path = write(tmp_path, "a.csv", "text,label\n" + lines(3) + "x, \n")
    split = LabelledSplit(open_labelled(path, LabelConfig())[0].split("all"), ("text", "label"))
    assert [one.label for one in split] == ["bad", "good", "bad", None]
    assert [one.where.rpartition(", ")[2] for one in split] == ["line 2", "line 3", "line 4", "line 5"]
