"""The recurrent language model: the next unit from all before it (Mikolov et al. 2010; Zaremba et al. 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpseq.nn.recurrent import Recurrent, locked_dropout

__all__ = ["LMDropout", "LMShape", "RecurrentLM"]


class LMShape(NamedTuple):
    """The sizes of a language model; tied: the output layer shares the embeddings."""

    size: int
    embed_size: int
    hidden_size: int
    cell: str = "lstm"
    layers: int = 1
    tied: bool = True


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
    these, a linear layer is between.
    """

    def __init__(self, shape: LMShape, dropout: LMDropout) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        embed, hidden = shape.embed_size, shape.hidden_size
        self.embedding = nn.Embedding(shape.size, embed)
        self.stack = Recurrent(
            shape.cell, embed, hidden, layers=shape.layers, dropout=dropout.layer, recurrent_dropout=dropout.recurrent
        )
        between = shape.tied and embed != hidden
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
        """Return logits (B, V) of the next unit and the next state; tokens: (B,) int64, the ones just written."""
        inputs = self.embedding(tokens)
        each = self.stack.states_per_layer
        if state is None:
            state = inputs.new_zeros(len(inputs), self.stack.states, self.shape.hidden_size)
        after: list[Tensor] = []
        for layer, own in zip(self.stack.layers, torch.split(state, each, 1), strict=True):
            # The fused kernels sort the weights anew in every call, which costs an LSTM seven times the step itself.
            weights = layer.rnn.all_weights[0]  # type: ignore[union-attr, index]
            parts = [part.contiguous() for part in own.unbind(1)]
            if each == 2:
                new = list(torch.lstm_cell(inputs, parts, *weights))
            else:
                cell = torch.gru_cell if self.shape.cell == "gru" else torch.rnn_tanh_cell
                new = [cell(inputs, parts[0], *weights)]
            after += new
            inputs = new[0]
        return self.output(self.readout(inputs)), torch.stack(after, 1)
