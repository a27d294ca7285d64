"""The page that links all reports."""

from __future__ import annotations

import json
import re
from pathlib import Path


def test_it_links_every_report_with_its_first_scores(run, tagged: Path, tmp_path: Path):
    import shutil

    shutil.copytree(tagged / "model", tmp_path / "a & b" / "ner")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text("[")
    (tmp_path / "broken" / "report.html").write_text("")
    (tmp_path / "alone").mkdir()
    shutil.copy(tagged / "model" / "report.json", tmp_path / "alone")
    outcome = run("reports", tmp_path)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"All reports are linked on {tmp_path / 'index.html'}.\n"
    page = (tmp_path / "index.html").read_text("utf-8")
    assert re.findall('href="(.*?)"', page) == ["a%20%26%20b/ner/report.html"]
    score = json.loads((tagged / "model" / "report.json").read_text())["scores"]["f1"]["value"]
    assert f"<small>F1</small> {score:.2f}" in page
    assert not re.search("https?://|<script", page)


def test_a_folder_without_reports(run, tmp_path: Path):
    assert run("reports", tmp_path).code == 0
    assert "No report yet." in (tmp_path / "index.html").read_text("utf-8")
    assert run("reports", tmp_path / "none").code == 2
