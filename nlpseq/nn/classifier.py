"""A recurrent network that gives a text one label: embedding, perhaps a convolution, recurrence, pooling, one layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpseq.nn.masks import dropout, locked_dropout
from nlpseq.nn.recurrent import Recurrent

__all__ = ["ClassifierDropout", "ClassifierShape", "Convolution", "TextClassifier"]


class Convolution(NamedTuple):
    """Filters, the tokens that each sees, and how many tokens become one behind it."""

    filters: int
    width: int
    pool: int


class ClassifierShape(NamedTuple):
    """The sizes of a classifier and the ways in which its parts are joined; pooling: max, mean or last."""

    vocabulary: int
    classes: int
    embed_size: int
    hidden_size: int
    cell: str = "lstm"
    layers: int = 1
    bidirectional: bool = True
    pooling: str = "max"
    convolution: Convolution | None = None
    mask_per_row: bool = False


class ClassifierDropout(NamedTuple):
    """Probabilities: of whole tokens, on embeddings and between layers (both locked), on W_hh's inputs, at the end."""

    word: float = 0.0
    embedding: float = 0.0
    layer: float = 0.0
    recurrent: float = 0.0
    output: float = 0.0


class TextClassifier(nn.Module):
    """`model(tokens, lengths)` gives logits; `embed` and `read` are its halves, to ask what each token did.

    The convolution in front of the recurrence is the CNN-RNN of textbooks: Zhou et al. 2015, but with pooling between.
    """

    def __init__(self, shape: ClassifierShape, dropout: ClassifierDropout) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.embedding = nn.Embedding(shape.vocabulary, shape.embed_size)
        nn.init.normal_(self.embedding.weight, std=shape.embed_size**-0.5)
        size = shape.embed_size
        if shape.convolution is not None:
            filters, width, _ = shape.convolution
            self.convolution = nn.Conv1d(size, filters, width)
            size = filters
        self.recurrent = Recurrent(
            shape.cell,
            size,
            shape.hidden_size,
            layers=shape.layers,
            bidirectional=shape.bidirectional,
            dropout=dropout.layer,
            recurrent_dropout=dropout.recurrent,
        )
        if shape.cell == "rnn" and shape.pooling != "last":
            self._shorten_memory()
        if shape.mask_per_row:
            self.recurrent.mask_each_row()
        self.output = nn.Linear(self.recurrent.output_size, shape.classes)

    @torch.no_grad()
    def _shorten_memory(self) -> None:
        """Halve the recurrent weights, which are orthogonal, of a simple network that is pooled over time.

        Else all that it has read stays in its state as noise for what it reads now: it learns far more slowly.
        """
        for name, weight in self.recurrent.named_parameters():
            if "weight_hh" in name:
                weight.mul_(0.5)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (B, C), in float32 at least; tokens: (B, S) int64, lengths: (B,) int64 of at least 1."""
        return self.read(self.embed(tokens), lengths)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the vectors of tokens (B, S), (B, S, E), less what dropout takes of them."""
        inputs = locked_dropout(self.embedding(tokens), self.dropout.embedding, self.training)
        if self.training and self.dropout.word:
            inputs = inputs * F.dropout(inputs.new_ones(*inputs.shape[:2], 1), self.dropout.word)
        return inputs

    def read(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (B, C), in float32 at least; inputs: (B, S, E), what `embed` gave."""
        if self.shape.convolution is not None:
            inputs, lengths = self._convolved(inputs, lengths)
        pooled = self._pooled(self.recurrent.outputs(inputs, lengths), lengths)
        logits: Tensor = self.output(dropout(pooled, self.dropout.output, self.training))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _convolved(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, ceil(S / pool), filters) and the lengths of it; what stands at padding counts for nothing."""
        _, width, pool = self.shape.convolution or (0, 1, 1)
        real = _inside(inputs, lengths)
        before = (width - 1) // 2
        padded = F.pad((inputs * real).transpose(1, 2), (before, width - 1 - before))
        found = F.relu(self.convolution(padded)) * real.transpose(1, 2)  # none is below 0, so 0 is as good as absent
        whole = F.pad(found, (0, -found.shape[2] % pool))
        return F.max_pool1d(whole, pool).transpose(1, 2), (lengths + pool - 1) // pool

    def _pooled(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        if self.shape.pooling == "last":  # which for the layer that reads backwards is at the first token
            last = outputs.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, outputs.shape[2]))[:, 0]
            size = self.shape.hidden_size
            return torch.cat([last[:, :size], outputs[:, 0, size:]], 1)
        real = _inside(outputs, lengths)
        if self.shape.pooling == "mean":
            return (outputs * real).sum(1) / lengths[:, None]
        return outputs.masked_fill(real == 0, -2.0).amax(1)  # every state is above -1


def _inside(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Return (B, S, 1), 1 at each row's tokens and 0 behind them."""
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    return (steps < lengths[:, None])[..., None].to(inputs.dtype)
