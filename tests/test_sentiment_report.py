import json

import pytest
from test_classifier import made, texts

from nlpseq.errors import CorpusError
from nlpseq.labelled import Example
from nlpseq.report import Samples, Table, write
from nlpseq.sentiment_report import scores_line, sentiment_report


@pytest.fixture(scope="module")
def classifier():
    return made(classes=("bad", "good"))


@pytest.fixture(scope="module")
def examples(classifier):
    """Forty texts, of which the classifier has the first thirty right; then an empty one and one without label."""
    found = classifier.predict_fully(some := texts(40, 70))
    other = {"bad": "good", "good": "bad"}
    rows = [
        Example(text, one.label if n < 30 else other[one.label], f"line {n}")
        for n, (text, one) in enumerate(zip(some, found, strict=True))
    ]
    return [*rows, Example(" ", "good", "line 40"), Example("ba", None, "line 41")]


@pytest.fixture(scope="module")
def report(classifier, examples):
    return sentiment_report(classifier, examples, "test", name="mine", train=examples[:20], own=True)


def test_scores_are_those_of_their_definition(classifier, examples, report):
    accuracy = report.scores["accuracy"]
    assert (accuracy.value, accuracy.n) == (75.0, 40)
    assert 55 < accuracy.low < 75 < accuracy.high < 90
    assert report.scores["ece"].signature == "bins:15|width:equal|temperature:1.5"
    assert report.scores["ece_uncalibrated"].signature == "bins:15|width:equal|temperature:1"
    assert report.scores["accuracy_bag_of_words"].n == 40
    assert scores_line(report).startswith("accuracy 75, ece 0.")
    counts = {"texts": 40, "empty": 1, "unlabelled": 1}
    assert counts.items() <= report.counts.items()
    assert report.counts["read_in_part"] == sum(len(e.text.split()) > 50 for e in examples[:40])


def test_the_error_before_calibration_is_that_of_temperature_one(classifier, examples, report):
    classifier.facts["temperature"] = 1.0
    try:
        plain = sentiment_report(classifier, examples, "test", name="mine")
    finally:
        classifier.facts["temperature"] = 1.5
    expected = report.scores["ece_uncalibrated"].value
    assert plain.scores["ece"].value == pytest.approx(expected, abs=1e-6)
    assert plain.scores["ece_uncalibrated"].value == pytest.approx(expected, abs=1e-6)
    assert "accuracy_bag_of_words" not in plain.scores


def test_confusions_count_every_text_once(report):
    table = next(block for block in report.blocks if isinstance(block, Table) and block.title == "Confusion matrix")
    assert sum(sum(row[1:]) for row in table.rows) == 40
    assert sum(row[1 + n] for n, row in enumerate(table.rows)) == 30
    each = next(block for block in report.blocks if isinstance(block, Table) and block.title == "Each label")
    assert sum(row[1] for row in each.rows) == sum(row[2] for row in each.rows) == 40


def test_mistakes_come_surest_first_with_the_words_that_carried_them_coloured(report):
    worst, right = (block for block in report.blocks if isinstance(block, Samples))
    shares = [float(given.split(", ")[1].split()[0]) for _, given, _ in worst.rows]
    assert len(shares) == 10
    assert shares == sorted(shares, reverse=True)
    assert all(wanted != given.split(",")[0] for wanted, given, _ in worst.rows)
    assert all(wanted == given.split(",")[0] for wanted, given, _ in right.rows)
    for _, _, spans in (*worst.rows, *right.rows):
        assert {span.tone for span in spans} <= {"", "good", "bad"}
        assert any(span.tone for span in spans)


def test_green_words_spoke_for_the_label_and_red_ones_against_it(classifier, examples, report):
    _, right = (block for block in report.blocks if isinstance(block, Samples))
    (told,) = classifier.predict_fully([examples[0].text], explain=True)
    weights = dict(told.words)
    tones = {weights[span.text] > 0: span.tone for span in right.rows[0][2] if span.tone and span.text in weights}
    assert tones == {True: "good", False: "bad"}


def test_what_is_not_of_the_trainings_corpus_has_no_curves_and_no_coverage(classifier, examples):
    other = sentiment_report(classifier, examples, "test", name="mine")
    assert "Coverage" not in {block.title for block in other.blocks if isinstance(block, Table)}


def test_an_error_on_the_texts_of_the_temperature_says_so(classifier, examples):
    for own, split, said in ((True, "validation", True), (True, "test", False), (False, "validation", False)):
        found = sentiment_report(classifier, examples, split, name="mine", own=own).scores
        assert ("fitted:on these texts" in found["ece"].signature) is said
        assert "fitted" not in found["ece_uncalibrated"].signature


def test_more_labels_than_can_be_shown_are_said():
    many = made(classes=[f"c{n}" for n in range(21)])
    rows = [Example(text, f"c{n}", f"line {n}") for n, text in enumerate(texts(21))]
    found = sentiment_report(many, rows, "test", name="mine")
    assert next(b for b in found.blocks if isinstance(b, Table)).note == "The first 20 of 21 labels."


def test_the_baseline_is_left_out_where_it_would_take_long(classifier, examples, monkeypatch):
    monkeypatch.setattr("nlpseq.sentiment_report._BASELINE_WORK", 39)
    found = sentiment_report(classifier, examples, "test", name="mine", train=examples[:20])
    assert "accuracy_bag_of_words" not in found.scores


def test_it_can_be_written(tmp_path, report):
    write(tmp_path, report)
    page = (tmp_path / "report.html").read_text("utf-8")
    for shown in ("Confusion matrix", "Calibration", "Worst mistakes", "Accuracy, %, bag of words", "Coverage"):
        assert shown in page
    assert json.loads((tmp_path / "report.json").read_bytes())["scores"]["accuracy"]["value"] == 75.0


def test_labels_that_are_not_known_and_splits_without_any(classifier, examples):
    said = r'`label` must be one of the classes of the model \(bad, good\), but is "fine" \(a.csv, line 9\)\.'
    with pytest.raises(CorpusError, match=said):
        sentiment_report(classifier, [*examples, Example("ba", "fine", "a.csv, line 9")], "test", name="mine")
    with pytest.raises(CorpusError, match="`test` must have at least one text with a label, but is without one"):
        sentiment_report(classifier, examples[40:], "test", name="mine")
