"""What a report is made of: paragraphs, tables, charts, histograms, samples and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Block", "Chart", "Histogram", "Map", "Paragraph", "Samples", "Series", "Span", "Table"]


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
    """One or several lines over the same x; a logarithmic y axis (`log`) leaves out what is not positive."""

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


class Map(NamedTuple):
    """Named points in the plane (name, x, y), the most important ones first: where names would overlap, those stay."""

    title: str
    points: Sequence[tuple[str, float, float]]
    note: str = ""


Block = Paragraph | Table | Chart | Histogram | Samples | Map
