"""Reports: report.json as promised, a page that is whole, safe and alone, and nothing lost when the disk is full."""

import errno
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import markupsafe
import numpy as np
import pytest

from nlpseq import report as reports
from nlpseq.errors import UsageError, WorkError
from nlpseq.metrics import Score
from nlpseq.report import Chart, Histogram, Map, Paragraph, Report, Samples, Series, Span, Table

NAN, INF = float("nan"), float("inf")
HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(1)> & {{ 7*7 }}"


def demo(**changes):
    steps = range(0, 5000, 100)
    output, reference = reports.differences("le chat noir [UNK] .", "un chat noir dort .")
    fields = {
        "stage": "translate",
        "corpus": "phrasebook-en-fr",
        "split": "test",
        "scores": {
            "bleu": Score(57.25, 56.0, 58.5, 1000, "nrefs:1|bs:1000|seed:12345|case:mixed"),
            "bleu_nearest_pair": Score(41.0, None, None, 1000, "nrefs:1"),
            "ece": Score(0.0314, 0.02, 0.04, 1000, "bins:15"),
            "perplexity": Score(61.2, 60.0, 62.0, 9000, "nats"),
            "broken": Score(NAN, NAN, INF, 0, HOSTILE),
        },
        "seconds": 93.4,
        "settings": {"hidden": 512, "learning_rate": 7e-4, "tied": True, "attention": None, HOSTILE: HOSTILE},
        "counts": {"unk_in_output": 3, "numbers_restored": "211 of 214"},
        "machine": {"cpu": "test", "cores": 2},
        "versions": {"python": "3.11.7"},
        "blocks": [
            Paragraph("Read me first. " + HOSTILE, "What this is " + HOSTILE),
            Chart("Loss", [Series("training", steps, [8 / (1 + s) for s in steps])], "step", "nats per token"),
            Chart("Odd", [Series(HOSTILE, [0, 1, 2, 3], [NAN, INF, 2, 1e300])], HOSTILE, HOSTILE, log=True),
            Chart("Nothing", [Series("a", [], [])]),
            Histogram("Lengths " + HOSTILE, {"source": [4, 5, 6], HOSTILE: [5, NAN]}, "words", note=HOSTILE),
            Table("Coverage", ["split", "tokens", "share"], [["train", 12345, 0.5], [HOSTILE, None, 12]], HOSTILE),
            Table("Empty", [], []),
            Samples("Translations", ["Source", HOSTILE], [[HOSTILE, output], ["x", reference, "one too many"]]),
            Map("Words " + HOSTILE, [("king", 0.0, 1.0), (HOSTILE, 3.0, 1.5), ("lost", NAN, 0.0)], HOSTILE),
            Map("Nowhere", []),
            Samples("Entities", ["Text"], [[[Span("Paris", "a2", "LOC"), Span(" sleeps")]]]),
        ],
    }
    return Report(**(fields | changes))


class Page(HTMLParser):
    """Follows every tag, and fails where one is closed that is not open."""

    VOID = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.texts, self.attributes = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page():
    return Page(reports.render(demo()))


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    assert {"svg", "polyline", "rect", "circle", "table", "mark", "figure", "title", "desc"} <= set(page.tags)
    assert len(page.ids) == len(set(page.ids)) > 0
    named = [part for _, name, value in page.attributes if name == "aria-labelledby" for part in value.split()]
    assert set(named) <= set(page.ids)
    assert len(named) == 2 * page.tags.count("svg") > 0


def test_the_page_loads_nothing():
    text = reports.render(demo()).replace(str(markupsafe.escape(HOSTILE)), "")
    assert "<polyline" in text
    assert not re.search(r"https?:|//\w|\bsrc\s*=|\bhref\s*=|@import|url\(|<script|<link|<img|<iframe|<object", text)
    assert "default-src 'none'" in text


def test_whatever_stands_in_the_data_comes_out_as_text(page):
    assert not {"script", "img"} & set(page.tags)
    assert not [a for a in page.attributes if a[1].startswith("on") or a[1] in ("src", "href")]
    assert any(HOSTILE in text for text in page.texts)
    assert ("td", "data-column", HOSTILE) in page.attributes
    assert str(markupsafe.escape(HOSTILE)) in reports.render(demo())


def test_equal_reports_give_equal_bytes(tmp_path):
    first, second = (reports.write(tmp_path / name, demo()) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".json").read_bytes() == second.with_suffix(".json").read_bytes()
    assert "2025-01-01" in reports.render(demo(written="2025-01-01"))


def test_report_json_holds_what_the_contract_names(tmp_path):
    path = reports.write(tmp_path / "new" / "folder", demo())
    assert path == tmp_path / "new" / "folder" / "report.html"
    plain = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert list(plain)[:7] == ["stage", "corpus", "split", "scores", "seconds", "machine", "versions"]
    assert plain["scores"]["bleu"] == {
        "value": 57.25,
        "low": 56.0,
        "high": 58.5,
        "n": 1000,
        "signature": "nrefs:1|bs:1000|seed:12345|case:mixed",
    }
    assert plain["counts"]["unk_in_output"] == 3
    assert plain["settings"]["hidden"] == 512
    assert plain["scores"]["broken"]["value"] is None


