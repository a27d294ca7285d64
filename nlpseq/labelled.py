"""Corpora of text and label as ids on disk: what a classifier trains on."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from nlpseq.artefact import read_table, write_table
from nlpseq.batches import Ragged, RaggedWriter, load_ragged
from nlpseq.corpora import Corpus, Split, load_corpus, text_hash
from nlpseq.cuts import PARTS, Told, untold
from nlpseq.errors import ArtefactError, CorpusError, did_you_mean, sentence
from nlpseq.readers import column_names
from nlpseq.settings import LabelConfig, ReadingConfig, TokenizerConfig
from nlpseq.tokenizer import Tokenizer, normalised, without_markup

__all__ = [
    "Example",
    "LabelCounts",
    "LabelledData",
    "LabelledSplit",
    "classes_of",
    "cut",
    "encode_labelled",
    "labelled_splits",
    "open_labelled",
    "readable",
    "scorable",
]

T = TypeVar("T")
_AT_ONCE = 2048  # rows encoded together
_MOST_CLASSES = 1000
_ABSENT = "-1"  # what some corpora, such as GLUE, have for a label that is kept back
_TENTH = 10  # one in so many distinct texts is validated on where a corpus has no such split


class Example(NamedTuple):
    """A text as it stands, its label (None where there is none), and where it comes from, for messages."""

    text: str
    label: str | None
    where: str


@dataclass(frozen=True)
class LabelCounts:
    """What became of the rows of a split; cut: kept, but not read as a whole."""

    rows: int = 0
    kept: int = 0
    empty: int = 0
    unlabelled: int = 0
    cut: int = 0
    tokens: int = 0
    unknown: int = 0

    def plus(self, other: LabelCounts) -> LabelCounts:
        """Return the counts of both."""
        return LabelCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def describe(self) -> dict[str, float | int]:
        """Return the counts and the share of `[UNK]`, in percent."""
        return asdict(self) | {"unknown_percent": round(100 * self.unknown / max(1, self.tokens), 3)}


@dataclass(frozen=True)
class LabelledData:
    """A split as ids, and the number of each row's class."""

    tokens: Ragged
    labels: npt.NDArray[np.int64]
    counts: LabelCounts


def open_labelled(name: str, columns: LabelConfig, *, told: Told = untold) -> tuple[Corpus, tuple[str, str]]:
    """Return a corpus and its columns of text and label: those asked for, else its own, else `text` and `label`.

    Raises CorpusError, with the columns that there are, for one that is not there.
    """
    asked = [column for column in (columns.text, columns.label) if column]
    both = asked if len(set(asked)) == 2 else None  # of a file without a header line they must be asked for
    if Path(name).is_dir() and not all(map(str.isdecimal, asked)):
        both = None  # a test may come without the column of the label
    corpus = load_corpus(name, columns=both, told=told)
    present = list(next(iter(corpus.splits.values())).columns)
    roles = corpus.card.columns if corpus.card else {}
    found = [
        getattr(columns, role) or roles.get(role) or (role if role in present else None) for role in ("text", "label")
    ]
    for role, column in zip(("text", "label"), found, strict=True):
        if column not in present:
            must = f"be a column of {corpus.name} ({column_names(present)})"
            shown = f'"{column}"{did_you_mean(column, present)}' if column else f"absent: give it as --{role}"
            raise CorpusError(sentence(role, must, shown, quote=False))
    text, label = str(found[0]), str(found[1])
    if text == label:
        raise CorpusError(sentence("label", "be another column than the text", label))
    if not both and corpus.whole is not None:  # a file of one's own is cut into splits by its text
        corpus = load_corpus(name, columns=(text, label), told=told)
    return corpus, (text, label)


