"""The network of a tagger: words and their characters, recurrent layers, a score for each tag (Ma and Hovy 2016)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpseq.nn.crf import Chain
from nlpseq.nn.masks import locked_dropout
from nlpseq.nn.recurrent import Recurrent

__all__ = ["Dropout", "Shape", "TaggerNetwork"]

_WIDTH = 3  # characters that a filter sees


class Shape(NamedTuple):
    """The sizes of a tagger and what its parts are.

    words: rows of words that are trained; given: rows of given vectors, those of these words first, 0 where there are
    none; spelling: cnn, lstm or none; features: that the characters give; unknown: the row of words, and of characters,
    that stands for others.
    """

    words: int
    given: int
    characters: int
    tags: int
    embed_size: int
    character_size: int
    features: int
    hidden_size: int
    cell: str = "lstm"
    layers: int = 1
    spelling: str = "cnn"
    unknown: int = 1


class Dropout(NamedTuple):
    """Probabilities: on characters, on words' features, between layers and before the output (these two locked), on
    inputs of W_hh.
    """

    characters: float = 0.0
    features: float = 0.0
    layer: float = 0.0
    recurrent: float = 0.0


class TaggerNetwork(nn.Module):
    """Word vectors beside what a word's characters give, through a bidirectional stack, to scores of tags.

    `spell` reads the distinct words of a batch once each; `forward` takes what it gave. allowed: see `Chain`;
    trained: whether the chain's transitions are.
    """

    given: Tensor  # (G, E), rows of given vectors
    paces: Tensor  # (G,), how much of what was learnt is added to each

    def __init__(self, shape: Shape, dropout: Dropout, allowed: Tensor, *, trained: bool) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        self.words = nn.Embedding(shape.words, shape.embed_size)
        self.register_buffer("given", torch.zeros(shape.given, shape.embed_size))
        self.register_buffer("paces", torch.zeros(shape.given))
        nn.init.normal_(self.words.weight, std=shape.embed_size**-0.5)
        features = shape.features if shape.spelling != "none" else 0
        if features:
            self.characters = nn.Embedding(shape.characters, shape.character_size)
            nn.init.normal_(self.characters.weight, std=shape.character_size**-0.5)
            nn.init.zeros_(self.characters.weight[shape.unknown])  # training never meets it: it must say nothing
        if shape.spelling == "cnn":
            self.filters = nn.Linear(_WIDTH * shape.character_size, features)
        elif shape.spelling == "lstm":
            self.speller = Recurrent("lstm", shape.character_size, -(-features // 2), bidirectional=True)
            features = self.speller.output_size
        self.context = Recurrent(
            shape.cell,
            shape.embed_size + features,
            shape.hidden_size,
            layers=shape.layers,
            bidirectional=True,
            dropout=dropout.layer,
            recurrent_dropout=dropout.recurrent,
        )
        self.output = nn.Linear(self.context.output_size, shape.tags)
        self.chain = Chain(allowed, trained=trained)

    def spell(self, characters: Tensor, lengths: Tensor) -> Tensor:
        """Return what words' characters give, (U, F), without columns where characters are not read.

        characters: (U, L) int64, of U words; lengths: (U,) of at least 1.
        """
        if self.shape.spelling == "none":
            return torch.zeros(len(characters), 0, device=characters.device)
        vectors = F.dropout(self.characters(characters), self.dropout.characters, self.training)
        if self.shape.spelling == "lstm":
            return self.speller.top(self.speller(vectors, lengths)[1])
        inside = torch.arange(characters.shape[1], device=lengths.device) < lengths[:, None]
        vectors = F.pad(vectors * inside[..., None], (0, 0, 1, 1))  # a character on each side of the word
        windows = torch.cat([vectors[:, :-2], vectors[:, 1:-1], vectors[:, 2:]], 2)  # (U, L, 3 C)
        found = self.filters(windows).masked_fill(~inside[..., None], -torch.inf)
        return F.relu(found.amax(1))

    def vectors(self, words: Tensor, unknown: Tensor | None = None) -> Tensor:
        """Return the vectors of words, (B, T, E): given ones, and what was learnt to be added to them.

        An optimiser that scales its steps, as Adam does, would move given vectors as fast as drawn ones: with a pace
        below 1 they stay near those of words that the training split does not have. unknown: (B, T) bool, words that
        shall be as if training did not have them: as they are given, or else [UNK].
        """
        if not self.shape.given:
            rows = words if unknown is None else words.masked_fill(unknown, self.shape.unknown)
            return self.words(rows)  # type: ignore[no-any-return]
        paces = self.paces[words]
        if unknown is not None:
            has_vector = F.embedding(words, self.given).any(2)
            words = words.masked_fill(unknown & ~has_vector, self.shape.unknown)
            paces = self.paces[words].masked_fill(unknown & has_vector, 0.0)
        learnt: Tensor = self.words(words.clamp(max=self.shape.words - 1)) * paces[..., None]
        return F.embedding(words, self.given) + learnt

    def forward(self, words: Tensor, spelt: Tensor, lengths: Tensor, unknown: Tensor | None = None) -> Tensor:
        """Return the score of each tag at each token, (B, T, Y); those at padding mean nothing.

        words: (B, T) int64; spelt: (B, T, F), rows of what `spell` gave; lengths: (B,) of at least 1; unknown: as for
        `vectors`.
        """
        return self.read(self.embed(words, spelt, unknown), lengths)

    def embed(self, words: Tensor, spelt: Tensor, unknown: Tensor | None = None) -> Tensor:
        """Return what each token enters the recurrent layers as, (B, T, E + F), with dropout; as for `forward`."""
        vectors = self.vectors(words, unknown)
        inputs = torch.cat([vectors, spelt.to(vectors.dtype)], 2)
        return locked_dropout(inputs, self.dropout.features, self.training)

    def read(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the score of each tag for what `embed` gave, (B, T, Y)."""
        hidden, _ = self.context(inputs, lengths)
        scores: Tensor = self.output(locked_dropout(hidden, self.dropout.layer, self.training))
        return scores
