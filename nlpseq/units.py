"""What a language model writes in: code points, bytes, or the words and subwords of a tokeniser.

Ids 0 to 5 are the special tokens, as in every stage; `<eos>` ends a document, and is a line break in text.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, takewhile
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nlpseq.errors import ArtefactError, CorpusError, sentence
from nlpseq.tokenizer import Tokenizer, normalised
from nlpseq.vocab import EOS, NUM, SPECIALS, UNK

__all__ = ["Characters", "TokenUnits", "Units", "continued", "pieces", "units_from_files"]

Ids = npt.NDArray[np.int32]

_FIRST = len(SPECIALS)  # id of the first character
_FILE = "units.json"
_TAIL, _LONGEST_TAIL = 64, 512  # units of a line that are spaced together; with a quotation open
_ROOM = 1 << 20  # characters that are turned into numbers at once


class Units(Protocol):
    """The way from text to ids and back."""

    @property
    def noun(self) -> str:
        """What one of them is called: character, byte, word or subword."""

    @property
    def whole(self) -> bool:
        """Whether a text is one document as it stands; else each of its lines that is not blank is one."""

    def __len__(self) -> int:
        """Return the size of the vocabulary, special tokens included."""

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text, without `<eos>`."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return each unit as it can be shown."""

    def files(self) -> dict[str, bytes]:
        """Return the contents of their files, by role in a model folder."""


