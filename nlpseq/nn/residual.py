"""Residual blocks: levels that each add to a sum, between normalisations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nlpseq.nn.masks import locked_dropout

__all__ = ["Residual"]


class Residual(nn.Module):
    """What is around recurrent layers in pre-norm residual blocks (He et al. 2016; Xiong et al. 2020).

        x = norm(inputs)    x = x + layer(norm(x))    x = x + W gelu(V norm(x) + c) + b    outputs = norm(x)

    in which norm is a layer normalisation (Ba et al. 2016), each with weights of its own, and the second sum, of
    `feed_forward` units as the Transformer's (Vaswani et al. 2017), is there where that is not 0. A linear layer comes
    before all where inputs are not of the blocks' size. dropout: on all that is added, locked over time.
    """

    def __init__(
        self, input_size: int, size: int, *, layers: int = 1, feed_forward: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        entry = nn.Identity() if input_size == size else nn.Linear(input_size, size)
        self.entry = nn.Sequential(entry, nn.LayerNorm(size))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(layers))
        self.further = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(size), nn.Linear(size, feed_forward), nn.GELU(), nn.Linear(feed_forward, size))
            for _ in range(layers if feed_forward else 0)
        )
        self.exit = nn.LayerNorm(size)

    def forward(self, inputs: Tensor, read: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Return (B, S, size) of inputs (B, S, D), or without S of both; read: what layer n makes of (B, S, size)."""
        total = self.entry(inputs)
        if total.dtype == torch.bfloat16:  # autocast's, but sums are float32
            total = total.float()
        for level, norm in enumerate(self.norms):
            total = total + locked_dropout(read(level, norm(total)), self.dropout, self.training)
            if self.further:
                total = total + locked_dropout(self.further[level](total), self.dropout, self.training)
        outputs: Tensor = self.exit(total)
        return outputs
