"""The report of a stage: report.json for programs, report.html for people, from one set of figures and blocks.

A stage fills a `Report` with scores, counts and blocks (paragraphs, tables, charts, histograms, samples) and calls
`write`. The page is one file that loads nothing: styles and pictures are inside it, there is no script, and every
text is escaped. The same report gives the same bytes.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import groupby
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from nlpseq import charts
from nlpseq.blocks import Block, Chart, Histogram, Map, Paragraph, Samples, Series, Span, Table
from nlpseq.errors import UsageError, WorkError, sentence
from nlpseq.metrics import Score

__all__ = [
    "Block",
    "Chart",
    "Histogram",
    "Map",
    "Paragraph",
    "Report",
    "Samples",
    "Series",
    "Span",
    "Table",
    "check_folder",
    "differences",
    "label",
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
    "recall": ("Recall, %", 100),
    "ws353": ("WordSim-353", 1),
    "simlex999": ("SimLex-999", 1),
    "analogies": ("Analogies, %", 100),
    "analogies_30k": ("Analogies, 30,000 words, %", 100),
    "analogies_300k": ("Analogies, 300,000 words, %", 100),
    "perplexity": ("Perplexity", None),
}
PACKAGES = ("nlpseq", "torch", "numpy", "sentencepiece", "sacrebleu", "sacremoses", "gensim", "datasets", "safetensors")
LONG = 400  # words; comparing two texts takes time that grows with the square of their length


def machine(gpu: str | None = None) -> dict[str, Any]:
    """What this process runs on: processor, usable cores, memory in GiB, system, and the GPU's name where given."""
    facts: dict[str, Any] = {"cpu": _cpu_name(), "cores": _cores()}
    with contextlib.suppress(AttributeError, OSError, ValueError):  # not every system says; then the line is absent
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
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
    comparison: by metric, how far from another system (`metrics.Comparison`);
    machine, versions: filled in by themselves; written: date for the page, absent by default so that pages compare.
    """

    stage: str
    corpus: str
    split: str
    scores: Mapping[str, Score]
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
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
        } | ({"comparison": self.comparison} if self.comparison else {})
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


def render(report: Report) -> str:
    """The page of `report` as one HTML text that needs nothing else; equal reports give equal text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (Path(__file__).parent / "templates" / "report.html.jinja").read_text(encoding="utf-8")
    views = [_view(block, i) for i, block in enumerate(report.blocks)]
    return environment.from_string(source).render(
        report=report,
        tiles=[_tile(name, score) for name, score in report.scores.items()],
        sections=[(drawn, list(group)) for drawn, group in groupby(views, key=lambda view: "picture" in view)],
        facts=[(title, _facts(of)) for title, of in _background(report) if of],
        counts=_facts(report.counts),
        duration=_duration(report.seconds),
        frame=charts.FRAME,
        number=charts.number,
    )


def check_folder(folder: Path) -> None:
    """Raise UsageError for a folder with a report.json or report.html that no stage has written: it would be lost."""
    names = [name for name in ("report.json", "report.html") if (folder / name).exists()]
    try:
        own = not names or "stage" in json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError, TypeError):
        own = False
    if not own:
        must = "be a folder without files that a report would take the place of"
        raise UsageError(sentence("out", must, f"one with {' and '.join(names)}", str(folder), quote=False))


def write(directory: str | os.PathLike[str], report: Report) -> Path:
    """Writes report.json and report.html into `directory` and returns the page's path.

    Both are written whole under temporary names before either takes its place. Raises UsageError as `check_folder`
    does, WorkError where the disk is full or the folder cannot be written; earlier reports stay as they were.
    """
    folder = Path(directory)
    check_folder(folder)
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
        message = sentence(str(folder / "report.html"), "be written", found, "an earlier report stays as it was")
        raise WorkError(message) from error
    return folder / "report.html"


