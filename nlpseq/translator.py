"""A trained translator: raw text in, raw text out; how many sentences come together never changes a translation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlpseq.artefact import load
from nlpseq.batches import alike
from nlpseq.config import from_plain
from nlpseq.errors import UsageError, refuse_other_than_texts, sentence
from nlpseq.nn.seq2seq import DecoderState, Dropout, EncoderDecoder, Shape
from nlpseq.pairs import language
from nlpseq.search import Found, greedy
from nlpseq.settings import TranslateConfig
from nlpseq.tokenizer import Encoded, Tokenizer
from nlpseq.training import choose_device, float32
from nlpseq.vocab import EOS, GO, PAD
from nlpseq.weights import unpack_weights

__all__ = ["ROWS", "STAGE", "Translation", "Translator", "build_model"]

STAGE = "translate"
ROWS = 32  # of every step: matrix kernels round differently for another number of rows
STRIDE = 8  # sources are padded to a multiple of it, so that the padded length depends on the sentence alone
_AT_ONCE = 4096  # sentences whose encoded states are held together
LONGEST = 1000  # tokens of a source that are read; what follows them is cut off, and said


class Translation(NamedTuple):
    """What became of one text."""

    text: str
    score: float  # sum of the log-probabilities of the tokens and of `<eos>`, in nats
    tokens: list[str]
    restored: int  # placeholders that took a value of the source
    dropped: int  # placeholders for which the source had no value
    unused: int  # values of the source for which there was no placeholder: they are lost
    unknown: int  # [UNK] among the source's tokens
    cut: bool  # whether the source was longer than is read


def build_model(config: TranslateConfig, vocabulary: int) -> EncoderDecoder:
    """Return the untrained network that a configuration describes; vocabulary: size of the joint vocabulary."""
    m = config.model
    shape = Shape(
        source_size=vocabulary,
        target_size=vocabulary,
        embed_size=m.embed_size,
        hidden_size=m.hidden_size,
        cell=m.cell,
        layers=m.layers,
        bidirectional=m.bidirectional,
        context_at_every_step=m.context == "every",
        tied=m.tied,
    )
    return EncoderDecoder(shape, Dropout(m.dropout, m.layer_dropout, m.recurrent_dropout, m.output_dropout))


class Translator:
    """`Translator.load(dir).translate(["I drink milk"])`."""

    def __init__(
        self,
        model: EncoderDecoder,
        tokenizer: Tokenizer,
        *,
        config: TranslateConfig,
        facts: dict[str, Any],
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.config = config
        self.facts = facts

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.output.weight.device

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """Language codes of source and target, where the columns are named by such."""
        return language(self.facts["source"]), language(self.facts["target"])

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "auto", precision: str = "fp32") -> Translator:
        """Return the translator in a folder of `nlpseq translate train`; no code from it is run.

        device: auto, cpu, cuda or cuda:N; precision: fp32, or bf16, which is faster and gives up the promise that a
        translation does not depend on its neighbours. Raises ArtefactError where the folder is not whole.
        """
        if precision not in ("fp32", "bf16"):
            raise UsageError(sentence("precision", "be fp32 or bf16", precision))
        stored = load(Path(directory), STAGE)
        config = from_plain(TranslateConfig, stored.settings, str(directory))
        tokenizer = Tokenizer.from_files(stored.files, str(directory))
        with torch.device("meta"):  # sizes alone: drawing weights costs time, and the caller's random numbers
            model = build_model(config, len(tokenizer))
        unpack_weights(model, stored)
        model.to(choose_device(device), torch.bfloat16 if precision == "bf16" else torch.float32)
        return cls(model, tokenizer, config=config, facts=stored.facts)

    def translate(self, texts: Sequence[str]) -> list[str]:
        """Return the translation of each text, in order; an empty text gives an empty one."""
        return [translation.text for translation in self.translate_fully(texts)]

    def translate_fully(self, texts: Sequence[str]) -> list[Translation]:
        """Return the translation of each text with its score, tokens and counts, in order."""
        refuse_other_than_texts(texts)
        encoded = self.tokenizer.encode_all(texts)
        found: list[Translation] = [Translation("", 0.0, [], 0, 0, 0, 0, False)] * len(texts)
        filled = [number for number, one in enumerate(encoded) if one.ids]
        for start in range(0, len(filled), _AT_ONCE):
            numbers = filled[start : start + _AT_ONCE]
            for number, ids, score in zip(numbers, *self._search([encoded[n].ids for n in numbers]), strict=True):
                found[number] = self._finish(encoded[number], ids, score)
        return found

    def _finish(self, encoded: Encoded, ids: list[int], score: float) -> Translation:
        source, target = self.languages
        restored = self.tokenizer.restore(ids, encoded.values, language=target, source_language=source)
        tokens = self.tokenizer.units(ids)
        unknown = self.tokenizer.unknown(encoded.ids)
        cut = len(encoded.ids) > LONGEST
        counts = (restored.restored, restored.dropped, restored.unused)
        return Translation(restored.text, score, tokens, *counts, unknown, cut)

    @float32()
    @torch.inference_mode()
    def _search(self, sources: Sequence[Sequence[int]]) -> Found:
        """Return ids and score of each source: all are encoded, those of one padded length together, then decoded."""
        groups = blocks([min(len(source), LONGEST) for source in sources])
        encoded = [self.model.encode(*self._source([sources[n] for n in group])) for group in groups]
        parts = [[part[: len(group)] for part in state] for state, group in zip(encoded, groups, strict=True)]
        state = DecoderState(*(torch.cat(part) for part in zip(*parts, strict=True)))
        order = [number for group in groups for number in group]
        limits = [self._limit(len(sources[number])) for number in order]
        found = greedy(self.model.step, state, limits, rows=ROWS, go=GO, eos=EOS, banned=(PAD, GO))
        back = sorted(range(len(order)), key=order.__getitem__)
        return Found([found.tokens[place] for place in back], [found.scores[place] for place in back])

    def _source(self, sources: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return ROWS padded sources in reading order, filled up with rows of `<eos>` alone, and their lengths."""
        backwards = self.config.model.source_order == "reversed"
        rows = [[*(s[LONGEST - 1 :: -1] if backwards else s[:LONGEST]), EOS] for s in sources]
        width = padded(max(map(len, rows)) - 1)
        tokens = np.full((ROWS, width), PAD, np.int64)
        tokens[:, 0] = EOS
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        lengths = [len(row) for row in rows] + [1] * (ROWS - len(rows))
        return torch.from_numpy(tokens).to(self.device), torch.tensor(lengths, device=self.device)

    def _limit(self, length: int) -> int:
        decoding = self.config.decoding
        return int(min(length, LONGEST) * decoding.length_ratio) + decoding.length_extra


def padded(length: int) -> int:
    """Return the padded length of a source of `length` tokens, its `<eos>` included."""
    return -(-(length + 1) // STRIDE) * STRIDE


def blocks(lengths: Sequence[int]) -> list[list[int]]:
    """Return groups of at most ROWS places whose padded length is the same, long ones last."""
    return alike([padded(length) for length in lengths], ROWS)
