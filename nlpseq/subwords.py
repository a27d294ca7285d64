"""Subword units by SentencePiece (Kudo and Richardson 2018): unigram (Kudo 2018) or BPE (Sennrich et al. 2016)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from itertools import chain

from nlpseq.errors import ArtefactError, CorpusError, UsageError, sentence
from nlpseq.vocab import EOS, GO, NUM, PAD, SPECIALS, UNK

__all__ = ["Subwords", "train_subwords"]

_THREADS = 4  # fixed, since sums over threads would otherwise make the model depend on the machine
# What a typed "[NUM]" or "[num]" is escaped with must have ids.
_ESCAPES = "".join(sorted({*"\\", *(letter for word in SPECIALS for letter in word.lower() + word.upper())}))

_BREAKS = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")  # white space to SentencePiece is the space alone


def _clean(text: str) -> str:
    """Return the text as SentencePiece takes it: its own sign for a space, U+2581, becomes a plain low line."""
    return _BREAKS.sub(" ", text).replace("\u2581", "_")


class Subwords:
    """A SentencePiece model with our special tokens."""

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self.model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError:
            must = "be a SentencePiece model"
            raise ArtefactError(sentence("subwords.model", must, "something else", quote=False)) from None
        if [self._processor.id_to_piece(i) for i in range(min(len(SPECIALS), len(self)))] != list(SPECIALS):
            must = "begin with the special tokens " + " ".join(SPECIALS)
            raise ArtefactError(sentence("subwords.model", must, "another model", quote=False))

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; a stretch of unknown characters is one `[UNK]`."""
        encoded: list[list[int]] = self._processor.encode([_clean(text) for text in texts])
        return encoded

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of a text as they are written, `▁` for the space before a word."""
        pieces: list[str] = self._processor.encode(_clean(text), out_type=str)
        return pieces

    def units(self, ids: Sequence[int]) -> list[str]:
        """Return the piece of each id."""
        return [str(self._processor.id_to_piece(int(number))) for number in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return str(self._processor.decode([int(number) for number in ids]))


def train_subwords(lines: Iterable[str], *, kind: str, size: int) -> Subwords:
    """Return a model of at most `size` pieces learnt from normalised text.

    kind: "unigram" or "bpe"; size: special tokens included; fewer where the text has no more to give.
    Raises CorpusError where there is no text, UsageError where the size is below the number of distinct characters.
    """
    import sentencepiece

    failures: list[BaseException] = []
    texts = (_clean(line) for line in lines if line.strip())
    first = next(texts, None)
    if first is None:
        raise CorpusError(sentence("train", "have text to learn subwords from", "empty", quote=False))
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_noting(chain([first], texts), failures),
            model_writer=model,
            model_type=kind,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",  # the default, NFKC, would turn ½ into 1⁄2
            max_sentence_length=1 << 20,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=GO,
            eos_id=EOS,
            pad_piece=SPECIALS[PAD],
            unk_piece=SPECIALS[UNK],
            bos_piece=SPECIALS[GO],
            eos_piece=SPECIALS[EOS],
            unk_surface=SPECIALS[UNK],
            user_defined_symbols=list(SPECIALS[NUM:]),
            required_chars=_ESCAPES,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        if failures:  # of the corpus, or Ctrl-C: SentencePiece hides it in an error of its own
            raise failures[0] from None
        if "required_chars" not in str(error) and "vocab" not in str(error).lower():
            raise
        must = "be at least the number of distinct characters of the text plus the special tokens"
        raise UsageError(sentence("vocab_size", must, size)) from None
    return Subwords(model.getvalue())


def _noting(lines: Iterable[str], failures: list[BaseException]) -> Iterable[str]:
    """Yield the lines; what reading them raises is also noted."""
    try:
        yield from lines
    except (Exception, KeyboardInterrupt) as error:
        failures.append(error)
        raise
