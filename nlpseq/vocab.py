"""Words and their ids; the special tokens have the same ids in every stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from nlpseq.text import SPECIALS

__all__ = ["EOS", "GO", "NUM", "PAD", "SPECIALS", "UNK", "URL", "Vocabulary"]

PAD, UNK, GO, EOS, NUM, URL = range(len(SPECIALS))


class Vocabulary:
    """A list of distinct words, the special tokens first; a word's id is its place."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: number for number, word in enumerate(words)}

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def build(cls, counts: Counter[str], *, max_size: int, min_count: int = 1) -> Vocabulary:
        """Return the commonest words, equally common ones in order of code points.

        max_size: special tokens included; min_count: words seen less often are left to `[UNK]`.
        """
        kept = [word for word, count in counts.items() if count >= min_count and word not in SPECIALS]
        kept.sort(key=lambda word: (-counts[word], word))
        return cls([*SPECIALS, *kept[: max(0, max_size - len(SPECIALS))]])

    def encode(self, words: Iterable[str]) -> list[int]:
        """Return the ids of words, `[UNK]` for unknown ones."""
        ids = self._ids
        return [ids.get(word, UNK) for word in words]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the words of ids."""
        return [self.words[number] for number in ids]
