"""Corpora of pairs as ids on disk: what the translator trains on."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import islice
from pathlib import Path

from nlpseq.artefact import read_table, write_table
from nlpseq.batches import Ragged, RaggedWriter, load_ragged
from nlpseq.cards import catalogue
from nlpseq.corpora import Corpus, Split, load_corpus
from nlpseq.cuts import TOLD_EVERY, Told, untold
from nlpseq.errors import ArtefactError, CorpusError, did_you_mean, sentence
from nlpseq.readers import column_names
from nlpseq.settings import PairConfig, TokenizerConfig
from nlpseq.tokenizer import Tokenizer, normalised, normalised_pair, without_markup
from nlpseq.vocab import EOS

__all__ = [
    "Counts",
    "PairData",
    "encode_split",
    "language",
    "learn_tokenizer",
    "normalised_rows",
    "open_pairs",
    "open_text",
    "texts",
]

_ALIVE = 2.0  # seconds between signs of life
_SHOWN = 60  # characters of a cell that is no text
_AT_ONCE = 2048  # rows encoded together


@dataclass(frozen=True)
class Counts:
    """What became of the rows of a split; tokens without `<eos>`."""

    rows: int = 0
    kept: int = 0
    empty: int = 0
    long: int = 0
    source_tokens: int = 0
    target_tokens: int = 0
    source_unknown: int = 0
    target_unknown: int = 0
    masked: int = 0

    def plus(self, other: Counts) -> Counts:
        """Return the counts of both."""
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def describe(self) -> dict[str, float | int]:
        """Return the counts and the shares of `[UNK]`, in percent."""
        shares = {
            "source_unknown_percent": round(100 * self.source_unknown / max(1, self.source_tokens), 3),
            "target_unknown_percent": round(100 * self.target_unknown / max(1, self.target_tokens), 3),
        }
        return asdict(self) | shares


@dataclass(frozen=True)
class PairData:
    """A split as ids: sources in reading order and targets, each ending in `<eos>`."""

    source: Ragged
    target: Ragged
    counts: Counts


def open_pairs(name: str, pair: PairConfig, *, told: Told = untold) -> tuple[Corpus, tuple[str, str]]:
    """Return a corpus and its source and target column: those asked for, else the corpus' own, else its only two.

    Raises CorpusError where a column is not there, or where it is not plain which two are meant.
    """
    asked = (pair.source, pair.target)
    card = next((card for card in catalogue() if card.name == name), None)
    if card and card.task != "translation" and not (all(asked) or Path(name).exists()):
        must = "be one of pairs, or come with source and target"
        raise CorpusError(sentence("corpus", must, f"{name} (for {card.task})", quote=False))
    corpus = load_corpus(name, columns=(pair.source, pair.target) if pair.source and pair.target else None, told=told)
    present = list(next(iter(corpus.splits.values())).columns)
    own = next((p for p in corpus.pairs if all(a is None or a == c for a, c in zip(asked, p, strict=True))), None)
    if own is None and len(present) > 2 and not all(asked):
        must = f"be given where there are more than two columns ({column_names(present)})"
        raise CorpusError(sentence("source and target", must, "absent", corpus.name, quote=False))
    rest = [column for column in own or present if column not in asked]
    source = pair.source or (rest.pop(0) if rest else "")
    target = pair.target or (rest.pop(0) if rest else "")
    for role, column in (("source", source), ("target", target)):
        if column not in present:
            must = f"be a column of {corpus.name} ({column_names(present)})"
            found = f'"{column}"{did_you_mean(column, present)}' if column else "absent"
            raise CorpusError(sentence(role, must, found, quote=False))
    if source == target:
        raise CorpusError(sentence("target", "be another column than the source", target))
    if all(asked) or (corpus.card and corpus.card.source.kind == "generated"):  # which takes seconds
        return corpus, (source, target)
    if corpus.card is None:  # a file of one's own is cut into splits by the text of its source column
        corpus = load_corpus(name, columns=(source, target), told=told)
    return corpus, (source, target)


def language(column: str) -> str | None:
    """Return the language code that a column is named by, as in `fr` or `pt_BR`; None where it is no code."""
    return column[:2] if re.fullmatch(r"[a-z]{2}([_-]\w+)?", column) else None


def texts(split: Split, columns: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a split as raw text; what is absent (null) is empty."""
    source, target = columns
    for row in split:
        yield _text(row[source], source), _text(row[target], target)


def _text(value: object, column: str) -> str:
    """Return the text of a cell: tokens joined by spaces, nothing for null; CorpusError for what is neither."""
    if isinstance(value, list) and all(isinstance(token, str) for token in value):
        return " ".join(value)
    if isinstance(value, list | dict):
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]} …"
        raise CorpusError(sentence(column, "hold text or tokens", shown, quote=False))
    return "" if value is None else str(value)


def open_text(name: str, text: str | None, pair: PairConfig) -> tuple[Corpus, tuple[str, ...]]:
    """Return a corpus and the column, or the pair of columns, that text is read from.

    text: a column, the corpus' own or only one where absent; pair: source and target. Raises CorpusError for what is
    not there, and where it is not plain what is meant.
    """
    if pair.source or pair.target:
        return open_pairs(name, pair)
    corpus = load_corpus(name, columns=[text] if text else None)
    present = list(next(iter(corpus.splits.values())).columns)
    roles = corpus.card.columns if corpus.card else {}
    text = text or roles.get("text") or roles.get("tokens") or ("text" if "text" in present else None)
    if text is None and corpus.pairs:
        return open_pairs(name, pair)
    if text is None and len(present) > 1:
        must = f"be given where there are several columns ({column_names(present)}), or source and target"
        raise CorpusError(sentence("text", must, "absent", corpus.name, quote=False))
    text = text or present[0]
    if text not in present:
        must = f"be a column of {corpus.name} ({', '.join(present)})"
        raise CorpusError(sentence("text", must, f'"{text}"{did_you_mean(text, present)}', quote=False))
    return corpus, (text,)