@dataclass(frozen=True)
class LabelledSplit:
    """The examples of a split, in order and as often as they are asked for.

    columns: of text and label; tenth: of a corpus without validation, whether these are the texts of train that are
    held out for it (True) or all others (False), by the smallest hashes, so that equal texts are always together;
    labels: examples of any other are left out, where they are given.
    """

    split: Split
    columns: tuple[str, str]
    tenth: bool | None = None
    labels: frozenset[str] | None = None

    @property
    def cut_here(self) -> bool:
        """Whether nlpseq chose which rows these are."""
        return self.tenth is not None or self.split.cut is not None

    def __iter__(self) -> Iterator[Example]:
        table = self.split.table
        text, label = self.columns
        for record in self.split.scan():
            if isinstance(record.row, CorpusError):
                raise record.row
            if self.tenth is None or self.tenth == (text_hash(record.row, (text,)) <= self._largest):
                found = " ".join(_plain(record.row.get(label)).split()) or None  # one line, as what is printed
                if self.labels is None or found is None or found in self.labels:
                    yield Example(_plain(record.row.get(text)), found, f"{table.name}, {table.unit} {record.number}")

    @cached_property
    def _largest(self) -> int:
        """The largest hash of a text that is held out."""
        hashes = array("Q", (text_hash(row, self.columns[:1]) for row in self.split))
        values = np.unique(np.frombuffer(hashes, np.uint64))
        if len(values) < 2:
            must = "have at least 2 different texts, to be cut into train and validation"
            raise CorpusError(sentence("train", must, f"of {len(values)}", self.split.table.name, quote=False))
        return int(values[max(1, len(values) // _TENTH) - 1])


def _plain(value: object) -> str:
    """Return a cell as text: tokens joined by spaces, nothing for null; tables with gaps have whole numbers as 1.0."""
    if isinstance(value, float) and not math.isinf(value):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def labelled_splits(corpus: Corpus, columns: tuple[str, str]) -> dict[str, LabelledSplit]:
    """Return train, validation and test of a corpus, the last where it has one; validation is cut off train if need be.

    Raises CorpusError where there is no train.
    """
    train = corpus.split("train")
    if "validation" in corpus.splits:
        return {name: LabelledSplit(corpus.split(name), columns) for name in PARTS if name in corpus.splits}
    found = {"train": LabelledSplit(train, columns, False), "validation": LabelledSplit(train, columns, True)}
    return found | ({"test": LabelledSplit(corpus.split("test"), columns)} if "test" in corpus.splits else {})


def scorable(
    splits: Mapping[str, LabelledSplit], classes: Collection[str]
) -> tuple[dict[str, LabelledSplit], dict[str, int]]:
    """Return the splits with no label but the classes of train, and how many rows had to be left out of each for it.

    That is done where nlpseq cut the split off itself; elsewhere such a label raises CorpusError. A test without a
    label, or with -1 alone, is no test.
    """
    found, left = dict(splits), {}
    for name in found.keys() - {"train"}:
        labels = Counter(one.label for one in found[name] if one.label is not None and one.text.strip())
        strange, own = labels.keys() - set(classes), found[name].cut_here
        if strange and own:
            found[name] = replace(found[name], labels=frozenset(classes))
            left[name] = sum(labels[label] for label in strange)
        if name == "test" and len(strange) == len(labels) and (own or strange <= {_ABSENT}):
            del found[name]
        elif strange and not own:
            one = next(example for example in found[name] if example.label in strange)
            must = f"be one of the classes of train ({column_names(list(classes))})"
            raise CorpusError(sentence("label", must, one.label, one.where))
    return found, left


def classes_of(examples: Iterable[Example], name: str, *, order: Sequence[str] = ()) -> dict[str, int]:
    """Return the classes of labelled texts and how often each stands there.

    They come in the order of a card, else by number where all are numbers, else by code points. name: of the corpus,
    for messages; order: names of a card. Raises CorpusError where there are fewer than two, or more than 1,000.
    """
    counts: Counter[str] = Counter()
    for example in examples:
        if example.label is not None and example.text.strip():
            counts[example.label] += 1
            if len(counts) > _MOST_CLASSES:
                must = f"have at most {_MOST_CLASSES:,} different values in train"
                found = f'more, such as "{example.label[:40]}"'
                raise CorpusError(sentence("label", must, found, example.where, quote=False))
    if len(counts) < 2:
        shown = f'"{next(iter(counts))}" alone' if counts else "without one"
        raise CorpusError(sentence("label", "have at least two values in train", shown, name, quote=False))
    if set(counts) <= set(order):
        return {label: counts[label] for label in order if label in counts}
    numbers = all(re.fullmatch(r"[-+]?\d+(\.\d+)?", label) for label in counts)
    return dict(sorted(counts.items(), key=lambda one: (float(one[0]) if numbers else 0.0, one[0])))


def readable(text: str, config: TokenizerConfig) -> str:
    """Return a text as units see it; HTML's line breaks, which web pages leave in reviews, are line breaks."""
    return normalised(without_markup(text), config).text


def cut(tokens: Sequence[T], config: ReadingConfig) -> Sequence[T]:
    """Return the tokens, or ids, that are read of a long text: its end, its start, or half of each."""
    if len(tokens) <= config.max_tokens:
        return tokens
    if config.keep == "start":
        return tokens[: config.max_tokens]
    head = config.max_tokens // 2 if config.keep == "both" else 0
    return [*tokens[:head], *tokens[len(tokens) - (config.max_tokens - head) :]]


def encode_labelled(
    examples: Iterable[Example],
    classes: Sequence[str],
    *,
    tokenizer: Tokenizer,
    path: Path,
    reading: ReadingConfig,
    told: Told,
) -> LabelledData:
    """Write examples as ids to `<path>.*` in bounded memory and return them memory-mapped.

    Texts without a token and rows without a label are left out and counted. What has been written whole is not written
    again; what was damaged since is. Raises CorpusError for a label that is none of the classes.
    """
    if (held := _held(path)) is not None:
        return held
    writers = RaggedWriter(Path(f"{path}.text")), RaggedWriter(Path(f"{path}.label"))
    counts = LabelCounts()
    for ids, labels, counted in _blocks(examples, classes, tokenizer, reading):
        writers[0].write(ids)
        writers[1].write([[label] for label in labels])
        counts = counts.plus(counted)
        told(counts.rows)
    for writer in writers:
        writer.close()
    table = asdict(counts)
    write_table(Path(f"{path}.json"), table)
    return _loaded(path, counts)


def _loaded(path: Path, counts: LabelCounts) -> LabelledData:
    labels = load_ragged(Path(f"{path}.label"))
    return LabelledData(load_ragged(Path(f"{path}.text")), np.array(labels.ids, np.int64), counts)


def _held(path: Path) -> LabelledData | None:
    """Return what was written whole and is so still; None for any other."""
    try:
        table = read_table(Path(f"{path}.json"))
        data = _loaded(path, LabelCounts(**table))
        same = len(data.tokens) == len(data.labels) == data.counts.kept
        return data if same else None
    except (TypeError, ArtefactError):  # the first for counts of another version
        return None


def _blocks(
    examples: Iterable[Example], classes: Sequence[str], tokenizer: Tokenizer, reading: ReadingConfig
) -> Iterator[tuple[list[Sequence[int]], list[int], LabelCounts]]:
    """Yield, for so many rows at once, ids and classes of those that are kept and what became of all of them."""
    numbers = {label: number for number, label in enumerate(classes)}
    rows = iter(examples)
    while block := list(islice(rows, _AT_ONCE)):
        encoded = tokenizer.encode_normalised([readable(one.text, tokenizer.config) for one in block])
        found = [(ids, one) for ids, one in zip(encoded, block, strict=True) if ids and one.label is not None]
        for _, one in found:
            if one.label not in numbers:
                must = f"be one of the classes of train ({column_names(classes)})"
                raise CorpusError(sentence("label", must, one.label, one.where))
        kept = [cut(ids, reading) for ids, _ in found]
        counted = LabelCounts(
            rows=len(block),
            kept=len(kept),
            empty=sum(not ids for ids in encoded),
            unlabelled=sum(bool(ids) and one.label is None for ids, one in zip(encoded, block, strict=True)),
            cut=sum(len(ids) > reading.max_tokens for ids, _ in found),
            tokens=sum(map(len, kept)),
            unknown=sum(map(tokenizer.unknown, kept)),
        )
        yield kept, [numbers[str(one.label)] for _, one in found], counted
