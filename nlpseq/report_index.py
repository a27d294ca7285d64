"""One page that links the reports of all models below a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.artefact import write_file
from nlpseq.report import label

__all__ = ["Entry", "entries", "write_index"]

_SHOWN = 4  # scores of a report


class Entry(NamedTuple):
    """A report: where it is, what it is of, and its first scores, by name and value."""

    link: str
    stage: str
    corpus: str
    split: str
    scores: list[tuple[str, str]]


def entries(folder: Path) -> Iterator[Entry]:
    """Yield the reports below a folder, by path; a report.json that is damaged, or has no page beside it, is none."""
    for path in sorted(folder.rglob("report.json")):
        page = path.with_name("report.html")
        try:
            held: dict[str, Any] = json.loads(path.read_bytes())
            scores = [_shown(name, score["value"]) for name, score in list(held["scores"].items())[:_SHOWN]]
            entry = Entry(page.relative_to(folder).as_posix(), held["stage"], held["corpus"], held["split"], scores)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if page.is_file() and "resume" not in path.relative_to(folder).parts:
            yield entry


def _shown(name: str, value: float | None) -> tuple[str, str]:
    title, top = label(name)
    return title, "–" if value is None else f"{value:.{3 if top == 1 else 2}f}"


def write_index(folder: str | Path) -> Path:
    """Write `index.html` into a folder, with a link to every report below it, and return its path.

    Raises WorkError where the disk does not take it; an earlier page stays as it was.
    """
    from jinja2 import Environment, StrictUndefined

    root = Path(folder)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (Path(__file__).parent / "templates" / "index.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(source).render(entries=list(entries(root)))
    root.mkdir(parents=True, exist_ok=True)
    write_file(root / "index.html", page.encode("utf-8", "backslashreplace"))
    return root / "index.html"
