"""Tagged sentences as ids on disk: what the tagger trains on, and the lexicon that makes them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from unicodedata import normalize

from nlpseq.artefact import read_table, write_table
from nlpseq.batches import Ragged, RaggedWriter, load_ragged
from nlpseq.errors import ArtefactError, CorpusError, sentence
from nlpseq.placeholders import normalise
from nlpseq.readers import column_names
from nlpseq.tagged import Sentence, Tally, pieces
from nlpseq.tags import OUTSIDE, iobes_tags, to_tags
from nlpseq.vocab import NUM, SPECIALS, UNK, URL, Vocabulary

__all__ = ["Lexicon", "TagCounts", "TaggedData", "build_lexicon", "encode_tagged", "split_up", "unknown_type"]

_LETTERS = 40  # characters that are read of a word: of a longer one as many from its start as from its end
_AT_ONCE = 2048  # sentences written together
_PLACEHOLDERS = {"[NUM]": NUM, "[URL]": URL}


@dataclass(frozen=True)
class TagCounts:
    """What became of the rows of a split."""

    rows: int = 0
    sentences: int = 0  # with the pieces of those that were cut
    empty: int = 0
    cut: int = 0
    illegal: int = 0
    tokens: int = 0
    unknown: int = 0
    entities: int = 0
    missed: int = 0  # of types that the training split does not have

    def describe(self) -> dict[str, float | int]:
        """Return the counts and the share of `[UNK]`, in percent."""
        return asdict(self) | {"unknown_percent": round(100 * self.unknown / max(1, self.tokens), 3)}


class Lexicon:
    """What turns tokens into ids: words, characters and types of entities.

    words: the special tokens, the words of the training split, then those that only the given vectors know; counts: how
    often each of the first was seen; characters: likewise; entities: by type, the names in the training split.
    """

    def __init__(
        self,
        words: Sequence[str],
        counts: Sequence[int],
        characters: Sequence[str],
        entities: Mapping[str, Sequence[str]],
    ) -> None:
        self.words = Vocabulary(words)
        self.counts = tuple(counts)
        self.characters = Vocabulary(characters)
        self.entities = {kind: frozenset(names) for kind, names in entities.items()}
        self.tags = iobes_tags(entities)
        self._rows = {word: row for row, word in enumerate(words) if word not in SPECIALS}  # nobody types those
        self._places = {tag: place for place, tag in enumerate(self.tags)}

    @property
    def trained(self) -> int:
        """How many rows of words, from the first, the training split has."""
        return len(self.counts)

    def row(self, token: str) -> int:
        """Return the row of a token: as it stands, in lowercase, as `[NUM]` or `[URL]`, else that of `[UNK]`."""
        token = normalize("NFC", token)
        found = self._rows.get(token)
        if found is None:
            found = self._rows.get(token.lower())
        return _PLACEHOLDERS.get(placeholder(token), UNK) if found is None else found

    def saw(self, token: str) -> bool:
        """Return whether the training split has a word in one of the forms that it is looked up by."""
        row = self.row(token)
        return row != UNK and row < self.trained and self.counts[row] > 0

    def spelling(self, token: str) -> list[int]:
        """Return a token's row and the ids of its characters, at least one."""
        token = normalize("NFC", token)
        read = token if len(token) <= _LETTERS else token[: _LETTERS // 2] + token[-_LETTERS // 2 :]
        return [self.row(token), *self.characters.encode(read)]

    def tag_ids(self, one: Sentence) -> list[int]:
        """Return the ids of a sentence's tags: `O` for a type that the training split did not have."""
        outside = self._places[OUTSIDE]
        return [self._places.get(tag, outside) for tag in to_tags(one.entities, len(one.tokens), "iobes")]

    def file(self) -> bytes:
        """Return what `from_file` reads."""
        stored = {
            "words": self.words.words,
            "counts": self.counts,
            "characters": self.characters.words,
            "entities": {kind: sorted(names) for kind, names in sorted(self.entities.items())},
        }
        return json.dumps(stored, ensure_ascii=False).encode("utf-8", "surrogatepass")

    @classmethod
    def from_file(cls, content: bytes, where: str) -> Lexicon:
        """Return the lexicon that `file` gave; ArtefactError where it is none; where: the folder, for messages."""
        try:
            stored: dict[str, Any] = json.loads(content)
            return cls(stored["words"], stored["counts"], stored["characters"], stored["entities"])
        except (KeyError, ValueError, TypeError, AttributeError):
            raise ArtefactError(sentence(where, "hold a lexicon", "without one", quote=False)) from None


def placeholder(token: str) -> str:
    """Return `[NUM]` or `[URL]` for a token that is a number or a link, else one that is no word."""
    text = normalise(token).text
    return text if text in _PLACEHOLDERS else ""


def build_lexicon(read: Iterable[Sentence], known: Sequence[str] = (), extra: int | None = None) -> Lexicon:
    """Return the lexicon of a training split.

    known: the words that have a given vector, by which tokens go in the first form that is among them; extra: how many
    of them are kept that the split does not have, all where None. Other tokens go in lowercase, or as a placeholder.
    """
    tokens: Counter[str] = Counter()
    names: dict[str, set[str]] = {}
    for one in read:
        tokens.update(normalize("NFC", token) for token in one.tokens)
        for entity in one.entities:
            names.setdefault(entity.type, set()).add(" ".join(one.tokens[entity.start : entity.end]))
    given = set(known).difference(SPECIALS)
    words: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for token, count in tokens.items():
        words[_form(token, given)] += count
        characters.update(dict.fromkeys(token, count))
    own = Vocabulary.build(words, max_size=len(words) + len(SPECIALS)).words
    seen = set(own)
    further = list(islice((word for word in known if word not in seen), extra))
    letters = Vocabulary.build(characters, max_size=len(characters) + len(SPECIALS)).words
    return Lexicon([*own, *further], [words[word] for word in own], letters, _sorted(names))


def _sorted(names: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {kind: sorted(found) for kind, found in sorted(names.items())}


def _form(token: str, given: set[str]) -> str:
    """Return the form of a token that has a given vector, else the one that it is learnt by."""
    for form in (token, token.lower()):
        if form in given:
            return form
    return placeholder(token) or token.lower()


@dataclass(frozen=True)
class TaggedData:
    """A split as ids: sentences as numbers of spellings; their tags; each spelling as its word's row, then letters."""

    words: Ragged
    tags: Ragged
    spellings: Ragged
    counts: TagCounts


def split_up(one: Sentence, longest: int) -> Iterator[Sentence]:
    """Yield a sentence in pieces of at most `longest` tokens; an entity that is cut becomes two."""
    cuts = pieces(one.tokens, longest)
    for start, end in pairwise(cuts):
        inside = [e for e in one.entities if e.start < end and e.end > start]
        moved = [e._replace(start=max(e.start, start) - start, end=min(e.end, end) - start) for e in inside]
        yield Sentence(one.tokens[start:end], moved)


def encode_tagged(
    stream: Iterator[Sentence], tally: Tally, *, lexicon: Lexicon, path: Path, longest: int
) -> TaggedData:
    """Write sentences as ids to `<path>.*` and return them memory-mapped.

    tally: what is counted while they are read; longest: sentences with more tokens are cut. A split that has been
    written whole is not read again. Entities of a type that the lexicon does not have are `O` and counted.
    """
    if (held := _held(path)) is not None:
        return held
    writers = RaggedWriter(Path(f"{path}.words")), RaggedWriter(Path(f"{path}.tags"))
    numbers: dict[str, int] = {}
    totals: Counter[str] = Counter()
    while block := list(islice(stream, _AT_ONCE)):
        parts = [part for one in block for part in split_up(one, longest)]
        totals["cut"] += sum(len(one.tokens) > longest for one in block)
        totals["entities"] += sum(len(one.entities) for one in block)
        totals["missed"] += sum(entity.type not in lexicon.entities for one in block for entity in one.entities)
        writers[0].write([[numbers.setdefault(token, len(numbers)) for token in part.tokens] for part in parts])
        writers[1].write([lexicon.tag_ids(part) for part in parts])
        totals["sentences"] += len(parts)
        totals["tokens"] += sum(len(part.tokens) for part in parts)
        totals["unknown"] += sum(lexicon.row(token) == UNK for part in parts for token in part.tokens)
    spellings = RaggedWriter(Path(f"{path}.spellings"))
    spellings.write([lexicon.spelling(token) for token in numbers])
    for writer in (*writers, spellings):
        writer.close()
    counts = TagCounts(rows=tally.rows, empty=tally.empty, illegal=tally.illegal, **totals)
    table = asdict(counts)
    write_table(Path(f"{path}.json"), table)
    return _load(path, counts)


def unknown_type(kind: str, lexicon: Lexicon, place: str) -> CorpusError:
    """Return what is said of a type of entities that the training split did not have."""
    must = f"be of the types of the training ({column_names(sorted(lexicon.entities))})"
    return CorpusError(sentence("tags", must, kind, f"{place}; --illegal repair counts such entities as missed"))


def _load(path: Path, counts: TagCounts) -> TaggedData:
    words, tags, spellings = (load_ragged(Path(f"{path}.{name}")) for name in ("words", "tags", "spellings"))
    return TaggedData(words, tags, spellings, counts)


def _held(path: Path) -> TaggedData | None:
    """Return a split that was written whole and is so still; None for any other."""
    try:
        table = read_table(Path(f"{path}.json"))
        data = _load(path, TagCounts(**table))
        same = len(data.words) == len(data.tags) == data.counts.sentences
        return data if same and len(data.words.ids) == len(data.tags.ids) == data.counts.tokens else None
    except (TypeError, ArtefactError):  # the first for counts of another version
        return None
