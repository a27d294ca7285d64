"""Losses return a sum and a count, never a mean: a mean of means over ragged batches is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["adversarial", "linear_cross_entropy", "noise_contrastive"]

# Logits at once in float32 (on a CPU they shall stay in the cache), and in the type of the products: for so many the
# weight's gradient is added up once, which moves all of it.
_ELEMENTS = {"cpu": (1 << 21, 1 << 24), "cuda": (1 << 26, 1 << 26)}


def linear_cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the sum over tokens of the training loss and of the plain negative log-likelihood, in nats.

    features: (N, E); weight: (V, E); bias: (V,); targets: (N,) int64. With smoothing s the training loss is the
    cross-entropy against (1 - s) on the target plus s / V on every word (Szegedy et al. 2016). The second sum carries
    no gradient. The logits of a large batch never exist as a whole: each chunk of rows makes its gradient at once;
    products run in autocast's type, normalisers and sums in float32.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    if not torch.is_grad_enabled():  # else apply would make gradients that nobody can ask for
        weight, bias, features = weight.detach(), bias.detach(), features.detach()
    loss, plain = _LinearCrossEntropy.apply(features, weight, bias, targets, smoothing, dtype)  # type: ignore[no-untyped-call]
    return loss, plain


def noise_contrastive(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, noise: Tensor, log_noise: Tensor
) -> Tensor:
    """Return the sum over tokens of the loss of noise-contrastive estimation, in nats.

    features: (N, E); weight: (V, E); bias: (V,); targets: (N,) int64; noise: (K,) int64, words drawn from q and shared
    by all rows; log_noise: (V,) log(K q(word)). The scores x . w + b are taken for log-probabilities as they are
    (Gutmann and Hyvärinen 2010; Mnih and Teh 2012), so a model learns to be normalised, and no sum over V is made.
    """
    words = torch.cat([targets, noise])
    rows = F.embedding(words, weight)
    own = bias[words] - log_noise[words]
    count = len(targets)
    true = (features.float() * rows[:count]).sum(1) + own[:count]
    false = (features @ rows[count:].T).float() + own[count:]
    return -(F.logsigmoid(true).sum() + F.logsigmoid(-false).sum())


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        features, weight, bias, targets, smoothing, dtype = arguments
        wanted = any(ctx.needs_input_grad[:3])
        with torch.autocast(features.device.type, enabled=False):
            x, w = features.to(dtype), weight.to(dtype)
            grads = (torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)) if wanted else None
            total = features.new_zeros(2, dtype=torch.float32)
            rows, block = (max(1, min(len(x), size // len(w))) for size in _ELEMENTS[features.device.type])
            # Written over again and again.
            products, logits = x.new_empty(block, len(w)), x.new_empty(rows, len(w), dtype=torch.float32)
            for start in range(0, len(x), block):
                for first in range(start, min(start + block, len(x)), rows):
                    part = slice(first, min(first + rows, start + block, len(x)))
                    product = torch.mm(x[part], w.T, out=products[first - start : part.stop - start])
                    # torch.add of two types would make a third tensor.
                    shares = logits[: len(product)].copy_(product).add_(bias)
                    total += _softmax(shares, targets[part], smoothing)
                    if grads is not None:
                        _subtract_wanted(shares, targets[part], smoothing)
                        torch.mm(product.copy_(shares), w, out=grads[0][part])
                        grads[2].add_(shares.sum(0))
                if grads is not None:
                    done = x[start : start + block]
                    grads[1].add_(torch.mm(products[: len(done)].T, done))
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


def _softmax(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return (2,) float32, the smoothed and the plain loss summed, and turn logits (n, V) into their softmax in place.

    In place, since a fresh 8 MB each time costs more in page faults than the sums in it. The normaliser comes out of
    the softmax itself, one fused pass, by way of each row's largest logit.
    """
    wanted, peak = logits.gather(1, targets[:, None])[:, 0], logits.amax(1)
    mean = logits.mean(1) if smoothing else None
    torch.softmax(logits, 1, out=logits)
    log_z = peak - logits.amax(1).log()
    plain = (log_z - wanted).sum()
    if mean is None:
        return torch.stack([plain, plain])
    return torch.stack([(1 - smoothing) * plain + smoothing * (log_z - mean).sum(), plain])


def _subtract_wanted(shares: Tensor, targets: Tensor, smoothing: float) -> None:
    """Turn a softmax (n, V) into the gradient of the summed loss with respect to the logits, in place."""
    if smoothing:
        shares.sub_(smoothing / shares.shape[1])
    shares.scatter_add_(1, targets[:, None], shares.new_full((len(targets), 1), smoothing - 1.0))


def adversarial(
    losses: Callable[[Tensor], tuple[Tensor, Tensor]], inputs: Tensor, lengths: Tensor, *, share: float
) -> tuple[Tensor, Tensor]:
    """Return a loss to descend and the plain one, by adversarial training; at share 0 what `losses` gives at inputs.

    losses: gives both at any inputs, summed, by what does not itself depend on them; inputs: (B, S, E), of rows with
    these lengths, (B,), dropout already done, so that what is uphill in one pass is so in the other.
    The first is a loss to descend in its gradient alone, and another part of the gradient is in the parameters already:
    half of it is that of the loss, half is that of the loss where each row's inputs are moved by a share of their norm
    in the direction in which it rises fastest (after Miyato et al. 2017, who move normalised vectors by an absolute
    length and add both losses; as there, the second pass draws its own dropout behind the inputs). So it must be
    descended, once, and with a share above 0 gradients must be enabled.
    """
    if not share:
        return losses(inputs)
    here = inputs.detach().requires_grad_()
    loss, plain = losses(here)
    (loss / 2).backward()  # type: ignore[no-untyped-call]  # now, for its gradient at the inputs leads to the other half
    uphill: Tensor = here.grad  # type: ignore[assignment]
    again, _ = losses(inputs + _away(inputs.detach(), uphill, lengths, share))
    return again / 2 + (inputs * uphill).sum(), plain


def _away(vectors: Tensor, uphill: Tensor, lengths: Tensor, share: float) -> Tensor:
    """Return what to add to rows' vectors (B, S, E) to move each row as far as asked for; uphill: likewise."""
    padding = torch.arange(vectors.shape[1], device=vectors.device) >= lengths[:, None]
    real = vectors.masked_fill(padding[..., None], 0.0)
    way = uphill / uphill.abs().amax((1, 2), keepdim=True).clamp_min(1e-30)  # squares of a tiny gradient would be 0
    return share * way * (_norms(real) / _norms(way).clamp_min(1e-30))


def _norms(vectors: Tensor) -> Tensor:
    """Return the norm of each row's vectors together, (B, 1, 1); vectors: (B, S, E)."""
    return torch.linalg.vector_norm(vectors, dim=(1, 2), keepdim=True)  # type: ignore[no-any-return]
