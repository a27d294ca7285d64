"""Word vectors as an object: neighbours, analogies, and tables for the stages that start from them.

Queries are gensim's: `Embeddings` makes a `KeyedVectors` over the same array when the first one is asked. Nothing else
here needs gensim, neither reading nor writing nor the tables.
"""

from __future__ import annotations

import difflib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, compress, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from nlpseq.artefact import MANIFEST, load, read_manifest
from nlpseq.cards import catalogue
from nlpseq.corpora import corpus_file
from nlpseq.errors import ArtefactError, CorpusError, UsageError, sentence
from nlpseq.placeholders import normalise
from nlpseq.vector_files import Format, Matrix, read_vectors, write_vectors

if TYPE_CHECKING:
    import torch

__all__ = ["STAGE", "Coverage", "Embeddings", "StoredVectors", "from_files", "to_files"]

STAGE = "embed"
_AT_ONCE = 65536  # words looked up together
_WORD_START = "\u2581"  # which SentencePiece writes before the first unit of a word
Neighbours = list[tuple[str, float]]


class StoredVectors(NamedTuple):
    """What a model folder holds: V words, vectors (V, E), and how often each word was seen."""

    words: list[str]
    vectors: Matrix
    counts: npt.NDArray[np.int64] | None = None


class Coverage(NamedTuple):
    """How many of a list of tokens have a vector, and by which form: their own, lowercase, or `[NUM]` and `[URL]`."""

    tokens: int
    exact: int
    lowercase: int
    placeholder: int

    @property
    def found(self) -> int:
        """Tokens that have a vector."""
        return self.exact + self.lowercase + self.placeholder

    @property
    def percent(self) -> float:
        """The share of tokens that have a vector, in per cent."""
        return 100 * self.found / max(self.tokens, 1)

    def told(self, kind: str) -> str:
        """Return the share as a sentence without its full stop, a warning where it is under 40 %; kind: of the tokens.

        Of subwords a third may be found among whole words: the pieces that happen to be words or letters.
        """
        share = f"{self.found:,} of {self.tokens:,} {kind} ({self.percent:.1f} %) have a given vector"
        if self.percent >= 40:
            return share
        return f"warning: only {share} (are they of other units, or with capitals where these are lowercase?)"


