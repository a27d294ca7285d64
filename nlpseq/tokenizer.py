"""From text to ids and back: normalisation, units (words or subwords) and special tokens in one object."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.config import from_plain, to_plain
from nlpseq.errors import ArtefactError, CorpusError, sentence
from nlpseq.placeholders import Masked, MaskedPair, Restored, Value, mask_pair, normalise, restore, unescape
from nlpseq.settings import TokenizerConfig
from nlpseq.subwords import Subwords, train_subwords
from nlpseq.text import detokenize, words
from nlpseq.vocab import SPECIALS, UNK, Vocabulary

__all__ = ["Encoded", "Tokenizer", "normalised", "normalised_pair", "without_markup"]

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def without_markup(text: str) -> str:
    """Return a text with HTML's line breaks, which web pages leave in reviews, as line breaks."""
    return _BREAK.sub("\n", text)


class Encoded(NamedTuple):
    """A text as ids, and the values that its [NUM] and [URL] stand for, in order."""

    ids: list[int]
    values: tuple[Value, ...]


class Tokenizer:
    """Turns text into ids and ids into text.

    `Tokenizer.load(dir).encode(text)`; ids 0 to 5 are `<pad> [UNK] <go> <eos> [NUM] [URL]` in every stage.
    """

    def __init__(self, config: TokenizerConfig, units: Vocabulary | Subwords) -> None:
        self.config = config
        self._units = units

    def __len__(self) -> int:
        return len(self._units)

    @classmethod
    def load(cls, directory: str | Path) -> Tokenizer:
        """Return the tokeniser in a folder of `nlpseq tokenize train`, or in that of any trained model.

        Raises ArtefactError where a file of it is missing or changed.
        """
        from nlpseq.artefact import load, read_manifest

        stage = read_manifest(Path(directory))["stage"]
        return cls.from_files(load(Path(directory), stage).files, str(directory))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], where: str) -> Tokenizer:
        """Return the tokeniser whose files `files()` gave; where: the folder, for messages."""
        try:
            stored: dict[str, Any] = json.loads(files["tokenizer.json"])
            config = from_plain(TokenizerConfig, stored["settings"], where)
            units = Vocabulary(stored["words"]) if config.units == "word" else Subwords(files["subwords.model"])
        except (KeyError, ValueError, TypeError, AttributeError):
            raise ArtefactError(sentence(where, "hold a tokeniser", "without one", quote=False)) from None
        return cls(config, units)

    def files(self) -> dict[str, bytes]:
        """Return the contents of the tokeniser's files, by role in a model folder."""
        stored: dict[str, Any] = {"settings": to_plain(self.config)}
        if isinstance(self._units, Subwords):
            return {"tokenizer.json": _json(stored), "subwords.model": self._units.model}
        return {"tokenizer.json": _json(stored | {"words": self._units.words})}

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
        """Return a tokeniser learnt from texts that `normalised` or `normalised_pair` gave.

        Raises CorpusError where there is no text, UsageError where the vocabulary is too small for its characters.
        """
        if config.units != "word":
            return cls(config, train_subwords(texts, kind=config.units, size=config.vocab_size))
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(words(text))
        if not counts:
            raise CorpusError(sentence("train", "have text to learn words from", "empty", quote=False))
        return cls(config, Vocabulary.build(counts, max_size=config.vocab_size, min_count=config.min_count))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without `<go>` and `<eos>`."""
        return self.encode_normalised([normalised(text, self.config).text])[0]

    def encode_with_values(self, text: str) -> Encoded:
        """Return the ids of a text and the values of its placeholders."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of texts and the values of their placeholders; many at once are quicker than one by one."""
        masked = [normalised(text, self.config) for text in texts]
        ids = self.encode_normalised([one.text for one in masked])
        return [Encoded(each, one.values) for each, one in zip(ids, masked, strict=True)]

    def encode_normalised(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts that have been normalised."""
        if isinstance(self._units, Subwords):
            return self._units.encode(texts)
        return [self._units.encode(words(text)) for text in texts]

    def coverage(self, text: str) -> tuple[int, int]:
        """Return how many units a text has, and how many of them are `[UNK]`."""
        ids = self.encode(text)
        return len(ids), self.unknown(ids)

    def tokens(self, text: str) -> list[str]:
        """Return the units of a text as they are written; unknown ones as they stand in the text."""
        return self.pieces(normalised(text, self.config).text)

    def pieces(self, text: str) -> list[str]:
        """Return the units of a text that has been normalised, as they are written there."""
        return self._units.pieces(text) if isinstance(self._units, Subwords) else words(text)

    def decode(
        self,
        ids: Iterable[int],
        *,
        values: Sequence[Value] = (),
        language: str | None = None,
        source_language: str | None = None,
    ) -> str:
        """Return the text of ids; placeholders become the values, which are written in the format of `language`.

        Without values a placeholder stays as it is: `[NUM]`.
        """
        ids = list(ids)
        if not values:
            return unescape(self._surface(ids, language))
        return self.restore(ids, values, language=language, source_language=source_language).text

    def restore(
        self, ids: Sequence[int], values: Sequence[Value], *, language: str | None, source_language: str | None
    ) -> Restored:
        """Return the text of ids, with how many placeholders took a value and how many were dropped for want of one."""
        return restore(self._surface(ids, language), values, language=language, source_language=source_language)

    def _surface(self, ids: Sequence[int], language: str | None) -> str:
        if isinstance(self._units, Subwords):
            return self._units.decode(ids)
        return detokenize(self._units.decode(ids), language=language)

    def units(self, ids: Sequence[int]) -> list[str]:
        """Return the unit of each id as it is written in the vocabulary."""
        return self._units.decode(ids) if isinstance(self._units, Vocabulary) else self._units.units(ids)

    def unknown(self, ids: Iterable[int]) -> int:
        """Return how many of the ids are `[UNK]`."""
        return sum(number == UNK for number in ids)


def normalised(text: str, config: TokenizerConfig) -> Masked:
    """Return a text as the units see it, numbers and links behind placeholders, and their values."""
    return _cased(normalise(text, numbers=config.numbers, links=config.links), config)


def normalised_pair(
    source: str, target: str, config: TokenizerConfig, languages: Sequence[str | None] = (None, None)
) -> MaskedPair:
    """Return both sides of a training pair, with only those values masked that stand on both sides.

    languages: codes of source and target, in which 1,000 is read as a thousand or as one.
    """
    pair = mask_pair(
        source,
        target,
        source_language=languages[0],
        target_language=languages[1],
        numbers=config.numbers,
        links=config.links,
    )
    return pair._replace(source=_cased(pair.source, config), target=_cased(pair.target, config))


def _cased(masked: Masked, config: TokenizerConfig) -> Masked:
    if not config.lowercase:
        return masked
    text = masked.text.lower()
    for special in SPECIALS:
        text = text.replace(special.lower(), special)
    return masked._replace(text=text)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
