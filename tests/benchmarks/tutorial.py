"""The same translator as tutorials write it, to be timed beside ours: torch.nn modules and a plain loop.

Shuffled batches padded to their longest sentence, a decoder that is called token by token, the cross-entropy over all
logits at once, greedy decoding of one sentence after the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from nlpseq.batches import pad
from nlpseq.pairs import PairData
from nlpseq.settings import TranslatorConfig
from nlpseq.vocab import EOS, GO, PAD

__all__ = ["Tutorial", "batches", "greedy", "step"]


class Tutorial(nn.Module):
    """A GRU encoder, and a GRU decoder that sees the encoder's last state at every step and before the output."""

    def __init__(self, vocabulary: int, sizes: TranslatorConfig) -> None:
        super().__init__()
        embed, hidden = sizes.embed_size, sizes.hidden_size
        self.source = nn.Embedding(vocabulary, embed, padding_idx=PAD)
        self.target = nn.Embedding(vocabulary, embed, padding_idx=PAD)
        self.encoder = nn.GRU(embed, hidden, batch_first=True)
        self.decoder = nn.GRU(embed + hidden, hidden, batch_first=True)
        self.readout = nn.Linear(embed + 2 * hidden, embed)
        self.output = nn.Linear(embed, vocabulary)
        self.output.weight = self.target.weight
        self.dropout = nn.Dropout(sizes.dropout)

    def encode(self, source: Tensor) -> Tensor:
        return self.encoder(self.dropout(self.source(source)))[1]

    def step(self, tokens: Tensor, state: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        embedded = self.dropout(self.target(tokens[:, None]))
        inputs = torch.cat([embedded, context.transpose(0, 1)], 2)
        hidden, state = self.decoder(inputs, state)
        features = self.readout(self.dropout(torch.cat([hidden, inputs], 2)[:, 0]))
        return self.output(features), state

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        state = context = self.encode(source)
        fed = torch.cat([torch.full_like(target[:, :1], GO), target[:, :-1]], 1)
        logits = []
        for place in range(fed.shape[1]):
            now, state = self.step(fed[:, place], state, context)
            logits.append(now)
        return torch.stack(logits, 1)


def batches(data: PairData, rows: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield source and target of so many pairs each, in random order, padded to the longest."""
    order = np.random.default_rng(seed).permutation(len(data.source))
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        yield pad(data.source, chosen)[0], pad(data.target, chosen)[0]


def step(model: Tutorial, optimizer: torch.optim.Optimizer, source: Tensor, target: Tensor) -> int:
    """Train on one batch; return its number of real target tokens."""
    optimizer.zero_grad()
    logits = model(source, target)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=0.1)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return int((target != PAD).sum())


@torch.no_grad()
def greedy(model: Tutorial, source: list[int], limit: int) -> list[int]:
    """Return the translation of one sentence of ids, in reading order."""
    state = context = model.encode(torch.tensor([source]))
    tokens, written = torch.tensor([GO]), []
    while len(written) < limit:
        logits, state = model.step(tokens, state, context)
        tokens = logits.argmax(1)
        if int(tokens) == EOS:
            break
        written.append(int(tokens))
    return written
