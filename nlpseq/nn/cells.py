"""Recurrent cells as their equations are printed, one step at a time: to read, to unroll by hand, to test against.

The fused kernels of `recurrent.Layer` compute the same, much faster. Weights have torch's form: G gates of H numbers,
one under the other. `x` is a step's inputs (B, D); a state is h (B, H), for the LSTMs (h, c). Where `mask` (B, H) is
given, the recurrent weights see h times it: the dropout of Gal and Ghahramani 2016.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Cell",
    "GRUCell",
    "LSTMCell",
    "PeepholeLSTMCell",
    "SimpleCell",
    "State",
    "TextbookGRUCell",
    "Weights",
    "textbook_weights",
    "unroll",
]

State = tuple[Tensor, ...]  # h, and for the LSTMs c, each (B, H)


class Weights(NamedTuple):
    """What a cell has learnt; G is 1 for the simple cell, 3 for the GRU (r, z, n), 4 for the LSTM (i, f, g, o)."""

    inputs: Tensor  # (G * H, D)
    recurrent: Tensor  # (G * H, H)
    input_bias: Tensor  # (G * H,)
    recurrent_bias: Tensor  # (G * H,)
    peepholes: Tensor | None = None  # (3, H): from the cell's state to i, f and o


class Cell(Protocol):
    """Anything that can be unrolled."""

    def step(self, x: Tensor, state: State, mask: Tensor | None = None) -> State:
        """Return the next state."""


class SimpleCell(NamedTuple):
    """Elman 1990: h' = tanh(W x + b + U h + d)."""

    weights: Weights

    def step(self, x: Tensor, state: State, mask: Tensor | None = None) -> State:
        """Return the next state (h,)."""
        given, kept = _products(self.weights, x, state[0], mask)
        return (torch.tanh(given + kept),)


class LSTMCell(NamedTuple):
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000.

    i, f, o = sigmoid(W x + b + U h + d), each with weights of its own, g = tanh of the same;
    c' = f * c + i * g, h' = o * tanh(c').
    """

    weights: Weights

    def step(self, x: Tensor, state: State, mask: Tensor | None = None) -> State:
        """Return the next state (h, c)."""
        given, kept = _products(self.weights, x, state[0], mask)
        i, f, g, o = (given + kept).chunk(4, -1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class PeepholeLSTMCell(NamedTuple):
    """The LSTM whose gates see the cell's state too (Gers and Schmidhuber 2000): i and f see c, o sees c'."""

    weights: Weights

    def step(self, x: Tensor, state: State, mask: Tensor | None = None) -> State:
        """Return the next state (h, c)."""
        if self.weights.peepholes is None:
            raise ValueError("`peepholes` must be given, but is absent.")
        to_i, to_f, to_o = self.weights.peepholes
        given, kept = _products(self.weights, x, state[0], mask)
        i, f, g, o = (given + kept).chunk(4, -1)
        c = torch.sigmoid(f + to_f * state[1]) * state[1] + torch.sigmoid(i + to_i * state[1]) * torch.tanh(g)
        return torch.sigmoid(o + to_o * c) * torch.tanh(c), c


class GRUCell(NamedTuple):
    """Cho et al. 2014, arXiv 1406.1078v1, as in torch, cuDNN and Keras (`reset_after=True`): reset behind the product.

    r, z = sigmoid(W x + b + U h + d), each with weights of its own; n = tanh(W x + b + r * (U h + d));
    h' = (1 - z) * n + z * h.
    """

    weights: Weights

    def step(self, x: Tensor, state: State, mask: Tensor | None = None) -> State:
        """Return the next state (h,)."""
        given, kept = (part.chunk(3, -1) for part in _products(self.weights, x, state[0], mask))
        r, z = torch.sigmoid(given[0] + kept[0]), torch.sigmoid(given[1] + kept[1])
        n = torch.tanh(given[2] + r * kept[2])
        return ((1 - z) * n + z * state[0],)


class TextbookGRUCell(NamedTuple):
    """The GRU as textbooks print it: reset before the product (Cho et al. 2014, arXiv 1406.1078v3), and z and 1 - z
    exchanged (Chung et al. 2014).

    r, z as in GRUCell; n = tanh(W x + b + U (r * h) + d); h' = z * n + (1 - z) * h. With `textbook_weights` z has the
    same meaning as torch's; the two are the same map where U of n is diagonal and its bias d is 0, else neighbours.
    """

    weights: Weights

    def step(self, x: Tensor, state: State, mask: Tensor | None = None) -> State:
        """Return the next state (h,)."""
        h = state[0]
        given, kept = (part.chunk(3, -1) for part in _products(self.weights, x, h, mask))
        r, z = torch.sigmoid(given[0] + kept[0]), torch.sigmoid(given[1] + kept[1])
        w, d = self.weights.recurrent.chunk(3)[2], self.weights.recurrent_bias.chunk(3)[2]
        n = torch.tanh(given[2] + F.linear(r * _seen(h, mask), w, d))
        return (z * n + (1 - z) * h,)


def textbook_weights(weights: Weights) -> Weights:
    """Return the weights of torch's GRU for the textbooks' one, or back: with z and 1 - z exchanged, z changes sign."""

    def exchanged(part: Tensor) -> Tensor:
        r, z, n = part.chunk(3)
        return torch.cat([r, -z, n])

    return Weights(*map(exchanged, weights[:4]))


def unroll(
    cell: Cell, inputs: Tensor, first: State, *, lengths: Tensor | None = None, mask: Tensor | None = None
) -> tuple[Tensor, State]:
    """Return h at every step (B, S, H), and the state after each row's last token.

    inputs: (B, S, D); first: the state before them; lengths: (B,) int64, all S when absent; mask: see the module.
    """
    state, outputs = first, []
    for number, x in enumerate(inputs.unbind(1)):
        after = cell.step(x, state, mask)
        if lengths is not None:
            inside = (number < lengths)[:, None]
            after = tuple(torch.where(inside, new, old) for new, old in zip(after, state, strict=True))
        state = after
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def _products(w: Weights, x: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what all gates get from the inputs and from the state, (B, G * H) each."""
    return F.linear(x, w.inputs, w.input_bias), F.linear(_seen(h, mask), w.recurrent, w.recurrent_bias)


def _seen(h: Tensor, mask: Tensor | None) -> Tensor:
    return h if mask is None else h * mask
