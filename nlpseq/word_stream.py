"""A corpus as one stream of word ids on disk: tokenised once, counted, in memory that hardly grows with the text.

One pass gives each word a provisional number in the order in which words appear, and writes the numbers; when all is
counted, the words that stay get their ids, commonest first, and the numbers become ids block by block. Words below the
minimum count are dropped from the stream, as word2vec does it: their neighbours move together, and there is no vector
for `[UNK]`. A document is the text of one row (of each column, where there is a pair).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nlpseq.artefact import read_table, write_table
from nlpseq.batches import Ragged, RaggedWriter, load_ragged
from nlpseq.corpora import Corpus, Split
from nlpseq.errors import ArtefactError, CorpusError, sentence
from nlpseq.pairs import normalised_rows, open_text
from nlpseq.readers import fault
from nlpseq.settings import EmbedConfig, TokenizerConfig, WordsConfig
from nlpseq.text import words
from nlpseq.tokenizer import Tokenizer

__all__ = ["Source", "WordStream", "open_source", "prepare_stream"]

HELD_EVERY = 1000  # of so many rows one is held out, where a corpus has no validation split
_MOST = 4_000_000  # different words that are counted at a time, about a gigabyte; beyond it the rarest are forgotten
_BLOCK = 1 << 20  # characters tokenised, and ids renumbered, at a time

Told = Callable[[int], None]  # is told how many rows are done
Ids = npt.NDArray[np.int32]


class Source(NamedTuple):
    """What is read of a corpus."""

    corpus: Corpus
    columns: tuple[str, ...]
    train: tuple[Split, ...]
    held: Split | None  # where absent, every thousandth row of `train` is held out

    @property
    def rows(self) -> int:
        """Rows that will be read."""
        return sum(map(len, self.train)) + (len(self.held) if self.held else 0)


@dataclass(frozen=True)
class WordStream:
    """Words by id with their counts in `train`, the ids of the training documents, and those of held-out ones."""

    words: tuple[str, ...]
    counts: npt.NDArray[np.int64]  # (V,)
    train: Ragged
    held: Ragged
    facts: Mapping[str, int]


class _Text(NamedTuple):
    text: str  # normalised
    held: bool


def open_source(config: EmbedConfig) -> Source:
    """Return what a configuration reads; CorpusError where corpus, column or split is not there."""
    corpus, columns = open_text(str(config.run.corpus), config.text, config.pair)
    names = tuple(dict.fromkeys(name.strip() for name in config.splits.split(",")))
    if corpus.whole is not None and "all" not in names and (different := _different(corpus.whole)) < 3:
        if names != ("train",) or sum(1 for _ in islice(corpus.whole.scan(), 3)) == 3:
            must = "have at least 3 different rows to be cut into train, validation and test"
            raise fault(corpus.name, must, f"has {different}", "--splits all reads every row instead")
        names = ("all",)  # one endless line, or two, cannot be cut into splits
    train = tuple(corpus.split(name) for name in names)
    own = "validation" in corpus.splits and not {"validation", "all"} & set(names)
    return Source(corpus, columns, train, corpus.split("validation") if own else None)


def _different(split: Split) -> int:
    """Return how many different rows there are, up to three; what cannot be read is different from all else."""
    seen = set()
    for record in split.scan():
        seen.add(str(record.row))
        if len(seen) == 3:
            break
    return len(seen)


def prepare_stream(source: Source, config: EmbedConfig, *, path: Path, told: Told) -> WordStream:
    """Return the stream of a corpus, memory-mapped, written to `<path>.*` unless it stands there whole.

    told: is told how many rows are done. Raises CorpusError for lines that cannot be read, and where fewer than two
    words, or no two neighbours, are left.
    """
    if (held := _held(path)) is not None:
        return held
    try:
        if config.tokenizer is None:
            _write_words(source, config.words, path=path, told=told)
        else:
            _write_units(source, Tokenizer.load(config.tokenizer), path=path, told=told)
    except BaseException:
        for left in path.parent.glob(f"{path.name}.*"):
            left.unlink()
        raise
    return _load(path)


def _held(path: Path) -> WordStream | None:
    """Return a stream that was written whole and is so still; None for any other."""
    try:
        return _load(path)
    except (TypeError, KeyError, ArtefactError):  # the first two for a table of another version
        return None


def _load(path: Path) -> WordStream:
    table = read_table(Path(f"{path}.json"))
    counts = np.array(table["counts"], np.int64)
    return WordStream(tuple(table["words"]), counts, *_both(path, load_ragged), table["facts"])


def _both(path: Path, make: Callable[[Path], Any]) -> tuple[Any, Any]:
    return make(Path(f"{path}.train")), make(Path(f"{path}.held"))


def _write_words(source: Source, config: WordsConfig, *, path: Path, told: Told) -> None:
    normal = TokenizerConfig(units="word", lowercase=config.lowercase, numbers=config.numbers, links=config.links)
    raw = Path(f"{path}.raw")
    fresh = count()
    numbers: defaultdict[str, int] = defaultdict(fresh.__next__)
    counts = np.zeros(0, np.int64)
    train, held = writers = _both(raw, RaggedWriter)
    for block in _blocks(_documents(source, normal, told)):
        found = [(_numbered(one.text, numbers), one.held) for one in block]
        train.write(rows := [ids for ids, is_held in found if not is_held])
        held.write([ids for ids, is_held in found if is_held])
        counts = _added(counts, rows)
        if len(numbers) > _MOST:
            _forget_the_rarest(numbers, counts)
    for writer in writers:
        writer.close()
    counts = np.concatenate([counts, np.zeros(next(fresh) - len(counts), np.int64)])  # of words held out alone
    kept = _kept(numbers, counts, config)
    ids = np.full(len(counts), -1, np.int32)
    ids[kept] = np.arange(len(kept))
    names = {number: word for word, number in numbers.items()}
    facts = {"words_read": int(counts.sum()), "words_dropped": int(counts.sum() - counts[kept].sum())}
    for part, into in zip(_both(raw, Path), _both(path, Path), strict=True):
        _renumber(part, ids, into)
    _finish(path, [names[number] for number in kept.tolist()], counts[kept], facts)
    for left in path.parent.glob(f"{raw.name}.*"):
        left.unlink()


def _write_units(source: Source, tokenizer: Tokenizer, *, path: Path, told: Told) -> None:
    counts = np.zeros(len(tokenizer), np.int64)
    train, held = writers = _both(path, RaggedWriter)
    for block in _blocks(_documents(source, tokenizer.config, told)):
        encoded = tokenizer.encode_normalised([one.text for one in block])
        train.write(rows := [ids for ids, one in zip(encoded, block, strict=True) if not one.held])
        held.write([ids for ids, one in zip(encoded, block, strict=True) if one.held])
        counts = _added(counts, rows)
    for writer in writers:
        writer.close()
    if (counts > 0).sum() < 2:
        raise _too_few("have at least two different units", int((counts > 0).sum()))
    _finish(path, tokenizer.units(range(len(tokenizer))), counts, {"words_read": int(counts.sum()), "words_dropped": 0})


def _documents(source: Source, config: TokenizerConfig, told: Told) -> Iterator[_Text]:
    """Yield the normalised text of every row and column; the validation split last."""
    done = 0
    for split in (*source.train, *([source.held] if source.held else [])):
        for row, texts in enumerate(normalised_rows(split, source.columns, config), 1):
            held = split is source.held or (source.held is None and row % HELD_EVERY == HELD_EVERY // 2)
            yield from (_Text(text, held) for text in texts if text.strip())  # a blank line is no document
            done += 1
            if done % 256 == 0:
                told(done)
    told(done)


def _blocks(texts: Iterable[_Text]) -> Iterator[list[_Text]]:
    """Yield texts in groups of about _BLOCK characters."""
    block: list[_Text] = []
    size = 0
    for one in texts:
        block.append(one)
        size += len(one.text)
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    yield block


def _numbered(text: str, numbers: defaultdict[str, int]) -> Ids:
    """Return the provisional numbers of a text's words, new ones for words that are new."""
    pieces = (words(piece) for piece in _pieces(text))
    ids = [np.fromiter(map(numbers.__getitem__, piece), np.int32, len(piece)) for piece in pieces]
    return np.concatenate(ids) if ids else np.empty(0, np.int32)


