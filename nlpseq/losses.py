"""Losses return a sum and a count, never a mean: a mean of means over ragged batches is wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["linear_cross_entropy"]

_CHUNK_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}  # logits held at once: on a CPU they shall stay in the cache


def linear_cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the sum over tokens of the training loss and of the plain negative log-likelihood, in nats.

    features: (N, E); weight: (V, E); bias: (V,); targets: (N,) int64. With smoothing s the training loss is the
    cross-entropy against (1 - s) on the target plus s / V on every word (Szegedy et al. 2016). The second sum carries
    no gradient. The logits never exist as a whole: each chunk of rows makes its gradient at once, products run in
    autocast's type, normalisers and sums in float32.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    if not torch.is_grad_enabled():  # else apply would make gradients that nobody can ask for
        weight, bias, features = weight.detach(), bias.detach(), features.detach()
    loss, plain = _LinearCrossEntropy.apply(features, weight, bias, targets, smoothing, dtype)  # type: ignore[no-untyped-call]
    return loss, plain


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        features, weight, bias, targets, smoothing, dtype = arguments
        wanted = any(ctx.needs_input_grad[:3])
        with torch.autocast(features.device.type, enabled=False):
            x, w = features.to(dtype), weight.to(dtype)
            grads = (torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)) if wanted else None
            total = features.new_zeros(2, dtype=torch.float32)
            rows = max(1, _CHUNK_ELEMENTS[features.device.type] // weight.shape[0])
            for start in range(0, len(x), rows):
                part = slice(start, start + rows)
                logits = torch.mm(x[part], w.T).float() + bias
                total += _chunk_sums(logits, targets[part], smoothing)
                if grads is not None:
                    _chunk_gradient(logits, targets[part], smoothing)
                    d = logits.to(dtype)
                    torch.mm(d, w, out=grads[0][part])
                    grads[1].add_(torch.mm(d.T, x[part]))
                    grads[2].add_(logits.sum(0))
        if grads is not None:
            ctx.save_for_backward(*grads)
            ctx.feature_dtype = features.dtype
        loss, plain = total.unbind()
        ctx.mark_non_differentiable(plain)
        return loss, plain

    @staticmethod
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias = ctx.saved_tensors
        return (features * scale).to(ctx.feature_dtype), weight * scale, bias * scale, None, None, None


def _chunk_sums(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return (2,) float32: the smoothed and the plain loss, summed; turns logits (n, V) into log-probabilities."""
    logits.sub_(torch.logsumexp(logits, 1, keepdim=True))
    plain = -logits.gather(1, targets[:, None]).sum()
    loss = (1 - smoothing) * plain - smoothing / logits.shape[1] * logits.sum() if smoothing else plain
    return torch.stack([loss, plain])


def _chunk_gradient(logs: Tensor, targets: Tensor, smoothing: float) -> None:
    """Turn log-probabilities (n, V) into the gradient of the summed loss with respect to the logits, in place."""
    logs.exp_().sub_(smoothing / logs.shape[1])
    logs.scatter_add_(1, targets[:, None], logs.new_full((len(targets), 1), smoothing - 1.0))