class Embeddings:
    """`Embeddings.load(dir).nearest("king")`; words keep their order, by falling frequency in what nlpseq writes.

    words: V distinct words; vectors: (V, E), held as float32 and read-only; counts: (V,), how often each was seen;
    facts: what else is known. Raises UsageError where sizes differ, words repeat or a number is not finite.
    """

    def __init__(
        self,
        words: Sequence[str],
        vectors: npt.ArrayLike,
        counts: npt.ArrayLike | None = None,
        *,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.words = tuple(words)
        self.vectors = np.asarray(vectors, np.float32).view()
        self.counts = None if counts is None else np.asarray(counts, np.int64)
        self.facts = dict(facts or {})
        self._places = {word: place for place, word in enumerate(self.words)}
        size = len(self.words)
        if not size or self.vectors.ndim != 2 or len(self.vectors) != size or not self.vectors.shape[1]:
            raise UsageError(sentence("vectors", f"be a row for each of {size:,} words", str(self.vectors.shape)))
        if self.counts is not None and self.counts.shape != (size,):
            raise UsageError(sentence("counts", f"be one for each of {size:,} words", str(self.counts.shape)))
        if len(self._places) < size:
            raise UsageError(sentence("words", "be distinct", f"{size - len(self._places):,} repeated", quote=False))
        if not np.isfinite(self.vectors).all():
            raise UsageError(sentence("vectors", "be finite", "not", quote=False))
        self.vectors.flags.writeable = False

    @classmethod
    def load(cls, path: str | Path) -> Embeddings:
        """Return the embeddings in a folder of `nlpseq embed train`, or in a word2vec or GloVe file.

        path: the folder or the file (see `read_vectors`), a folder with one such file alone, or the name of a corpus
        that is one (`glove_6b_100d_top100k`). `facts` has the folder's facts, or `format` and `repeated`, the rows of a
        file that were left out because their word had come before. Raises ArtefactError for a damaged folder,
        CorpusError for a file that cannot be read.
        """
        path = Path(path).expanduser()
        if (path / MANIFEST).exists():
            artefact = load(path, STAGE)
            stored = from_files(artefact.files, str(path))
            return cls(stored.words, stored.vectors, stored.counts, facts=artefact.facts)
        read = read_vectors(_file(path))
        return cls(read.words, read.vectors, facts={"format": read.format, "repeated": read.repeated})

    @classmethod
    def join(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """Return embeddings with the vectors of two or more side by side, (V, E1 + E2 + …), as a network reads them.

        words: those of the first, then of each further one those that are new. Each part is asked for a word as in
        `lookup` (so `Paris` has a lowercased part's vector of `paris`) and gives zeros where it has none; what
        `init_table` draws is the narrower for them. Numbers of further parts are scaled to the deviation of the
        first's, or one would count for more than another. `facts["joined"]` has for each part its `size`, by what it
        was scaled, and how many `words` it has a vector for. Raises UsageError for fewer than two or other things.
        """
        if strangers := [part for part in parts if not isinstance(part, Embeddings)]:
            raise UsageError(sentence("parts", "be Embeddings (Embeddings.load reads a path)", str(strangers[0])))
        if len(parts) < 2:
            raise UsageError(sentence("parts", "be two or more", len(parts)))
        words = list(dict.fromkeys(chain.from_iterable(part._seen_words() for part in parts)))
        ends = np.cumsum([0, *(part.vector_size for part in parts)]).tolist()
        matrix = np.empty((len(words), ends[-1]), np.float32)
        widths = [float(part._seen().std()) for part in parts]
        joined = []
        for part, width, (start, end) in zip(parts, widths, pairwise(ends), strict=True):
            scale = widths[0] / width if widths[0] and width else 1.0
            found = 0
            for row in range(0, len(words), _AT_ONCE):  # what is looked up at once is copied twice
                block, has_vector = part.lookup(words[row : row + _AT_ONCE])
                np.multiply(block, np.float32(scale), out=matrix[row : row + len(block), start:end])
                found += int(has_vector.sum())
            joined.append({"size": part.vector_size, "scaled": scale, "words": found})
        return cls(words, matrix, facts={"joined": joined})

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._places

    def __getitem__(self, word: str) -> Matrix:
        """Return the vector of a word, (E,) and read-only; raises UsageError for one that has none."""
        if word not in self:
            raise self._unknown(word)
        vector: Matrix = self.vectors[self._places[word]]
        return vector

    @property
    def vector_size(self) -> int:
        """Numbers in a vector, E."""
        return int(self.vectors.shape[1])

    @cached_property
    def keyed_vectors(self) -> Any:
        """The vectors as gensim's `KeyedVectors`, for all that it can do; the array is the same and read-only."""
        from gensim.models import KeyedVectors

        keyed = KeyedVectors(self.vector_size)
        keyed.index_to_key = list(self.words)
        keyed.key_to_index = self._places.copy()
        keyed.next_index = len(self)
        keyed.vectors = self.vectors
        if self.counts is not None:
            keyed.expandos["count"] = self.counts
        keyed.fill_norms()
        keyed.norms[keyed.norms == 0] = 1  # a vector of zeros is near to nothing, and no division by zero
        return keyed

    def nearest(self, word: str | Matrix, count: int = 10) -> Neighbours:
        """Return the `count` words nearest to a word, itself left out, with the cosine of each, nearest first.

        word: a word, in a form that has a vector as in `lookup`, of units also the one that begins a word (`▁king`); or
        any vector (E,). Raises UsageError, with the nearest spellings, for a word without a vector.
        """
        if isinstance(word, str):
            word = self._meant(word)
        elif np.shape(word) != (self.vector_size,):
            raise UsageError(sentence("word", f"be a word or a vector of {self.vector_size}", str(np.shape(word))))
        return self._similar([word], [], count)

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> Neighbours:
        """Return the `count` likeliest answers to "a is to b as c is to …", with the cosine of each, likeliest first.

        `analogy("man", "king", "woman")` looks for queen: the words nearest to king - man + woman, of unit vectors,
        those three left out (3CosAdd, Mikolov et al. 2013). Words are taken, and refused, as in `nearest`.
        """
        a, b, c = map(self._meant, (a, b, c))
        return self._similar([b, c], [a], count)

    def similarity(self, a: str, b: str) -> float:
        """Return the cosine between two words, -1 to 1; they are taken, and refused, as in `nearest`."""
        a, b = map(self._meant, (a, b))
        return float(self.keyed_vectors.cosine_similarities(self[a], self[b][None])[0])

    def _similar(self, positive: Sequence[str | Matrix], negative: Sequence[str], count: int) -> Neighbours:
        if count < 1:
            raise UsageError(sentence("count", "be 1 or more", count))
        found = self.keyed_vectors.most_similar(list(positive), list(negative), topn=count)
        return [(str(word), float(cosine)) for word, cosine in found]

    def lookup(self, tokens: Sequence[str]) -> tuple[Matrix, npt.NDArray[np.bool_]]:
        """Return the vectors of tokens (N, E), zeros where there is none, and which have one (N,).

        A token is looked up as it is, then in lowercase, then as `[NUM]` or `[URL]` where it is a number or a link.
        """
        matrix, found, _ = self._lookup(tokens)
        return matrix, found

    def init_table(self, tokens: Sequence[str], generator: torch.Generator) -> tuple[torch.Tensor, Coverage]:
        """Return a table (N, E) float32 to start an embedding layer from, and how many tokens it covers.

        tokens: N tokens, found as in `lookup`; generator: on the CPU, draws the rows of those that are not, each of
        their E numbers by the normal distribution with the mean and the deviation that it has over all vectors.
        """
        import torch

        matrix, found, coverage = self._lookup(tokens)
        drawn = torch.randn(len(tokens) - coverage.found, self.vector_size, generator=generator).numpy()
        known = self._seen()
        matrix[~found] = known.mean(0, np.float64) + known.std(0, np.float64) * drawn
        return torch.from_numpy(matrix), coverage

    def _seen(self) -> Matrix:
        """Return the vectors without those of units that never stood in the text, which were never trained."""
        return self.vectors if self.counts is None else self.vectors[self.counts > 0]

    def _seen_words(self) -> Iterator[str]:
        return iter(self.words) if self.counts is None else compress(self.words, self.counts > 0)

    def _lookup(self, tokens: Sequence[str]) -> tuple[Matrix, npt.NDArray[np.bool_], Coverage]:
        hits = [self._hit(token) for token in tokens]
        if self.counts is not None:  # a unit that never stood in the text has a row that was never trained
            hits = [hit if hit and self.counts[hit[1]] else None for hit in hits]
        ranks = [hit and hit[0] for hit in hits]
        found = np.array([hit is not None for hit in hits], np.bool_)
        matrix = np.zeros((len(tokens), self.vector_size), np.float32)
        matrix[found] = self.vectors[[hit[1] for hit in hits if hit]]
        return matrix, found, Coverage(len(tokens), ranks.count(0), ranks.count(1), ranks.count(2))

    def _hit(self, token: str) -> tuple[int, int] | None:
        """Return which form of a token has a vector (0 its own, 1 lowercase, 2 placeholder), and its row."""
        forms: tuple[Callable[[str], str], ...] = (str, str.lower, _placeholder)
        for rank, form in enumerate(forms):
            if (row := self._places.get(form(token))) is not None:
                return rank, row
        return None

    def subset(self, words: Iterable[str]) -> Embeddings:
        """Return the embeddings of those of the words that have a vector, in their order here.

        So queries and evaluations can be held to a list of words. Raises UsageError where none has one.
        """
        wanted = set(words)
        rows = [place for place, word in enumerate(self.words) if word in wanted]
        counts = None if self.counts is None else self.counts[rows]
        return Embeddings([self.words[row] for row in rows], self.vectors[rows], counts, facts=self.facts)

    def export(self, path: str | Path, *, format: Format, replace: bool = False) -> int:
        """Write the vectors to a file for others, and return how many words had to change; see `write_vectors`."""
        counts = None if self.counts is None else self.counts.tolist()
        return write_vectors(path, self.words, self.vectors, format=format, counts=counts, replace=replace)

    def _meant(self, word: str) -> str:
        """Return the word with a vector that a query means; raises UsageError where there is none."""
        for form in (word, f"{_WORD_START}{word}"):
            if hit := self._hit(form):
                return self.words[hit[1]]
            if not word.strip():  # or a blank line would ask for the start of a word alone
                break
        raise self._unknown(word)

    def _unknown(self, word: str) -> UsageError:
        must = f"be one of the {len(self):,} words"
        if not word.strip():
            return UsageError(sentence("word", must, "blank", quote=False))
        near = ", ".join(f"`{other}`" for other in _nearest_spellings(word, self.words))
        return UsageError(sentence(word, must, f"none; nearest spellings: {near}" if near else "none", quote=False))


def _placeholder(token: str) -> str:
    """Return `[NUM]` or `[URL]` for a token that is a number or a link, else the token."""
    text = normalise(token).text
    return text if text in ("[NUM]", "[URL]") else token


def _nearest_spellings(word: str, words: Sequence[str]) -> list[str]:
    """Return up to three words that are spelt like one; difflib alone would take seconds for 400,000 words."""
    low = word.lower()
    pairs = {low[i : i + 2] for i in range(max(len(low) - 1, 1))}

    def shared(other: str) -> int:
        lower = other.lower()
        return sum(pair in lower for pair in pairs) - abs(len(other) - len(low))

    short = {other.lower(): other for other in reversed(heapq.nlargest(200, words, key=shared))}
    return [short[lower] for lower in difflib.get_close_matches(low, short, n=3)]


def _file(path: Path) -> Path:
    """Return the file of vectors that a path or the name of a corpus stands for."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        if len(files) != 1:
            read_manifest(path, STAGE)  # which says what a model's folder lacks
        return files[0]
    if not path.exists() and len(path.parts) == 1:
        for card in catalogue():
            if card.name == path.name and card.task == "vectors":
                return corpus_file(card.name, next(iter(card.artefacts)))
    if not path.exists():
        must = "be a folder of vectors, a file of them, or a corpus that is one"
        raise CorpusError(sentence(str(path), must, "none of these", quote=False))
    return path


def to_files(stored: StoredVectors) -> dict[str, bytes]:
    """Return the contents of a model folder's files by role: `vectors.safetensors` and `words.json`."""
    arrays = {"vectors": np.ascontiguousarray(stored.vectors, np.float32)}
    listed = {"words": stored.words, "counts": None if stored.counts is None else stored.counts.tolist()}
    text = json.dumps(listed, ensure_ascii=False).encode()
    return {"vectors.safetensors": safetensors.numpy.save(arrays), "words.json": text}


def from_files(files: Mapping[str, bytes], where: str) -> StoredVectors:
    """Return what `to_files` was given; where: the folder, for messages. Raises ArtefactError where it does not fit."""
    try:
        arrays = safetensors.numpy.load(files["vectors.safetensors"])
        listed = json.loads(files["words.json"])
        words, counts = listed["words"], listed["counts"]
        stored = StoredVectors(words, arrays["vectors"], None if counts is None else np.array(counts, np.int64))
        fits = len({*words}) == len(words) == len(stored.vectors) and stored.vectors.ndim == 2
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, safetensors.SafetensorError):
        fits = False
    if not fits:
        raise ArtefactError(sentence(where, "hold a vector for each of its words", "without", quote=False))
    return stored
