"""The recurrent language model: the next unit from all before it (Mikolov et al. 2010; Zaremba et al. 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpseq.nn.masks import locked_dropout
from nlpseq.nn.recurrent import Recurrent
from nlpseq.nn.residual import Residual

__all__ = ["LMDropout", "LMShape", "RecurrentLM"]


class LMShape(NamedTuple):
    """The sizes of a language model; tied: the output layer shares the embeddings.

    residual: the layers are in residual blocks, see nn.residual; feed_forward: units of theirs, 0 for none.
    """

    size: int
    embed_size: int
    hidden_size: int
    cell: str = "lstm"
    layers: int = 1
    tied: bool = True
    residual: bool = False
    feed_forward: int = 0


class LMDropout(NamedTuple):
    """Probabilities: rows of the embedding table, embeddings, between layers, inputs of W_hh, before the output.

    Embeddings, layers and output have one mask for all units of a row (locked), as in Merity et al. 2018.
    """

    word: float = 0.0
    embedding: float = 0.0
    layer: float = 0.0
    recurrent: float = 0.0
    output: float = 0.0


class RecurrentLM(nn.Module):
    """Embeddings, recurrent layers, and an output layer over the vocabulary.

    Where the output shares the embeddings (Press and Wolf 2017; Inan et al. 2017) and states are larger or smaller than
    these, or come from residual blocks, a linear layer is between.
    """

    def __init__(self, shape: LMShape, dropout: LMDropout) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        embed, hidden = shape.embed_size, shape.hidden_size
        self.embedding = nn.Embedding(shape.size, embed)
        levels, drop = shape.layers, dropout.layer
        read = hidden if shape.residual else embed
        self.stack = Recurrent(
            shape.cell, read, hidden, layers=levels, dropout=drop, recurrent_dropout=dropout.recurrent
        )
        if shape.residual:
            self.stack.blocks = Residual(embed, hidden, layers=levels, feed_forward=shape.feed_forward, dropout=drop)
        # Residual blocks pass the embedding on: with no layer between, a tied output would predict what was just read.
        between = shape.tied and (embed != hidden or shape.residual)
        self.readout = nn.Linear(hidden, embed) if between else nn.Identity()
        self.output = nn.Linear(embed if shape.tied else hidden, shape.size)
        for table in (self.embedding, self.output):
            nn.init.normal_(table.weight, std=table.weight.shape[1] ** -0.5)
        nn.init.zeros_(self.output.bias)
        if shape.tied:
            self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return features (B, T, E or H) for the output layer, and the state (B, K, H) after the last unit.

        tokens: (B, T) int64, what is fed; state: (B, K, H) that the rows go on from, zeros when absent.
        """
        table = self.embedding.weight
        if self.training and self.dropout.word:
            table = table * F.dropout(torch.ones_like(table[:, :1]), self.dropout.word)
        inputs = locked_dropout(F.embedding(tokens, table), self.dropout.embedding, self.training)
        hidden, state = self.stack(inputs, None, state)
        return self.readout(locked_dropout(hidden, self.dropout.output, self.training)), state

    def step(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return features (B, E or H) for the output layer and the next state; tokens: (B,) int64, just written."""
        hidden, state = self.stack.step(self.embedding(tokens), state)
        return self.readout(hidden), state
