"""A trained classifier: raw text in, label and probability out; what comes together never changes a label."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlpseq.artefact import load
from nlpseq.batches import alike
from nlpseq.config import from_plain
from nlpseq.errors import UsageError, refuse_other_than_texts, sentence
from nlpseq.labelled import cut, readable
from nlpseq.nn.classifier import ClassifierDropout, ClassifierShape, Convolution, TextClassifier
from nlpseq.settings import SentimentConfig
from nlpseq.threads import side_by_side
from nlpseq.tokenizer import Tokenizer
from nlpseq.training import choose_device, float32
from nlpseq.vocab import PAD
from nlpseq.weights import unpack_weights

__all__ = ["ROWS", "STAGE", "STRIDE", "Prediction", "SentimentClassifier", "build_classifier"]

STAGE = "sentiment"
ROWS = MappingProxyType({"cpu": 32, "cuda": 256})  # of a step at most
STRIDE = 16  # texts are padded to a multiple of it, and only those of one padded length are together, so little is idle
# (in training too, since oneDNN keeps a primitive for every shape of a batch)
_TIE = 1e-3  # logits as near as this, far above what rounding does, are worked out for the text alone
_AT_ONCE = 2048  # texts whose ids are held together


class Prediction(NamedTuple):
    """What is thought of one text; None for one without a token, which has no label."""

    label: str | None
    probability: float | None  # of the label, calibrated
    probabilities: dict[str, float]  # of every class
    tokens: int  # of the text
    read: int  # of these
    unknown: int  # of those read
    words: list[tuple[str, float]]  # that were read and how much each spoke for the label, where it was asked


class _Answer(NamedTuple):
    """What the network says of one text."""

    logits: Tensor  # (C,) float32, on the CPU
    weights: list[float]  # of the tokens read; empty where not asked


def build_classifier(config: SentimentConfig, vocabulary: int, classes: int) -> TextClassifier:
    """Return the untrained network that a configuration describes; vocabulary, classes: their numbers."""
    m = config.model
    shape = ClassifierShape(
        vocabulary=vocabulary,
        classes=classes,
        embed_size=m.embed_size,
        hidden_size=m.hidden_size,
        cell=m.cell,
        layers=m.layers,
        bidirectional=m.bidirectional,
        pooling=m.pooling,
        convolution=None if m.conv is None else Convolution(m.conv, m.conv_width, m.conv_pool),
        mask_per_row=m.mask_per == "row",
    )
    dropout = ClassifierDropout(m.word_dropout, m.dropout, m.layer_dropout, m.recurrent_dropout, m.output_dropout)
    return TextClassifier(shape, dropout)


class SentimentClassifier:
    """`SentimentClassifier.load(dir).predict(["I loved it"])`; facts: with `classes` and `temperature`."""

    def __init__(
        self, model: TextClassifier, tokenizer: Tokenizer, *, config: SentimentConfig, facts: dict[str, Any]
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.config = config
        self.facts = facts

    @property
    def classes(self) -> list[str]:
        """The names of the labels, in the order of the network's outputs."""
        return list(self.facts["classes"])

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.output.weight.device

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "auto", precision: str = "fp32") -> SentimentClassifier:
        """Return the classifier in a folder of `nlpseq sentiment train`; no code from it is run.

        device: auto, cpu, cuda or cuda:N; precision: fp32, where a text has the same label alone and in any batch, and
        the same probability within 1e-6, or bf16, which is faster and gives that up. Raises ArtefactError where the
        folder is not whole.
        """
        if precision not in ("fp32", "bf16"):
            raise UsageError(sentence("precision", "be fp32 or bf16", precision))
        stored = load(Path(directory), STAGE)
        config = from_plain(SentimentConfig, stored.settings, str(directory))
        tokenizer = Tokenizer.from_files(stored.files, str(directory))
        with torch.device("meta"):  # sizes alone: drawing weights costs time, and the caller's random numbers
            model = build_classifier(config, len(tokenizer), len(stored.facts["classes"]))
        unpack_weights(model, stored)
        model.to(choose_device(device), torch.bfloat16 if precision == "bf16" else torch.float32)
        return cls(model, tokenizer, config=config, facts=stored.facts)

    def predict(self, texts: Sequence[str]) -> list[str | None]:
        """Return the label of each text, in order; None for one without a token."""
        return [one.label for one in self.predict_fully(texts)]

    def predict_fully(self, texts: Sequence[str], *, explain: bool = False) -> list[Prediction]:
        """Return the label of each text with calibrated probabilities, in order.

        explain: also how much each word spoke for the label: the gradient of its logit, less the others' mean, times
        the word's vector (Shrikumar et al. 2016).
        """
        refuse_other_than_texts(texts)
        found: list[Prediction] = []
        for start in range(0, len(texts), _AT_ONCE):
            found += self._predicted(texts[start : start + _AT_ONCE], explain=explain)
        return found

    def _predicted(self, texts: Sequence[str], *, explain: bool) -> list[Prediction]:
        normal = [readable(text, self.tokenizer.config) for text in texts]
        whole = self.tokenizer.encode_normalised(normal)
        ids = [cut(each, self.config.reading) for each in whole]
        found = [Prediction(None, None, {}, 0, 0, 0, [])] * len(texts)
        filled = [number for number, each in enumerate(ids) if each]
        answers = self.answer([ids[number] for number in filled], explain=explain)
        for number, answer in zip(filled, answers, strict=True):
            shares = torch.softmax(answer.logits.double() / self.facts["temperature"], 0).tolist()
            best = int(answer.logits.argmax())
            words = cut(self.tokenizer.pieces(normal[number]), self.config.reading) if explain else []
            found[number] = Prediction(
                self.classes[best],
                shares[best],
                dict(zip(self.classes, shares, strict=True)),
                len(whole[number]),
                len(ids[number]),
                self.tokenizer.unknown(ids[number]),
                list(zip(words, answer.weights, strict=True)),
            )
        return found

    def answer(self, ids: Sequence[Sequence[int]], *, explain: bool = False) -> list[_Answer]:
        """Return what the network says of texts as ids, none of them empty, those of one padded length together."""

        def told(group: list[int]) -> list[_Answer]:
            with torch.inference_mode(False), torch.autocast(self.device.type, enabled=False):  # in whatever thread
                tokens, lengths = self._padded([ids[number] for number in group])
                logits = self._logits(tokens, lengths)
                if not explain:
                    return [_Answer(row, []) for row in logits]
                weights = self._weighed(tokens, lengths, logits.argmax(1, keepdim=True)).tolist()
                sizes = [len(ids[number]) for number in group]
                return [_Answer(row, each[:size]) for row, each, size in zip(logits, weights, sizes, strict=True)]

        groups = alike([-(-len(each) // STRIDE) * STRIDE for each in ids], ROWS[self.device.type])
        few = len(groups) < torch.get_num_threads()  # then threads share a step, and none is without work
        with float32():
            some = map(told, groups) if few else side_by_side(told, groups, self.device)
            found = [answer for each in some for answer in each]
        order = np.argsort([number for group in groups for number in group])
        return [found[place] for place in order]

    @torch.no_grad()
    def _logits(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits of texts of one padded length, (B, C), on the CPU; near ties as of the text alone."""
        logits = self.model(tokens, lengths).cpu()
        best = logits.topk(2).values
        for row in (best[:, 0] - best[:, 1] < _TIE).nonzero()[:, 0].tolist():
            logits[row] = self.model(tokens[row : row + 1], lengths[row : row + 1])[0].cpu()
        return logits  # type: ignore[no-any-return]

    def _padded(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return texts of one padded length as tokens (B, S), and their lengths (B,)."""
        tokens = np.full((len(ids), -(-len(ids[0]) // STRIDE) * STRIDE), PAD, np.int64)
        for number, row in enumerate(ids):
            tokens[number, : len(row)] = row
        return torch.from_numpy(tokens).to(self.device), torch.tensor([*map(len, ids)], device=self.device)

    def _weighed(self, tokens: Tensor, lengths: Tensor, best: Tensor) -> Tensor:
        """Return how much each token speaks for its row's label (B, S), in logits; best: (B, 1), the labels."""
        vectors = self.model.embed(tokens).detach().requires_grad_()
        # cuDNN has gradients in training only. Its flag is the process': untouched where steps are side by side.
        flags = torch.backends.cudnn.flags(enabled=False) if self.device.type == "cuda" else nullcontext()
        with torch.enable_grad(), flags:
            logits = self.model.read(vectors, lengths)
            chosen = logits.gather(1, best.to(logits.device)).sum()
            margin = chosen - (logits.sum() - chosen) / (logits.shape[1] - 1)
            (gradient,) = torch.autograd.grad(margin, [vectors])
        weights: Tensor = (gradient * vectors.detach()).sum(2).float()
        return weights.cpu()
