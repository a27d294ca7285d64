"""Decoding over any `step` function: tokens and state in, logits and the next state out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Found", "greedy"]

State = TypeVar("State", bound=tuple[Any, ...])
_LOOK_EVERY = {"cpu": 1, "cuda": 8}  # steps between looks at what was written: a look waits for the device


class Found(NamedTuple):
    """What a search wrote for each sentence."""

    tokens: list[list[int]]  # `eos` not among them
    scores: list[float]  # sum of the log-probabilities of the tokens and of `eos`, in nats


@torch.inference_mode()
def greedy(
    step: Callable[[Tensor, State], tuple[Tensor, State]],
    state: State,
    limits: Sequence[int],
    *,
    rows: int,
    go: int,
    eos: int,
    banned: Sequence[int] = (),
) -> Found:
    """Return the tokens that feeding back the likeliest one gives, for each sentence, until `eos` or its limit.

    step: (tokens (rows,), state) -> (logits (rows, V), state); state: of all sentences before their first token, a
    NamedTuple of tensors whose first dimension is the sentence; limits: the most tokens of each sentence, `eos` not
    counted; rows: how many sentences each step has, always: a sentence that has ended leaves its row to the next one,
    the longest limits first, and a row without a sentence goes on idly, so that no result depends on the others.
    go, eos: ids of the first and the last token; banned: ids never written. Equal logits: the lowest id.
    """
    found = Found([[] for _ in limits], [0.0] * len(limits))
    waiting = sorted((n for n, limit in enumerate(limits) if limit), key=lambda n: -limits[n])[::-1]
    if not waiting:
        return found
    device = state[0].device
    never = torch.tensor(list(banned), dtype=torch.int64).to(device, non_blocking=True)
    now, tokens = _repeated(state, rows), torch.full((rows,), go, device=device)
    seats: dict[int, int] = {}  # the sentence in each row that has one
    while True:
        free = [row for row in range(rows) if row not in seats]
        new = {row: waiting.pop() for row in free[: len(waiting)]}
        if new:
            seats |= new
            places = torch.tensor([list(new), list(new.values())]).to(device, non_blocking=True)
            tokens.index_fill_(0, places[0], go)
            for part, whole in zip(now, state, strict=True):
                part.index_copy_(0, places[0], whole[places[1]])
        if not seats:
            return found
        written, shares = [], []
        for _ in range(_LOOK_EVERY[device.type]):
            logits, now = step(tokens, now)
            best, tokens = torch.log_softmax(logits.float().index_fill_(1, never, -torch.inf), 1).max(1)
            written.append(tokens)
            shares.append(best)
        looked = zip(torch.stack(written, 1).tolist(), torch.stack(shares, 1).tolist(), strict=True)
        for row, steps in enumerate(looked):
            if row in seats and _ends(found, seats[row], zip(*steps, strict=True), eos=eos, limit=limits[seats[row]]):
                del seats[row]


def _ends(found: Found, sentence: int, steps: Iterable[tuple[int, float]], *, eos: int, limit: int) -> bool:
    """Add steps (token, log-probability) to a sentence; return whether it has ended with them."""
    for token, share in steps:
        found.scores[sentence] += share
        if token == eos:
            return True
        found.tokens[sentence].append(token)
        if len(found.tokens[sentence]) == limit:
            return True
    return False


def _repeated(state: State, rows: int) -> State:
    """Return a state of its own whose rows are all the first sentence's."""
    return type(state)(*(part[:1].repeat(rows, *[1] * (part.dim() - 1)) for part in state))
