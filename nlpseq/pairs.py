"""Corpora of pairs as ids on disk: what the translator trains on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from nlpseq.artefact import write_file
from nlpseq.batches import Ragged, RaggedWriter, load_ragged
from nlpseq.corpora import Corpus, Split, load_corpus
from nlpseq.errors import ArtefactError, CorpusError, did_you_mean, sentence
from nlpseq.settings import PairConfig, TokenizerConfig
from nlpseq.tokenizer import Tokenizer, normalised, normalised_pair
from nlpseq.vocab import EOS

__all__ = [
    "Counts",
    "PairData",
    "encode_split",
    "language",
    "learn_tokenizer",
    "normalised_rows",
    "open_pairs",
    "texts",
]

_AT_ONCE = 2048  # rows encoded together
Told = Callable[[int], None]  # is told how many rows are done


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


def open_pairs(name: str, pair: PairConfig) -> tuple[Corpus, tuple[str, str]]:
    """Return a corpus and its source and target column: those asked for, else the corpus' own, else its first two.

    Raises CorpusError where a column is not there.
    """
    asked = (pair.source, pair.target)
    corpus = load_corpus(name, columns=(pair.source, pair.target) if pair.source and pair.target else None)
    present = list(next(iter(corpus.splits.values())).columns)
    own = next((p for p in corpus.pairs if all(a is None or a == c for a, c in zip(asked, p, strict=True))), None)
    rest = [column for column in own or present if column not in asked]
    source = pair.source or (rest.pop(0) if rest else "")
    target = pair.target or (rest.pop(0) if rest else "")
    for role, column in (("source", source), ("target", target)):
        if column not in present:
            must = f"be a column of {corpus.name} ({', '.join(present)})"
            found = f'"{column}"{did_you_mean(column, present)}' if column else "absent"
            raise CorpusError(sentence(role, must, found, quote=False))
    if source == target:
        raise CorpusError(sentence("target", "be another column than the source", target))
    if all(asked) or (corpus.card and corpus.card.source.kind == "generated"):  # which takes seconds
        return corpus, (source, target)
    if corpus.card is None:  # a file of one's own is cut into splits by the text of its source column
        corpus = load_corpus(name, columns=(source, target))
    return corpus, (source, target)


def language(column: str) -> str | None:
    """Return the language code that a column is named by, as in `fr` or `pt_BR`; None where it is no code."""
    return column[:2] if re.fullmatch(r"[a-z]{2}([_-]\w+)?", column) else None


def texts(split: Split, columns: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a split as raw text; what is absent (null) is empty."""
    source, target = columns
    for row in split:
        yield _text(row[source]), _text(row[target])


def _text(value: object) -> str:
    """Return the text of a cell: tokens joined by spaces, nothing for null."""
    return " ".join(value) if isinstance(value, list) else "" if value is None else str(value)


def normalised_rows(
    split: Split, columns: Sequence[str], config: TokenizerConfig, every: int = 1
) -> Iterator[list[str]]:
    """Yield the normalised texts of every so many rows: of one column, or of two that are a pair."""
    for row in islice(iter(split), 0, None, every):
        sides = [_text(row[column]) for column in columns]
        if len(sides) == 1:
            yield [normalised(sides[0], config).text]
        else:
            pair = normalised_pair(sides[0], sides[1], config, [language(column) for column in columns])
            yield [pair.source.text, pair.target.text]


def learn_tokenizer(split: Split, columns: Sequence[str], config: TokenizerConfig) -> Tokenizer:
    """Return a tokeniser for all columns, learnt from at most `config.sample` rows drawn evenly over the split."""
    every = max(1, -(-len(split) // config.sample))
    return Tokenizer.train((text for row in normalised_rows(split, columns, config, every) for text in row), config)


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

    max_length: pairs with a longer side (in tokens) are left out and counted, as are pairs with an empty side; None
    keeps all. backwards: the source's tokens are reversed. A split that has been written whole is not written again.
    """
    done = Path(f"{path}.json")
    if not done.exists():
        writers = RaggedWriter(Path(f"{path}.source")), RaggedWriter(Path(f"{path}.target"))
        totals = [0] * 9
        pairs = texts(split, columns)
        while block := list(islice(pairs, _AT_ONCE)):
            counted = _encode(
                block,
                tokenizer,
                languages=[language(column) for column in columns],
                writers=writers,
                max_length=max_length,
                backwards=backwards,
            )
            totals = [a + b for a, b in zip(totals, counted, strict=True)]
            told(totals[0])
        for writer in writers:
            writer.close()
        write_file(done, json.dumps(asdict(Counts(*totals))).encode())
    try:
        counts = Counts(**json.loads(done.read_bytes()))
    except (ValueError, TypeError):
        must = "be whole (--no-resume makes it anew)"
        raise ArtefactError(sentence(str(done), must, "damaged", quote=False)) from None
    return PairData(load_ragged(Path(f"{path}.source")), load_ragged(Path(f"{path}.target")), counts)


def _encode(
    block: Sequence[tuple[str, str]],
    tokenizer: Tokenizer,
    *,
    languages: Sequence[str | None],
    writers: tuple[RaggedWriter, RaggedWriter],
    max_length: int | None,
    backwards: bool,
) -> list[int]:
    masked = [normalised_pair(source, target, tokenizer.config, languages) for source, target in block]
    sources = tokenizer.encode_normalised([pair.source.text for pair in masked])
    targets = tokenizer.encode_normalised([pair.target.text for pair in masked])
    pairs = list(zip(sources, targets, strict=True))
    filled = [max_length is None or bool(s and t) for s, t in pairs]
    short = [max_length is None or max(len(s), len(t)) <= max_length for s, t in pairs]
    kept = [pair for pair, a, b in zip(pairs, filled, short, strict=True) if a and b]
    writers[0].write([[*(s[::-1] if backwards else s), EOS] for s, _ in kept])
    writers[1].write([[*t, EOS] for _, t in kept])
    return [
        len(block),
        len(kept),
        filled.count(False),
        sum(a and not b for a, b in zip(filled, short, strict=True)),
        sum(len(s) for s, _ in kept),
        sum(len(t) for _, t in kept),
        sum(tokenizer.unknown(s) for s, _ in kept),
        sum(tokenizer.unknown(t) for _, t in kept),
        sum(len(pair.source.values) for pair in masked),
    ]
