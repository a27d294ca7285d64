"""Decoding over any `step` function: tokens and state in, logits and the next state out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Found", "greedy"]

State = TypeVar("State")
_LOOK_EVERY = {"cpu": 1, "cuda": 8}  # steps between looks whether all rows have ended: a look waits for the device


class Found(NamedTuple):
    """What a search wrote for each row."""

    tokens: Tensor  # (B, T) int64, `eos` and what follows it replaced by `eos`
    scores: Tensor  # (B,) float32, sum of the log-probabilities of the tokens and of `eos`, in nats


@torch.inference_mode()
def greedy(
    step: Callable[[Tensor, State], tuple[Tensor, State]],
    state: State,
    limits: Sequence[int],
    *,
    go: int,
    eos: int,
    banned: Sequence[int] = (),
) -> Found:
    """Return the tokens that feeding back the likeliest one gives, row by row, until `eos` or the row's limit.

    step: (tokens (B,), state) -> (logits (B, V), state); limits: the most tokens of each row, `eos` not counted; a row
    of limit 0 is filling and ends at once; go, eos: ids of the first and the last token; banned: ids never written.
    Every step has all rows, so a row's result does not depend on when its neighbours end. Equal logits: lowest id.
    """
    limit, device = torch.tensor(limits), _device_of(state)
    limit = limit.to(device, non_blocking=True)
    tokens = torch.full((len(limits),), go, device=device)
    scores = torch.zeros(len(limits), device=device)
    ended = limit == 0
    never = torch.tensor(list(banned), dtype=torch.int64).to(device, non_blocking=True)
    written: list[Tensor] = []
    for count in range(max(limits, default=0)):
        logits, state = step(tokens, state)
        logits = logits.float().index_fill(1, never, -torch.inf)
        best, tokens = torch.log_softmax(logits, 1).max(1)
        scores += torch.where(ended, 0.0, best)
        tokens = torch.where(ended, eos, tokens)
        written.append(tokens)
        ended |= (tokens == eos) | (limit <= count + 1)
        if (count + 1) % _LOOK_EVERY[device.type] == 0 and bool(ended.all()):
            break
    width = torch.stack(written, 1) if written else tokens.new_empty(len(limits), 0)
    return Found(width, scores)


def _device_of(state: object) -> torch.device:
    first = state if isinstance(state, Tensor) else next(t for t in state if isinstance(t, Tensor))  # type: ignore[attr-defined]
    return first.device