def _view(block: Block, i: int) -> dict[str, Any]:
    """What the template draws of a block: its kind, its parts, and the picture where it is a chart."""
    view: dict[str, Any] = {"kind": type(block).__name__.lower(), "block": block, "id": f"block-{i + 1}"}
    match block:
        case Chart():
            return view | {"picture": charts.lines(block.series, log=block.log)}
        case Histogram():
            return view | {"picture": charts.bars(block.groups)}
        case Map():
            return view | {"map": charts.scatter(block.points)}
        case Table():
            numeric, rows = _aligned(block)
            return view | {"numeric": numeric, "rows": rows}
        case Samples():
            spans = [[[Span(cell)] if isinstance(cell, str) else cell for cell in row] for row in block.rows]
            return view | {"rows": spans}
    return view


def _tile(name: str, score: Score) -> dict[str, Any]:
    title, top = label(name)
    low, high = score.low, score.high
    bounded = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    bar = None
    if top is not None and low is not None and high is not None and bounded:
        ends = [100 * min(max(end / top, 0.0), 1.0) for end in (low, high)]
        # one per cent stays visible where the interval is narrower than the line is thick
        bar = {"left": f"{min(ends[0], 99):.2f}", "width": f"{max(ends[1] - ends[0], 1):.2f}"}
    digits = 3 if top == 1 else 2
    return {
        "name": name,
        "label": title,
        "value": _fixed(score.value, digits),
        "interval": f"{_fixed(low, digits)} to {_fixed(high, digits)}" if bounded else "",
        "bar": bar,
        "top": top,
        "n": score.n,
        "signature": score.signature,
    }


def label(name: str) -> tuple[str, float | None]:
    """What pages call a score and the top of its scale, None where it has none; `bleu_nearest_pair` is a BLEU too."""
    known = max((k for k in LABELS if name == k or name.startswith(f"{k}_")), key=len, default=None)
    if known is None:
        return name.replace("_", " ").capitalize(), None
    title, top = LABELS[known]
    return f"{title}{name[len(known) :].replace('_', ', ', 1).replace('_', ' ')}", top


def _fixed(value: float | None, digits: int) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return charts.number(value) if abs(value) >= 1000 else f"{value:.{digits}f}"


def _background(report: Report) -> list[tuple[str, Mapping[str, Any]]]:
    return [("Settings", report.settings), ("Machine", report.machine), ("Versions", report.versions)]


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _shown(value)) for name, value in facts.items()]


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return charts.number(float(value)) if isinstance(value, Real) else str(value)


def _aligned(table: Table) -> tuple[list[bool], list[list[str]]]:
    """Which columns hold numbers only, and the rows as text, with as many decimals in all rows of such a column."""
    numeric, digits = [], []
    for i in range(len(table.columns)):
        cells = [row[i] for row in table.rows if i < len(row) and row[i] is not None]
        sizes = [abs(float(cell)) for cell in cells if isinstance(cell, Real)]
        numeric.append(len(sizes) == len(cells) > 0)
        plain = all(size.is_integer() or not 1e-3 <= size < 1e9 for size in sizes)
        digits.append(None if plain or not numeric[i] else 2 if max(sizes) >= 1 else 3)
    rows = [[_cell(cell, digits[i] if i < len(digits) else None) for i, cell in enumerate(row)] for row in table.rows]
    return numeric, rows


def _cell(value: object, digits: int | None) -> str:
    if digits is None or not isinstance(value, Real) or not abs(float(value)) < 1e9:
        return _shown(value)
    return f"{float(value):,.{digits}f}"


def _duration(seconds: float) -> str:
    if not 0 <= seconds < math.inf:
        return "–"
    if seconds < 60:
        return f"{charts.number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int):
        return value
    if isinstance(value, Integral):
        return int(value)  # numpy's
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return value


def _words(text: str) -> list[str]:
    return re.findall(r"\s*(?:\[[A-Z]+\]|[\w’'-]+|\S)", text)


def _joined(words: Sequence[str], tones: Sequence[str]) -> list[Span]:
    spans: list[Span] = []
    for tone, group in groupby(zip(words, tones, strict=True), key=lambda pair: pair[1]):
        text = "".join(word for word, _ in group)
        bare = text.lstrip()
        # the space before a tinted run belongs to nobody: tinted, it would hang over the word's edge
        if len(bare) < len(text):
            spans.append(Span(text[: len(text) - len(bare)]))
        spans.append(Span(bare, tone))
    return spans


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine() or "unknown"
