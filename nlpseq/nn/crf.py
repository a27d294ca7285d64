"""A linear chain of tags over scores of each token: sums, best paths and probabilities, whatever autocast says.

With trained transitions it is the conditional random field of Lafferty et al. 2001; with zeros where a tag may follow
another it is the lattice of the legal sequences. Y is the number of tags, T the tokens of a row, padding included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nlpseq.nn.recurrent import reverse

__all__ = ["IMPOSSIBLE", "Chain", "Lattice", "best_paths", "log_partition", "path_scores", "sums"]

IMPOSSIBLE = -1e4  # the score of what is illegal: its exponential is 0, and no sum becomes infinite
_LEAST, _MOST = 1e-300, 1e300


class Lattice(NamedTuple):
    """The scores of a batch of chains, and how long each is."""

    emissions: Tensor  # (B, T, Y) float32, of a tag at a token
    transitions: Tensor  # (Y, Y), from a tag (row) to the next
    starts: Tensor  # (Y,)
    ends: Tensor  # (Y,)
    lengths: Tensor  # (B,) int64, at least 1

    def cooled(self, temperature: float) -> Lattice:
        """Return the lattice with all scores divided by a temperature; what is impossible stays so."""

        def cool(scores: Tensor) -> Tensor:
            return torch.where(scores <= IMPOSSIBLE / 2, scores, scores / temperature)

        moves, starts, ends = cool(self.transitions), cool(self.starts), cool(self.ends)
        return Lattice(cool(self.emissions), moves, starts, ends, self.lengths)

    def lowered(self, tag: int, nats: float) -> Lattice:
        """Return the lattice with the score of a tag lowered by so many nats at each token."""
        emissions = self.emissions.clone()
        emissions[..., tag] -= nats
        return self._replace(emissions=emissions)


class Sums(NamedTuple):
    """Sums over paths, float64, in nats."""

    before: Tensor  # (B, T, Y), over all paths that come to a tag at a token, its own score included
    behind: Tensor  # (B, T, Y), over all that go on from it, its own score included
    total: Tensor  # (B,), over all paths: the logarithm of the partition function


class Chain(nn.Module):
    """Scores of transitions between tags, of the first and of the last one.

    allowed: (Y + 1, Y + 1) bool, whether a tag may follow another; the last row and column stand for the sentence's
    start and end. trained: whether allowed transitions have a score that is learnt; it is 0 otherwise.
    """

    allowed: Tensor

    def __init__(self, allowed: Tensor, *, trained: bool) -> None:
        super().__init__()
        self.register_buffer("allowed", allowed, persistent=False)
        self.scores = nn.Parameter(torch.zeros(allowed.shape)) if trained else None

    def lattice(self, emissions: Tensor, lengths: Tensor) -> Lattice:
        """Return the lattice of a batch; emissions: (B, T, Y), lengths: (B,)."""
        scores = torch.zeros(self.allowed.shape, device=emissions.device) if self.scores is None else self.scores
        scores = scores.float().masked_fill(~self.allowed, IMPOSSIBLE)
        return Lattice(emissions.float(), scores[:-1, :-1], scores[-1, :-1], scores[:-1, -1], lengths)


def _inside(lattice: Lattice) -> Tensor:
    """Return (B, T) bool, where real tokens are."""
    steps = torch.arange(lattice.emissions.shape[1], device=lattice.lengths.device)
    return steps < lattice.lengths[:, None]


@torch.no_grad()
def sums(lattice: Lattice) -> Sums:
    """Return the sums over paths by the forward-backward algorithm (Baum 1972).

    Backward is forward over the reversed tokens and the transposed transitions, so one loop over T does both. Each step
    is a product with the exponentials of the transitions. All is exact, to rounding, while the best ways to come to the
    tags of a token differ by at most 600 nats; a tag, or a move, that is further below counts as if 690 below.
    """
    e, lengths = lattice.emissions.double(), lattice.lengths
    both = torch.stack([e, reverse(e, lengths)])  # (2, B, T, Y)
    moves = lattice.transitions.double().exp()
    moves = torch.stack([moves, moves.T])[:, None]  # (2, 1, Y, Y)
    states = torch.empty_like(both)
    states[:, :, 0] = state = both[:, :, 0] + torch.stack([lattice.starts, lattice.ends])[:, None]  # (2, B, Y)
    room = state.new_empty(*state.shape, state.shape[2])  # once: freed in every step it would leave holes in the heap
    for t in range(1, e.shape[1]):
        high = state.amax(2, keepdim=True)
        shares = torch.mul((state - high).exp_()[..., None], moves, out=room)  # a product's rows round by their place
        state = shares.sum(2).clamp_min_(_LEAST).log_() + high + both[:, :, t]
        states[:, :, t] = state
    before, back = states
    last = before.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, e.shape[2]))[:, 0]  # (B, Y)
    return Sums(before, reverse(back, lengths), torch.logsumexp(last + lattice.ends, 1))


def log_partition(lattice: Lattice) -> Tensor:
    """Return the logarithm of the partition function of each row, (B,); its gradients are the marginals."""
    total: Tensor = _LogPartition.apply(*lattice)  # type: ignore[no-untyped-call]
    return total


class _LogPartition(torch.autograd.Function):
    """Gradients in closed form: a tenth of the operations that autograd would record over the loop."""

    @staticmethod
    def forward(ctx: Any, *scores: Tensor) -> Tensor:
        lattice = Lattice(*scores)
        found = sums(lattice)
        ctx.save_for_backward(*lattice, *found)
        return found.total.to(lattice.emissions.dtype)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        lattice, (before, behind, total) = Lattice(*ctx.saved_tensors[:5]), ctx.saved_tensors[5:]
        inside, rows = _inside(lattice), torch.arange(len(total), device=total.device)
        log_z, kind = total[:, None, None], lattice.emissions.dtype
        outside = ~inside[..., None]  # where sums have run on over padding, to any size
        logs = (before + behind - lattice.emissions - log_z).masked_fill(outside, -torch.inf)
        here = (logs.exp() * given[:, None, None]).to(kind)
        # The sum over tokens of exp(before[t] + transition + behind[t + 1] - log_z) as one product: each token's
        # exponentials are kept at 1 and below, and what that leaves out is a factor of its own.
        a, b = before[:, :-1], behind[:, 1:]
        highest = a.amax(2, keepdim=True), b.amax(2, keepdim=True)
        factor = (highest[0] + highest[1] - log_z).masked_fill(outside[:, 1:], -torch.inf).exp().clamp_max(_MOST)
        left = ((a - highest[0]).exp() * factor * given[:, None, None]).flatten(0, 1)
        pairs = left.T @ (b - highest[1]).exp().flatten(0, 1) * lattice.transitions.double().exp()
        last = here[rows, lattice.lengths - 1].sum(0)
        return here, pairs.to(kind), here[:, 0].sum(0), last, None


def path_scores(lattice: Lattice, paths: Tensor) -> Tensor:
    """Return the score of each step of a path, (B, T), of which the first has the start's and the last the end's.

    paths: (B, T) int64, tags; what stands at padding counts nothing.
    """
    steps = lattice.emissions.gather(2, paths[..., None])[..., 0]
    moves = lattice.transitions[paths[:, :-1], paths[:, 1:]]
    steps = steps + torch.cat([lattice.starts[paths[:, :1]], moves], 1)
    last = torch.arange(paths.shape[1], device=paths.device) == lattice.lengths[:, None] - 1
    return (steps + last * lattice.ends[paths]) * _inside(lattice)


@torch.no_grad()
def best_paths(lattice: Lattice) -> Tensor:
    """Return the likeliest tags of each row, (B, T) int64, 0 at padding (Viterbi 1967); of equal ones the first."""
    e, inside = lattice.emissions, _inside(lattice)
    state = e[:, 0] + lattice.starts
    origins: list[Tensor] = []
    for t in range(1, e.shape[1]):
        best, origin = (state[..., None] + lattice.transitions).max(1)
        state = torch.where(inside[:, t, None], best + e[:, t], state)
        origins.append(origin)
    tag = (state + lattice.ends).argmax(1)
    path = [tag]
    for t in range(e.shape[1] - 1, 0, -1):  # at padding the last real tag is handed back unchanged
        tag = torch.where(inside[:, t], origins[t - 1].gather(1, tag[:, None])[:, 0], tag)
        path.append(tag)
    return torch.stack(path[::-1], 1) * inside
