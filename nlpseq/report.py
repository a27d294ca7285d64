"""The report of a stage: report.json for programs, report.html for people, from one set of figures and blocks.

A stage fills a `Report` with scores, counts and blocks (paragraphs, tables, charts, histograms, samples) and calls
`write`. The page is one file that loads nothing: styles and pictures are inside it, there is no script, and every
text is escaped. The same report gives the same bytes.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import platform
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.errors import WorkError, sentence
from nlpseq.metrics import Score

__all__ = [
    "Chart",
    "Histogram",
    "Paragraph",
    "Report",
    "Samples",
    "Series",
    "Span",
    "Table",
    "differences",
    "machine",
    "render",
    "versions",
    "write",
]

# name -> (what the page calls it, the top of its scale; None where the scale has no top)
LABELS: Mapping[str, tuple[str, float | None]] = {
    "bleu": ("BLEU", 100),
    "bleu_lc_tok": ("BLEU, lowercased, tokenised", 100),
    "chrf": ("chrF", 100),
    "exact": ("Exact matches, %", 100),
    "accuracy": ("Accuracy, %", 100),
    "ece": ("Calibration error", 1),
    "f1": ("F1", 100),
    "f1_strict": ("F1, strict", 100),
    "ws353": ("WordSim-353", 1),
    "simlex999": ("SimLex-999", 1),
    "analogies_30k": ("Analogies, 30,000 words, %", 100),
    "analogies_300k": ("Analogies, 300,000 words, %", 100),
    "perplexity": ("Perplexity", None),
}
PACKAGES = ("nlpseq", "torch", "numpy", "sentencepiece", "sacrebleu", "sacremoses", "gensim", "datasets", "safetensors")
# The drawing's own units; the page scales it. Small enough that its type stays readable on a phone.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440.0, 240.0, 48.0, 428.0, 12.0, 200.0
MOST_POINTS = 400
HUGE = 1e30  # beyond it, differences and squares overflow; nothing that we plot gets there unless it diverged
LONG = 400  # words; comparing two texts takes time that grows with the square of their length


class Paragraph(NamedTuple):
    """Running text under an optional title."""

    text: str
    title: str = ""


class Table(NamedTuple):
    """Rows of cells; a column that holds numbers only is aligned to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


class Series(NamedTuple):
    """A named line: x and y of equal length; values that are not finite leave a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


class Chart(NamedTuple):
    """One or several lines over the same x; with `log` the y axis is logarithmic and leaves out what is not positive."""

    title: str
    series: Sequence[Series]
    x_label: str = ""
    y_label: str = ""
    log: bool = False
    note: str = ""


class Histogram(NamedTuple):
    """How often values fall into bins of equal, round width; several groups of values share the bins."""

    title: str
    groups: Mapping[str, Sequence[float]]
    x_label: str = ""
    note: str = ""


class Span(NamedTuple):
    """A piece of a sample's text: `tone` tints it (good, bad, warn, or a1 to a6), `label` stands small behind it."""

    text: str
    tone: str = ""
    label: str = ""


class Samples(NamedTuple):
    """Examples side by side, one column each for source, reference, output or whatever the stage shows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Sequence[Span]]]
    note: str = ""


Block = Paragraph | Table | Chart | Histogram | Samples


def machine(gpu: str | None = None) -> dict[str, Any]:
    """What this process runs on: processor, usable cores, memory in GiB, system, and the GPU's name where given."""
    facts: dict[str, Any] = {"cpu": _cpu_name(), "cores": _cores()}
    try:
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        pass  # not every system says; then the line is absent
    facts["system"] = f"{platform.system()} {platform.machine()}".strip()
    return facts | ({"gpu": gpu} if gpu else {})


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result, read from their metadata without importing."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Report:
    """All that a stage has to say about one evaluation.

    seconds: how long the work took; counts: plain numbers that are no scores ([UNK], restored numbers);
    machine, versions: filled in by themselves; written: date for the page, absent by default so that pages compare.
    """

    stage: str
    corpus: str
    split: str
    scores: Mapping[str, Score]
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    blocks: Sequence[Block] = ()
    machine: Mapping[str, Any] = field(default_factory=machine)
    versions: Mapping[str, str] = field(default_factory=versions)
    written: str = ""

    def to_plain(self) -> dict[str, Any]:
        """The report as report.json holds it, without the blocks; numbers that are not finite become None."""
        plain = {
            "stage": self.stage,
            "corpus": self.corpus,
            "split": self.split,
            "scores": {name: score.to_plain() for name, score in self.scores.items()},
            "seconds": self.seconds,
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "counts": self.counts,
        }
        return {key: _plain(value) for key, value in plain.items()}


def differences(output: str, reference: str) -> tuple[list[Span], list[Span]]:
    """Output and reference as spans: words only in the output are toned bad, words only in the reference good.

    Placeholders ([UNK], [NUM]) that stand in the output are toned warn. Texts of more than 400 words stay plain.
    """
    left, right = _words(output), _words(reference)
    if max(len(left), len(right)) > LONG:
        return [Span(output)], [Span(reference)]
    matcher = difflib.SequenceMatcher(None, [w.strip() for w in left], [w.strip() for w in right], autojunk=False)
    tones = ["bad"] * len(left), ["good"] * len(right)
    for a, b, size in matcher.get_matching_blocks():
        tones[0][a : a + size] = tones[1][b : b + size] = [""] * size
    for i, word in enumerate(left):
        if re.fullmatch(r"\s*\[[A-Z]+\]", word):
            tones[0][i] = "warn"
    return _joined(left, tones[0]), _joined(right, tones[1])


def write(directory: str | os.PathLike[str], report: Report) -> Path:
    """Writes report.json and report.html into `directory` and returns the page's path.

    Both are written whole under temporary names before either takes its place. Raises WorkError where the disk is full
    or the folder cannot be written; earlier reports stay as they were.
    """
    folder = Path(directory)
    text = json.dumps(report.to_plain(), ensure_ascii=False, indent=2, allow_nan=False, default=str)
    # backslashreplace: half a surrogate pair in a sentence must not cost the report
    contents = {
        folder / "report.json": f"{text}\n".encode("utf-8", "backslashreplace"),
        folder / "report.html": render(report).encode("utf-8", "backslashreplace"),
    }
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            with parts[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink()
        found = f"refused: {error.strerror or error}"
        raise WorkError(sentence(str(folder / "report.html"), "be written", found, "an earlier report was kept")) from error
    return folder / "report.html"