class Characters:
    """Code points, those of the training text or all bytes."""

    whole = True

    def __init__(self, alphabet: str | None) -> None:
        """alphabet: the code points; None: the 256 bytes."""
        self.alphabet = None if alphabet is None else "".join(sorted(set(alphabet)))
        self._codes = np.arange(256) if alphabet is None else _codes(self.alphabet or "")

    @classmethod
    def learn(cls, texts: Iterable[str], *, min_count: int) -> Characters:
        """Return the code points that stand in the texts at least `min_count` times; CorpusError where none does."""
        counts: Counter[int] = Counter()
        for part in (part for text in texts for part in _parts(text)):
            found, times = np.unique(_codes(part), return_counts=True)
            counts.update(dict(zip(found.tolist(), times.tolist(), strict=True)))
        alphabet = "".join(chr(code) for code, count in counts.items() if count >= min_count)
        if not alphabet:
            raise CorpusError(sentence("train", "have text to learn characters from", "empty", quote=False))
        return cls(alphabet)

    @property
    def noun(self) -> str:
        """What one of them is called."""
        return "byte" if self.alphabet is None else "character"

    def __len__(self) -> int:
        return _FIRST + len(self._codes)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text, `[UNK]` for characters that the training text does not have."""
        return [np.concatenate([self._encode(part) for part in _parts(text)]) for text in texts]

    def _encode(self, text: str) -> Ids:
        if self.alphabet is None:
            content = text.encode("utf-8", "surrogateescape")  # how `lm_text` reads bytes that are not UTF-8
            return np.frombuffer(content, np.uint8).astype(np.int32) + _FIRST
        codes = _codes(text)
        places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        ids: Ids = np.where(self._codes[places] == codes, _FIRST + places, UNK).astype(np.int32)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; bytes that are not UTF-8, and `[UNK]`, become U+FFFD."""
        if self.alphabet is None:
            return _bytes(ids).decode("utf-8", "replace")
        shown = {EOS: "\n"}
        letters = self.alphabet
        return "".join(letters[n - _FIRST] if n >= _FIRST else shown.get(n, "\ufffd") for n in ids)

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return each unit as it can be shown: a character, a byte as 0x0a, or a special token."""
        if self.alphabet is None:
            return [f"0x{n - _FIRST:02x}" if n >= _FIRST else SPECIALS[n] for n in ids]
        return [self.alphabet[n - _FIRST] if n >= _FIRST else SPECIALS[n] for n in ids]

    def files(self) -> dict[str, bytes]:
        """Return the contents of their files, by role in a model folder."""
        return {_FILE: json.dumps({"alphabet": self.alphabet}).encode()}


class TokenUnits:
    """The words or subwords of a tokeniser; a document is a line, since they have no unit for its end."""

    whole = False

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    @property
    def noun(self) -> str:
        """What one of them is called."""
        return "word" if self.tokenizer.config.units == "word" else "subword"

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text."""
        masked = [normalised(text, self.tokenizer.config).text for text in texts]
        return [np.asarray(ids, np.int32) for ids in self.tokenizer.encode_normalised(masked)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, a line for each document."""
        parts = ((inside, list(group)) for inside, group in groupby(ids, lambda number: number != EOS))
        return "".join(self.tokenizer.decode(part) if inside else "\n" * len(part) for inside, part in parts)

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return each unit as it is written in the vocabulary."""
        return self.tokenizer.units(ids)

    def files(self) -> dict[str, bytes]:
        """Return the contents of their files, by role in a model folder."""
        return self.tokenizer.files()


def continued(units: Units, start: Sequence[int], ids: Sequence[int]) -> str:
    """Return the text of ids behind others; start: the ids before them."""
    if units.whole:
        return units.decode(ids)
    line = _line(start)
    return _behind(units.decode([*line, *ids]), _signs(units.decode(line)))


def pieces(units: Units, start: Sequence[int], ids: Iterable[int]) -> Iterator[str]:
    """Yield the text of ids behind others, piece by piece as it is certain.

    start: the ids before them. Of a character of several bytes all are waited for; of words those are yielded whose
    spaces no later word can move, as a quotation mark does.
    """
    if units.noun == "byte":
        yield from _characters(ids)
    elif units.whole:
        yield from (units.decode([number]) for number in ids)
    else:
        yield from _words(units, _line(start), ids)


def _characters(ids: Iterable[int]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    yield from (decoder.decode(_bytes([number])) for number in ids)
    yield decoder.decode(b"", final=True)


def _bytes(ids: Iterable[int]) -> bytes:
    return bytes(number - _FIRST if number >= _FIRST else 10 if number == EOS else 255 for number in ids)


def _words(units: Units, line: list[int], ids: Iterable[int]) -> Iterator[str]:
    quote = [int(number) for number in units.encode(["'"])[0]]
    done = _signs(units.decode(line))  # signs of the line that are out: spaces move, signs do not
    for number in ids:
        line.append(number)
        if number == EOS:
            yield _behind(units.decode(line), done)
            line, done = [], 0
            continue
        texts = [units.decode([*line, *further]) for further in ([], quote, [NUM])]
        piece = _behind(_shared(texts).rpartition(" ")[0], done)
        yield piece
        done += _signs(piece)
        if len(line) > _TAIL:
            line, done = _shortened(units, line, done)
    yield _behind(units.decode(line), done)


def _shortened(units: Units, line: list[int], done: int) -> tuple[list[int], int]:
    """Return the end of a line whose beginning is out, unless a quotation that began there is still open."""
    cut = len(line) - _TAIL // 2
    names = units.names(line[:cut])
    before = _signs(units.decode(line)) - _signs(units.decode(line[cut:]))
    still_open = any(names.count(mark) % 2 for mark in ("'", '"'))
    if before >= done or (still_open and len(line) < _LONGEST_TAIL):
        return line, done
    return line[cut:], done - before


def _shared(texts: Sequence[str]) -> str:
    """Return what all texts begin with."""
    alike = (len(set(signs)) == 1 for signs in zip(*texts, strict=False))
    return texts[0][: sum(takewhile(bool, alike))]


def _line(ids: Sequence[int]) -> list[int]:
    """Return the ids behind the last end of a document."""
    return list(ids[len(ids) - [*ids[::-1], EOS].index(EOS) :])


def _signs(text: str) -> int:
    """Return how many characters of a text are no spaces."""
    return len("".join(text.split()))


def _behind(text: str, signs: int) -> str:
    """Return what stands behind so many characters that are no spaces."""
    places = [place for place, sign in enumerate(text) if not sign.isspace()]
    return text if not signs else text[places[signs - 1] + 1 :] if signs <= len(places) else ""


def units_from_files(files: Mapping[str, bytes], where: str) -> Units:
    """Return the units whose files `files()` gave; where: the folder, for messages. Raises ArtefactError."""
    if _FILE not in files:
        return TokenUnits(Tokenizer.from_files(files, where))
    try:
        stored: dict[str, Any] = json.loads(files[_FILE])
        alphabet = stored["alphabet"]
        if alphabet is not None and not (isinstance(alphabet, str) and alphabet):
            raise ValueError
    except (KeyError, ValueError, TypeError):
        raise ArtefactError(
            sentence(where, f"hold units as nlpseq wrote them ({_FILE})", "others", quote=False)
        ) from None
    return Characters(alphabet)


def _parts(text: str) -> list[str]:
    """Return the text in parts: as numbers it takes many times the room."""
    return [text[start : start + _ROOM] for start in range(0, max(1, len(text)), _ROOM)]


def _codes(text: str) -> npt.NDArray[np.int64]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64)