def _pieces(text: str) -> Iterator[str]:
    """Cut at spaces: the words of one endless line would take more memory than all the rest."""
    start = 0
    while start < len(text):
        end = text.find(" ", start + _BLOCK) + 1 or len(text)
        yield text[start:end]
        start = end


def _added(counts: npt.NDArray[np.int64], rows: Iterable[Any]) -> npt.NDArray[np.int64]:
    ids = [np.empty(0, np.int32), *(np.asarray(row, np.int32) for row in rows)]  # an empty list would be of floats
    found = np.bincount(np.concatenate(ids), minlength=len(counts))
    found[: len(counts)] += counts
    return found


def _forget_the_rarest(numbers: defaultdict[str, int], counts: npt.NDArray[np.int64]) -> None:
    """Forget words until half of the room is free, as word2vec does; one that comes again is counted from nothing."""
    least = 1
    while len(numbers) > _MOST // 2:
        for word in [w for w, n in numbers.items() if n >= len(counts) or counts[n] <= least]:
            del numbers[word]
        least += 1


def _kept(numbers: Mapping[str, int], counts: npt.NDArray[np.int64], config: WordsConfig) -> npt.NDArray[np.int64]:
    """Return the provisional numbers of the words that stay, commonest first, equally common ones by code points."""
    common = [(-int(counts[n]), word, n) for word, n in numbers.items() if counts[n] >= config.min_count]
    common.sort()
    if len(common) < 2:
        must = f"have at least two different words that stand there {config.min_count} times or more (min_count)"
        raise _too_few(must, len(common))
    return np.array([n for _, _, n in common[: config.max_words]], np.int64)


def _too_few(must: str, number: int) -> CorpusError:
    return CorpusError(sentence("train", must, "with one alone" if number else "without any", quote=False))


def _renumber(raw: Path, ids: Ids, path: Path) -> None:
    """Write provisional numbers as ids, without the words that have none."""
    offsets, writer = load_ragged(raw).offsets, RaggedWriter(path)
    start = 0
    with open(f"{raw}.ids", "rb") as file:  # and not memory-mapped: the pages would count as memory of ours
        while start < len(offsets) - 1:
            base = int(offsets[start])
            end = max(start + 1, int(np.searchsorted(offsets, base + _BLOCK, "right")) - 1)
            block = ids[np.fromfile(file, np.int32, int(offsets[end]) - base)]
            rows: list[Any] = np.split(block, offsets[start + 1 : end] - base)
            writer.write([row[row >= 0] for row in rows])
            start = end
    writer.close()


def _finish(path: Path, names: list[str], counts: npt.NDArray[np.int64], facts: dict[str, int]) -> None:
    train, held = _both(path, load_ragged)
    if train.lengths.max(initial=0) < 2:
        raise CorpusError(sentence("train", "have a row of two words or more", "without one", quote=False))
    facts |= {
        "documents": len(train),
        "words": len(train.ids),
        "held_documents": len(held),
        "held_words": len(held.ids),
    }
    table = {"words": names, "counts": counts.tolist(), "facts": facts}
    write_table(Path(f"{path}.json"), table)
