"""The recurrent encoder-decoder without attention (Cho et al. 2014; Sutskever et al. 2014)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nlpseq.nn.masks import dropout, locked_dropout
from nlpseq.nn.recurrent import Recurrent

__all__ = ["DecoderState", "Dropout", "EncoderDecoder", "Shape"]


class Shape(NamedTuple):
    """The sizes of an encoder-decoder and the ways in which its parts are joined."""

    source_size: int
    target_size: int
    embed_size: int
    hidden_size: int
    cell: str = "gru"
    layers: int = 1
    bidirectional: bool = False
    context_at_every_step: bool = True
    tied: bool = True


class Dropout(NamedTuple):
    """Probabilities: on embeddings and between layers (both locked), on inputs of W_hh, before the output."""

    embedding: float = 0.0
    layer: float = 0.0
    recurrent: float = 0.0
    output: float = 0.0


class DecoderState(NamedTuple):
    """What a decoder carries from step to step; the first dimension of every tensor is the row."""

    recurrent: Tensor  # (B, K, H)
    context: Tensor  # (B, H * directions): the encoder's last state; constant


class EncoderDecoder(nn.Module):
    """Encoder over the source, decoder from the encoder's last state, output layer over the target's vocabulary.

    In which order the source is read is the caller's: hand over reversed tokens for Sutskever's reversal.
    """

    def __init__(self, shape: Shape, dropout: Dropout) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        embed, hidden = shape.embed_size, shape.hidden_size
        stack = partial(
            Recurrent, shape.cell, layers=shape.layers, dropout=dropout.layer, recurrent_dropout=dropout.recurrent
        )
        self.source_embedding = nn.Embedding(shape.source_size, embed)
        self.target_embedding = nn.Embedding(shape.target_size, embed)
        self.encoder = stack(embed, hidden, bidirectional=shape.bidirectional)
        seen = self.encoder.output_size if shape.context_at_every_step else 0
        self.decoder = stack(embed + seen, hidden)
        joined = self.encoder.directions * hidden
        self.bridge = nn.Linear(joined, hidden) if shape.bidirectional else nn.Identity()
        self.readout = nn.Linear(hidden + (embed + seen if seen else 0), embed)
        self.output = nn.Linear(embed, shape.target_size)
        for table in (self.source_embedding, self.target_embedding, self.output):
            nn.init.normal_(table.weight, std=embed**-0.5)
        nn.init.zeros_(self.output.bias)
        if shape.tied:
            self.output.weight = self.target_embedding.weight

    def encode(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """Return the decoder's first state; source: (B, S) int64 in reading order, lengths: (B,) of at least 1."""
        inputs = locked_dropout(self.source_embedding(source), self.dropout.embedding, self.training)
        _, state = self.encoder(inputs, lengths)
        context = self.encoder.top(state)
        if self.encoder.directions == 2:  # the two directions of each layer's h (and c) become one
            each = self.encoder.states_per_layer
            pairs = state.unflatten(1, (-1, 2, each)).transpose(2, 3)  # (B, layers, each, 2, H)
            state = torch.tanh(self.bridge(pairs.flatten(3))).flatten(1, 2)
        return DecoderState(state, context)

    def decode(self, state: DecoderState, target: Tensor) -> tuple[Tensor, DecoderState]:
        """Return features (B, T, E) for the output layer, and the state after the last of the tokens.

        target: (B, T) int64, what the decoder is fed: in training the target shifted right behind `<go>`.
        """
        embedded = locked_dropout(self.target_embedding(target), self.dropout.embedding, self.training)
        inputs = embedded
        if self.shape.context_at_every_step:
            context = state.context[:, None].expand(-1, target.shape[1], -1)
            inputs = torch.cat([embedded, context.to(embedded.dtype)], 2)
        hidden, recurrent = self.decoder(inputs, None, state.recurrent)
        if self.shape.context_at_every_step:
            hidden = torch.cat([hidden, inputs.to(hidden.dtype)], 2)
        features = self.readout(dropout(hidden, self.dropout.output, self.training))
        return features, DecoderState(recurrent, state.context)

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return logits (B, V) of the next token and the next state; tokens: (B,) int64, the ones just written."""
        features, state = self.decode(state, tokens[:, None])
        return self.output(features[:, 0]), state
