"""What is wrong with a corpus, all at once and before any epoch: `preflight`, and the text that shows it: `render`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nlpseq.corpora import Corpus, Split, text_hash
from nlpseq.cuts import TOLD_EVERY, Told, untold
from nlpseq.errors import CorpusError, did_you_mean
from nlpseq.readers import Record, Row, column_names, fault

__all__ = ["ColumnStatistics", "Fault", "Preflight", "SplitStatistics", "preflight", "render"]

Coverage = Callable[[str], tuple[int, int]]

_FEW = 3  # words: a shorter side counts as this long in a ratio, for one word may well be ten in another language


@dataclass(frozen=True)
class Fault:
    """One kind of fault: an "error" must be mended, a "warning" is only said."""

    severity: Literal["error", "warning"]
    message: str


@dataclass(frozen=True)
class ColumnStatistics:
    """Lengths of the texts of one column: words are what white space separates (or the items of a list)."""

    words: int
    mean: float
    p95: int
    longest: int
    characters: int
    unknown: float | None = None


@dataclass(frozen=True)
class SplitStatistics:
    """Statistics of a split: usable rows, each column, and the share of rows whose two sides are the same text."""

    rows: int
    columns: Mapping[str, ColumnStatistics]
    identical: float | None = None


@dataclass(frozen=True)
class _Limits:
    """What a row may be before it is said; None switches a check off."""

    max_words: int | None
    max_characters: int | None
    max_ratio: float | None


@dataclass(frozen=True)
class Preflight:
    """The result of a preflight: statistics by split, three sample rows of the first split, and all faults."""

    corpus: Corpus
    columns: tuple[str, ...]
    splits: Mapping[str, SplitStatistics]
    samples: tuple[Row, ...]
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> tuple[Fault, ...]:
        """The faults that must be mended before training."""
        return tuple(found for found in self.faults if found.severity == "error")

    def raise_errors(self) -> None:
        """Raise CorpusError with every error, a line each; warnings pass."""
        if self.errors:
            raise CorpusError("\n".join(found.message for found in self.errors))


@dataclass
class _Tally:
    """How often something happened and the first three places."""

    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.places) < 3:
            self.places.append(place)


@dataclass
class _Column:
    lengths: Counter[int] = field(default_factory=Counter)
    characters: int = 0
    units: int = 0
    unknown: int = 0

    def add(self, text: str, words: int, coverage: Coverage | None) -> None:
        self.lengths[words] += 1
        self.characters += len(text)
        if coverage is not None:
            units, unknown = coverage(text)
            self.units += units
            self.unknown += unknown

    def statistics(self) -> ColumnStatistics:
        rows, words = self.lengths.total(), sum(length * n for length, n in self.lengths.items())
        seen, p95 = 0, 0
        for length in sorted(self.lengths):
            seen, p95 = seen + self.lengths[length], length
            if seen >= 0.95 * rows:
                break
        share = self.unknown / self.units if self.units else None
        longest = max(self.lengths, default=0)
        return ColumnStatistics(words, words / rows if rows else 0.0, p95, longest, self.characters, share)


class _Pass:
    """One streaming pass over one split, filling statistics and tallies as the rows go by."""

    def __init__(
        self, split: Split, columns: Sequence[str], limits: _Limits, *, coverage: Coverage | None, told: Told
    ) -> None:
        self.split, self.columns, self.limits, self.coverage = split, tuple(columns), limits, coverage
        self.told = told
        self.statistics = {column: _Column() for column in columns}
        self.warnings: dict[str, _Tally] = {}
        self.broken = _Tally()
        self.uneven = _Tally()
        self.rows = self.identical = 0
        self.samples: list[Row] = []

    def rows_seen(self) -> Iterator[Row]:
        """Yield the usable rows once all about them is noted; read it to its end."""
        for record in self.split.scan():
            if isinstance(record.row, CorpusError):
                self.broken.add(str(record.row))
                continue
            self._note(record, record.row)
            if self.rows % TOLD_EVERY == 0:
                self.told(self.rows)
            yield record.row

    def _note(self, record: Record, row: Row) -> None:
        self.rows += 1
        if len(self.samples) < 3:
            self.samples.append(row)
        values = [row[column] for column in self.columns]
        texts, words = [_text(value) for value in values], [_words(value) for value in values]
        for column, text, count in zip(self.columns, texts, words, strict=True):
            self.statistics[column].add(text, count, self.coverage)
        for kind in _oddities(self.columns, texts, words, self.limits):
            self.warnings.setdefault(kind, _Tally()).add(str(record.number))
        if len(values) > 1:
            self.identical += values[0] == values[1]
            if isinstance(values[0], list) and isinstance(values[1], list) and len(values[0]) != len(values[1]):
                self.uneven.add(str(record.number))

    def result(self) -> SplitStatistics:
        columns = {column: found.statistics() for column, found in self.statistics.items()}
        both = self.rows > 0 and len(columns) > 1
        return SplitStatistics(self.rows, columns, self.identical / self.rows if both else None)

    def faults(self) -> Iterator[Fault]:
        name, unit = self.split.name, self.split.table.unit
        yield from (Fault("error", message) for message in self.broken.places)
        if (more := self.broken.count - len(self.broken.places)) > 0:
            yield Fault("error", f"{name}: {more:,} more lines cannot be read.")
        if self.rows == 0 and not self.broken.count:
            yield Fault("error", str(fault(name, "have at least one row", "has none", self.split.table.name)))
        if self.uneven.count:
            both = f"{self.columns[0]} and {self.columns[1]}"
            yield Fault("error", _counted(name, f"have {both} of different lengths", self.uneven, unit))
        for kind, tally in self.warnings.items():
            yield Fault("warning", _counted(name, kind, tally, unit))


def preflight(
    corpus: Corpus,
    columns: Sequence[str] | None = None,
    *,
    max_words: int | None = 1000,
    max_characters: int | None = 10_000,
    max_ratio: float | None = 9,
    coverage: Coverage | None = None,
    told: Told = untold,
) -> Preflight:
    """Return statistics and all faults of a corpus, from one streaming pass over each split.

    columns: the columns that will be trained on, such as ("en", "fr"); None takes the card's, or all.
    max_words, max_characters: what a side may hold, and max_ratio: how many words one of the first two columns may
    have for each word of the other (which counts as three at least; not asked where the card's task is no
    translation), before the row is a warning; None switches a check off. A warning leaves the row in the corpus:
    what training leaves out are pairs with an empty side, and those beyond its own `max_length` in tokens.
    coverage: gives the number of units and of unknown units in a text (a tokeniser's). told: is told how many rows of a
    split have been read.
    Texts of the first column that stand in train and in another split are found with 8 bytes for each text of the
    other splits. Raises nothing: what cannot be read is a fault.
    """
    wanted = tuple(columns) if columns else _default_columns(corpus, next(iter(corpus.splits.values()), None))
    pairs = corpus.task in (None, "translation")
    limits = _Limits(max_words, max_characters, max_ratio if pairs else None)
    found: list[Fault] = []
    results: dict[str, SplitStatistics] = {}
    samples: dict[str, list[Row]] = {}
    held: dict[str, set[int]] = {}
    for name in sorted(corpus.splits, key=lambda split: split == "train"):  # train last: the others' texts are known
        split = corpus.splits[name]
        asked = tuple(columns) if columns else _default_columns(corpus, split)
        found += [_missing(column, split) for column in asked if column not in split.columns]
        if present := [column for column in asked if column in split.columns]:
            work = _Pass(split, present, limits, coverage=coverage, told=told)
            try:
                found += _overlaps(work, held) if name == "train" else _hold(work, held)
            except CorpusError as error:  # the file cannot be cut into splits
                found += [Fault("error", line) for line in str(error).splitlines()]
                continue
            results[name], samples[name] = work.result(), work.samples
            found += [*work.faults(), *_card_differs(corpus, name, work.rows)]
    ordered = {name: results[name] for name in corpus.splits if name in results}
    shown = next((samples[name] for name in ordered), [])
    return Preflight(corpus, wanted, ordered, tuple(shown), tuple(dict.fromkeys(found)))


def render(result: Preflight) -> str:
    """Return a preflight as text: the card, the splits with their statistics, sample rows, and the faults."""
    lines = [*_render_card(result.corpus), "", *_render_splits(result)]
    for number, row in enumerate(result.samples, 1):
        lines += [f"sample {number}", *(f"  {column}: {_short(row.get(column))}" for column in result.columns)]
    errors = len(result.errors)
    lines += ["", f"{errors} error(s), {len(result.faults) - errors} warning(s)"]
    lines += [f"  {found.severity}: {found.message}" for found in result.faults]
    return "\n".join(lines)


def _default_columns(corpus: Corpus, split: Split | None) -> tuple[str, ...]:
    present = split.columns if split else ()
    if corpus.pairs:
        return corpus.pairs[0]
    return tuple(c for c in corpus.card.columns.values() if c in present) if corpus.card else present


def _oddities(columns: Sequence[str], texts: Sequence[str], lengths: Sequence[int], limits: _Limits) -> Iterator[str]:
    """Yield what is to be said of a row."""
    for column, text, length in zip(columns, texts, lengths, strict=True):
        if length == 0:
            yield f"have nothing in {column} and will be skipped"
        if limits.max_words is not None and length > limits.max_words:
            yield f"are very long, with more than {limits.max_words:,} words in {column}"
        if limits.max_characters is not None and len(text) > limits.max_characters:
            yield f"are very long, with more than {limits.max_characters:,} characters in {column}"
    short, long = min(lengths[:2]), max(lengths[:2])
    if limits.max_ratio is not None and short > 0 and long > limits.max_ratio * max(short, _FEW):
        yield f"differ much in length, one side more than {limits.max_ratio:g} times the other"


def _missing(column: str, split: Split) -> Fault:
    must = f"be one of the columns {column_names(split.columns)} of {split.name}"
    hint = did_you_mean(column, split.columns)
    return Fault("error", str(fault(column, must, "is none of them", split.table.name, hint=hint)))


def _card_differs(corpus: Corpus, name: str, rows: int) -> Iterator[Fault]:
    facts = corpus.card.splits.get(name) if corpus.card else None
    if facts is not None and facts.rows != rows:
        where = corpus.splits[name].table.name
        yield Fault("warning", str(fault(name, f"have {facts.rows:,} rows by its card", f"has {rows:,}", where)))


def _hold(work: _Pass, held: dict[str, set[int]]) -> list[Fault]:
    """Read a split and keep the hashes of its texts in held."""
    held[work.split.name] = {text_hash(row, work.columns[:1]) for row in work.rows_seen()}
    return []


def _overlaps(work: _Pass, held: Mapping[str, set[int]]) -> list[Fault]:
    """Read the training split and return which other splits' texts stand in it."""
    shared: dict[str, set[int]] = {name: set() for name in held}
    for row in work.rows_seen():
        value = text_hash(row, work.columns[:1])
        for name, hits in shared.items():
            if value in held[name]:
                hits.add(value)
    what = f"text(s) of {work.columns[0]} stand in train too."
    return [Fault("warning", f"{name}: {len(hits):,} {what}") for name, hits in shared.items() if hits]


def _counted(split: str, what: str, tally: _Tally, unit: str) -> str:
    places = ", ".join(tally.places) + (", …" if tally.count > len(tally.places) else "")
    return f"{split}: {tally.count:,} rows {what} ({unit} {places})."


def _words(value: Any) -> int:
    if isinstance(value, list):
        return len(value)
    return 0 if value is None else len(str(value).split())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _short(value: Any) -> str:
    text = " ".join(_text(value).split())
    return text if len(text) <= 100 else text[:99] + "…"


def _render_card(corpus: Corpus) -> list[str]:
    card = corpus.card
    if card is None:
        return [f"{corpus.name} (your own)"]
    source = card.source
    known = "" if source.verified or source.revision == "unverified" else " (unverified)"
    origin = f"{source.kind} {source.id or source.url}, revision {source.revision}{known}"
    here = {"generated": "written by nlpseq", "library": "the running interpreter"}
    lines = [
        f"{card.name}: {card.title}",
        f"task      {card.task}",
        f"languages {', '.join(card.languages)}",
        f"source    {here.get(source.kind, origin)}",
        f"licence   {card.licence}",
        f"cite      {card.citation}",
    ]
    return lines + ([f"notes     {card.notes}"] if card.notes else [])


def _render_splits(result: Preflight) -> list[str]:
    titles = f"{'words':>14}{'mean':>11}{'95 %':>9}{'longest':>9}{'characters':>14}"
    lines = [f"{'split':<18}{'rows':>12}  {'column':<12}{titles}"]
    for name, split in result.splits.items():
        for column, found in split.columns.items():
            numbers = f"{found.words:>14,}{found.mean:>11,.1f}{found.p95:>9,}{found.longest:>9,}{found.characters:>14,}"
            unknown = "" if found.unknown is None else f"  unknown {found.unknown:.2%}"
            lines.append(f"{name:<18}{split.rows:>12,}  {column:<12}{numbers}{unknown}")
        if split.identical:
            lines.append(f"{'':<32}same text on both sides: {split.identical:.2%}")
    return lines
