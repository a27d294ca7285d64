"""Recurrent layers whose final state is the state at a sequence's own last token, whatever the padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpseq.nn.cells import Cell, GRUCell, LSTMCell, PeepholeLSTMCell, SimpleCell, Weights, unroll
from nlpseq.nn.masks import locked_dropout
from nlpseq.nn.residual import Residual

__all__ = ["CELLS", "Layer", "Recurrent", "reverse"]

CELLS = ("gru", "lstm", "rnn")  # that have fused kernels


def reverse(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Return inputs (B, S, D) with the first `lengths` (B,) tokens of each row reversed, the padding left behind."""
    steps = torch.arange(inputs.shape[1], device=inputs.device)[None]  # (1, S)
    back = lengths[:, None] - 1 - steps  # (B, S)
    row = torch.arange(len(inputs), device=inputs.device)[:, None] * inputs.shape[1]
    reversed_: Tensor = _Exchange.apply(inputs, (row + torch.where(back >= 0, back, steps)).flatten())  # type: ignore[no-untyped-call]
    return reversed_


class _Exchange(torch.autograd.Function):
    """Moves whole tokens by an exchange of places, which is its own inverse, so that backwards is as quick."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return inputs.flatten(0, 1).index_select(0, places).view_as(inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return gradient.flatten(0, 1).index_select(0, places).view_as(gradient), None


class Layer(nn.Module):
    """One recurrent layer in one direction on torch's fused kernel, simple (Elman 1990), LSTM or GRU; or, step by step,
    the LSTM with peepholes.

    The GRU is that of arXiv 1406.1078v1 (Cho et al. 2014), as in torch and cuDNN (reset gate after the product):

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = (1 - z) * n + z * h

    Textbooks often print v3, r * h before the product W_hn, with z and 1 - z as in Chung et al. 2014 (`cells`).

    recurrent_dropout zeroes inputs of W_hh, the same ones at every step (Gal and Ghahramani 2016): by one mask a batch,
    applied to the columns of W_hh, so that the fused kernel computes exactly that; or, with `mask_per_row`, by one for
    each row, step by step.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, *, recurrent_dropout: float = 0.0) -> None:
        super().__init__()
        kinds: dict[str, type[nn.GRU] | type[nn.LSTM] | type[nn.RNN]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
        self.cell = cell
        self.states = 2 if cell in ("lstm", "peephole") else 1
        self.recurrent_dropout = recurrent_dropout
        self.mask_per_row = False
        self.rnn = kinds["lstm" if cell == "peephole" else cell](input_size, hidden_size, batch_first=True)
        for gate in torch.split(self.rnn.all_weights[0][1].data, hidden_size):
            nn.init.orthogonal_(gate)
        if self.states == 2:  # a new cell keeps what it holds (Gers et al. 2000; Jozefowicz et al. 2015)
            nn.init.ones_(self.rnn.all_weights[0][2].data[hidden_size : 2 * hidden_size])
        if cell == "peephole":
            self.peepholes = nn.Parameter(torch.zeros(3, hidden_size))  # an LSTM without them, to begin with

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs (B, S, H) and the state (B, K, H) after each row's last token; K is 2 (h, c) for the LSTM.

        inputs: (B, S, D); lengths: (B,) int64 of at least 1, all S when absent; state: (B, K, H), zeros when absent.
        """
        if state is None:
            state = inputs.new_zeros(inputs.shape[0], self.states, self.rnn.hidden_size)
        masked = self.training and self.recurrent_dropout > 0
        if self.cell == "peephole" or (masked and self.mask_per_row):
            return self._by_steps(inputs, lengths, state, masked=masked)
        weights = self._weights()
        if lengths is not None and self.cell == "lstm":
            inputs, weights = _freeze_padding(inputs, lengths, weights)
        first = state.to(inputs.dtype).transpose(0, 1).contiguous()  # (K, B, H)
        outputs, last = self._run(inputs, first, weights)
        if lengths is None:
            return outputs, last.transpose(0, 1)
        hidden = outputs.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, outputs.shape[2]))  # (B, 1, H)
        return outputs, torch.cat([hidden, last[1:].transpose(0, 1)], 1)

    @property
    def reference(self) -> Cell:
        """The cell with this layer's weights, for one step at a time."""
        weights = Weights(*self._plain_weights())
        if self.cell == "peephole":
            return PeepholeLSTMCell(weights._replace(peepholes=self.peepholes))
        kinds: dict[str, Callable[[Weights], Cell]] = {"lstm": LSTMCell, "gru": GRUCell, "rnn": SimpleCell}
        return kinds[self.cell](weights)

    def _by_steps(
        self, inputs: Tensor, lengths: Tensor | None, state: Tensor, *, masked: bool
    ) -> tuple[Tensor, Tensor]:
        mask = None
        if masked:
            rows = len(inputs) if self.mask_per_row else 1
            mask = F.dropout(inputs.new_ones(rows, self.rnn.hidden_size), self.recurrent_dropout)
        outputs, last = unroll(self.reference, inputs, state.unbind(1), lengths=lengths, mask=mask)
        return outputs, torch.stack(last, 1)

    def _plain_weights(self) -> list[Tensor]:
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return [getattr(self.rnn, name) for name in names]

    def _weights(self) -> list[Tensor]:
        w_ih, w_hh, b_ih, b_hh = self._plain_weights()
        if self.training and self.recurrent_dropout:
            w_hh = w_hh * F.dropout(torch.ones_like(w_hh[:1]), self.recurrent_dropout)
        return [w_ih, w_hh, b_ih, b_hh]

    def _run(self, inputs: Tensor, state: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
        rest = (weights, True, 1, 0.0, self.training, False, True)
        if self.cell == "lstm":
            outputs, h, c = torch.lstm(inputs, [state[:1], state[1:]], *rest)
            return outputs, torch.cat([h, c])
        kernel = torch.gru if self.cell == "gru" else torch.rnn_tanh
        outputs, h = kernel(inputs, state, *rest)
        return outputs, h


def _freeze_padding(inputs: Tensor, lengths: Tensor, weights: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return LSTM inputs and weights with one more input, 1 at padding, that closes the input gate and opens forget.

    Saturated gates are exactly 0 and 1, so the cell at the end is, to the bit, the cell at the row's last token: the
    fused kernel returns it, where a packed sequence would be slower and would let neighbours change the rounding.
    """
    steps = torch.arange(inputs.shape[1], device=inputs.device)[None]
    padding = (steps >= lengths[:, None]).to(inputs.dtype)[..., None]  # (B, S, 1)
    size = weights[1].shape[1]
    column = weights[0].new_zeros(4 * size, 1)  # torch's order of gates: input, forget, cell, output
    column[:size], column[size : 2 * size] = -1e4, 1e4
    return torch.cat([inputs, padding], 2), [torch.cat([weights[0], column], 1), *weights[1:]]


class Recurrent(nn.Module):
    """Stacked recurrent layers, each its own module, read forward or both ways.

    The state of a row is (K, H): for each layer, for each direction, h, and for the LSTM also c.
    dropout: between layers, locked over time; recurrent_dropout: see Layer. blocks: where set, the layers are
    in these residual blocks, of the layers' size, which have a dropout of their own.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks: Residual | None = None
        self.directions = 2 if bidirectional else 1
        self.dropout = dropout
        self.output_size = hidden_size * self.directions
        sizes = [input_size, *[self.output_size] * (layers - 1)]
        self.layers = nn.ModuleList(
            Layer(cell, size, hidden_size, recurrent_dropout=recurrent_dropout)
            for size in sizes
            for _ in range(self.directions)
        )
        self.states_per_layer = 2 if cell in ("lstm", "peephole") else 1
        self.states = len(self.layers) * self.states_per_layer

    def mask_each_row(self) -> None:
        """Let recurrent dropout draw a mask for each row from now on, step by step, as the paper has it."""
        for layer in self.layers:
            if isinstance(layer, Layer):
                layer.mask_per_row = True

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs (B, S, H * directions) and the state (B, K, H) at each row's own last token.

        inputs: (B, S, D); lengths: (B,) int64 of at least 1, all S when absent; state: (B, K, H), zeros when absent.
        Backward layers end at a row's first token. Outputs at padding mean nothing.
        """
        firsts = [None] * len(self.layers) if state is None else torch.split(state, self.states_per_layer, 1)
        finals: list[Tensor] = []

        def read(level: int, inputs: Tensor) -> Tensor:
            layer = level * self.directions
            outputs: Tensor
            outputs, final = self.layers[layer](inputs, lengths, firsts[layer])
            finals.append(final)
            if self.directions == 2:
                whole = lengths
                if whole is None:
                    whole = torch.full(inputs.shape[:1], inputs.shape[1], device=inputs.device)
                back, final = self.layers[layer + 1](reverse(inputs, whole), lengths, firsts[layer + 1])
                outputs = torch.cat([outputs, reverse(back, whole)], 2)
                finals.append(final)
            return outputs

        outputs = self._through(inputs, read)
        return outputs, torch.cat(finals, 1)

    def _through(self, inputs: Tensor, read: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Return what the levels make of inputs; read: what one level, counted from 0, makes of its own."""
        if self.blocks is not None:
            outputs: Tensor = self.blocks(inputs, read)
            return outputs
        for level in range(len(self.layers) // self.directions):
            if level:
                inputs = locked_dropout(inputs, self.dropout, self.training)
            inputs = read(level, inputs)
        return inputs

    def step(self, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return outputs (B, H) and the next state (B, K, H) of one token a row, as a model in evaluation mode.

        inputs: (B, D); state: (B, K, H), zeros when absent. The fused kernels sort the weights anew in every call,
        which costs an LSTM seven times the step itself: so the cells of torch are asked. Raises ValueError in
        training mode and for layers that read backwards, too, or have peepholes.
        """
        layers = [layer for layer in self.layers if isinstance(layer, Layer) and layer.cell in CELLS]
        if len(layers) < len(self.layers) or self.directions == 2 or self.training:
            raise ValueError("step is for layers that read forwards, of CELLS, in evaluation mode")
        if state is None:
            state = inputs.new_zeros(len(inputs), self.states, layers[0].rnn.hidden_size)
        owns = torch.split(state, self.states_per_layer, 1)
        after: list[Tensor] = []

        def read(level: int, inputs: Tensor) -> Tensor:
            weights = layers[level].rnn.all_weights[0]
            parts = [part.contiguous() for part in owns[level].unbind(1)]
            if self.states_per_layer == 2:
                after.extend(torch.lstm_cell(inputs, parts, *weights))
                return after[-2]
            cell = torch.gru_cell if layers[level].cell == "gru" else torch.rnn_tanh_cell
            after.append(cell(inputs, parts[0], *weights))
            return after[-1]

        outputs = self._through(inputs, read)
        return outputs, torch.stack(after, 1)

    def outputs(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return what `forward` does but for the state, which for the LSTM costs another input; no state to begin with.

        Where padding lies on the right, what comes behind a row's last token cannot reach what is before it.
        """

        def read(level: int, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.layers[level * self.directions](inputs)[0]
            if self.directions == 2:
                back = self.layers[level * self.directions + 1](reverse(inputs, lengths))[0]
                outputs = torch.cat([outputs, reverse(back, lengths)], 2)
            return outputs

        return self._through(inputs, read)

    def top(self, state: Tensor) -> Tensor:
        """Return h of the last layer (B, H * directions) out of a state (B, K, H)."""
        last = state[:, -self.directions * self.states_per_layer :: self.states_per_layer]  # (B, directions, H)
        return last.flatten(1)