def normalised_rows(
    split: Split, columns: Sequence[str], config: TokenizerConfig, every: int = 1
) -> Iterator[list[str]]:
    """Yield the normalised texts of every so many rows: of one column, or of two that are a pair.

    In one column HTML's line breaks are line breaks, as the classifier reads them.
    """
    for row in islice(iter(split), 0, None, every):
        sides = [_text(row[column], column) for column in columns]
        if len(sides) == 1:
            yield [normalised(without_markup(sides[0]), config).text]
        else:
            pair = normalised_pair(sides[0], sides[1], config, [language(column) for column in columns])
            yield [pair.source.text, pair.target.text]


def learn_tokenizer(split: Split, columns: Sequence[str], config: TokenizerConfig, *, told: Told = untold) -> Tokenizer:
    """Return a tokeniser for all columns, learnt from at most `config.sample` rows drawn evenly over the split.

    told: is told how many rows have been read, and all of them again and again while the units are made of them.
    """
    every = max(1, -(-len(split) // config.sample))
    read, done = threading.Event(), threading.Event()

    def drawn() -> Iterator[str]:
        for number, row in enumerate(normalised_rows(split, columns, config, every)):
            if number % TOLD_EVERY == 0:
                told(number * every)
            yield from row
        read.set()

    def alive() -> None:
        while not done.wait(_ALIVE):
            if read.is_set():
                told(len(split))

    thread = threading.Thread(target=alive, daemon=True)  # SentencePiece lets others run in its one long call
    thread.start()
    try:
        return Tokenizer.train(drawn(), config)
    finally:
        done.set()
        thread.join()


def encode_split(
    split: Split,
    columns: tuple[str, str],
    *,
    tokenizer: Tokenizer,
    path: Path,
    max_length: int | None,
    backwards: bool,
    told: Told,
) -> PairData:
    """Write a split as ids to `<path>.*` in bounded memory and return it memory-mapped.

    max_length: pairs with a longer side (in tokens) are left out and counted; None keeps them. Pairs with an empty
    side are always left out and counted. backwards: the source's tokens are reversed. A split that has been written
    whole is not written again; one that was damaged since is, as the same rows give the same ids.
    """
    if (held := _held(path)) is not None:
        return held
    writers = RaggedWriter(_side(path, "source")), RaggedWriter(_side(path, "target"))
    counts = Counts()
    for kept, counted in _blocks(texts(split, columns), tokenizer, [language(c) for c in columns], max_length):
        writers[0].write([[*(s[::-1] if backwards else s), EOS] for s, _ in kept])
        writers[1].write([[*t, EOS] for _, t in kept])
        counts = counts.plus(counted)
        told(counts.rows)
    for writer in writers:
        writer.close()
    table = asdict(counts)
    write_table(Path(f"{path}.json"), table)
    return PairData(load_ragged(_side(path, "source")), load_ragged(_side(path, "target")), counts)


def _side(path: Path, role: str) -> Path:
    return Path(f"{path}.{role}")


def _held(path: Path) -> PairData | None:
    """Return a split that was written whole and is so still; None for any other."""
    try:
        table = read_table(Path(f"{path}.json"))
        counts = Counts(**table)
        data = PairData(load_ragged(_side(path, "source")), load_ragged(_side(path, "target")), counts)
        tokens = counts.source_tokens + counts.kept, counts.target_tokens + counts.kept  # each row has its `<eos>`
        same = (len(data.source), len(data.target)) == (counts.kept,) * 2
        return data if same and (len(data.source.ids), len(data.target.ids)) == tokens else None
    except (TypeError, ArtefactError):  # the first for counts of another version
        return None


def count(pairs: Iterable[tuple[str, str]], tokenizer: Tokenizer, languages: Sequence[str | None]) -> Counts:
    """Return what becomes of pairs of raw text under a tokeniser."""
    counts = Counts()
    for _, counted in _blocks(pairs, tokenizer, languages, None):
        counts = counts.plus(counted)
    return counts


def _blocks(
    pairs: Iterable[tuple[str, str]], tokenizer: Tokenizer, languages: Sequence[str | None], max_length: int | None
) -> Iterator[tuple[list[tuple[list[int], list[int]]], Counts]]:
    """Yield, for so many rows at once, the pairs of ids that are kept and what became of all of them."""
    rows = iter(pairs)
    while block := list(islice(rows, _AT_ONCE)):
        masked = [normalised_pair(source, target, tokenizer.config, languages) for source, target in block]
        sources = tokenizer.encode_normalised([pair.source.text for pair in masked])
        targets = tokenizer.encode_normalised([pair.target.text for pair in masked])
        filled = [pair for pair in zip(sources, targets, strict=True) if all(pair)]
        kept = [(s, t) for s, t in filled if max_length is None or max(len(s), len(t)) <= max_length]
        yield (
            kept,
            Counts(
                rows=len(block),
                kept=len(kept),
                empty=len(block) - len(filled),
                long=len(filled) - len(kept),
                source_tokens=sum(len(s) for s, _ in kept),
                target_tokens=sum(len(t) for _, t in kept),
                source_unknown=sum(tokenizer.unknown(s) for s, _ in kept),
                target_unknown=sum(tokenizer.unknown(t) for _, t in kept),
                masked=sum(len(pair.source.values) for pair in masked),
            ),
        )