def test_report_json_takes_what_stages_have_at_hand(tmp_path):
    settings = {"a": np.float32(0.5), "b": np.int64(3), "c": Path("x"), "d": (1, NAN), "e": {"f": INF}, "g": True}
    path = reports.write(tmp_path, demo(settings=settings))
    plain = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert plain["settings"] == {"a": 0.5, "b": 3, "c": "x", "d": [1, None], "e": {"f": None}, "g": True}


def test_half_a_surrogate_pair_does_not_cost_the_report(tmp_path):
    path = reports.write(tmp_path, demo(corpus="a\udc80b é"))
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["corpus"] == "a\udc80b é"
    assert "é" in path.read_text(encoding="utf-8")


def test_a_full_disk_is_one_sentence_and_keeps_the_earlier_report(tmp_path, monkeypatch):
    reports.write(tmp_path, demo())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls = []

    def full(_):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkError, match=r"report.html` must be written, but is \"refused: No space left on device\""):
        reports.write(tmp_path, demo(corpus="another"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_in_the_folders_place_is_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(WorkError, match=r"`.*taken/report.html` must be written, but is \"refused: "):
        reports.write(tmp_path / "taken", demo())
    assert (tmp_path / "taken").read_text() == "mine"


def test_tiles_show_value_interval_and_number(page):
    text = " ".join(" ".join(page.texts).split())
    assert "BLEU 57.25 95 %: 56.00 to 58.50 n = 1,000" in text
    assert "BLEU, nearest pair 41.00 n = 1,000" in text
    assert "Calibration error 0.031 95 %: 0.020 to 0.040" in text
    assert "Broken – n = 0" in text
    assert "took 1 min 33 s" in text


def test_the_intervals_bar_stands_where_the_interval_is(page):
    styles = [value for tag, name, value in page.attributes if (tag, name) == ("i", "style")]
    assert styles == ["left:56.00%;width:2.50%", "left:2.00%;width:2.00%"]


def test_charts_without_values_say_so(page):
    assert page.texts.count("No values to draw.") == 2  # the chart's and the map's
    assert "3 values not positive or not finite, not drawn." in " ".join(" ".join(page.texts).split())


def test_every_number_in_the_drawings_is_finite(page):
    shapes = ("line", "rect", "polyline", "circle", "text")
    values = [value for tag, name, value in page.attributes if tag in shapes and name not in ("class", "text-anchor")]
    assert len(values) > 100
    assert all(re.fullmatch(r"-?[\d.]+([, ]-?[\d.]+)*", value) for value in values)


def test_a_map_names_its_points(page):
    assert page.texts.count("king") == 2  # beside the dot, and as its title
    assert "lost" not in page.texts


def test_columns_of_numbers_are_aligned_with_equal_decimals(page):
    cells = [text for text in page.texts[page.texts.index("Coverage") :] if text in ("0.50", "12.00", "12,345", "–")]
    assert cells[:4] == ["12,345", "0.50", "–", "12.00"]
    assert page.attributes.count(("td", "class", "number")) == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.500 s"), (59, "59 s"), (93.4, "1 min 33 s"), (119.7, "2 min 0 s"), (3725, "1 h 2 min"), (NAN, "–")],
)
def test_durations_read_well(seconds, text):
    assert f"took {text}" in reports.render(demo(seconds=seconds))


def test_differences_tint_words_that_only_one_side_has():
    output, reference = reports.differences("un chat gris dort.", "un petit chat dort.")
    assert output == [Span("un chat"), Span(" "), Span("gris", "bad"), Span(" "), Span("dort.")]
    assert reference == [Span("un"), Span(" "), Span("petit", "good"), Span(" "), Span("chat dort.")]


def test_differences_keep_the_text_and_mark_placeholders():
    output, _ = reports.differences("le [UNK] dort , ici", "le chat dort , ici")
    assert "".join(span.text for span in output) == "le [UNK] dort , ici"
    assert Span("[UNK]", "warn") in output


@pytest.mark.parametrize("text", ["", "a " * 10_000])
def test_differences_of_nothing_and_of_very_long_texts(text):
    output, reference = reports.differences(text, "le chat")
    assert "".join(span.text for span in output) == text
    assert "".join(span.text for span in reference) == "le chat"


def test_machine_and_versions_are_filled_in():
    report = Report("lm", "almanac", "test", {}, 1)
    assert report.machine["cores"] >= 1
    assert report.machine["cpu"]
    assert "gpu" not in report.machine
    assert reports.machine("NVIDIA H200")["gpu"] == "NVIDIA H200"
    assert report.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert report.versions["sacrebleu"] == __import__("sacrebleu").__version__


def test_versions_are_read_without_importing_the_packages():
    code = "import sys, nlpseq.report as r; r.versions(); r.machine()"
    code += "; print({'torch', 'numpy', 'sacrebleu', 'jinja2', 'gensim'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("files", [{"report.json": '{"mine": 1}'}, {"report.json": "["}, {"report.html": "mine"}])
def test_a_report_of_somebody_else_s_is_not_lost(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match="must be a folder without files that a report would take the place of"):
        reports.write(tmp_path, Report("lm", "almanac", "test", {}, 1))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files
