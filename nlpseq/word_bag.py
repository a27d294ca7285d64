"""What a classifier must beat: logistic regression on which words a text has, in whatever order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpseq.text import words

__all__ = ["word_bag_baseline"]

_WORDS = 30_000
# 89 % on IMDB's validation, where such models are known to end; more epochs only fit train better.
_ROWS, _EPOCHS, _STEPS, _RATE, _DECAY = 64, 3, 300, 0.005, 1e-4  # at least so many epochs, and so many steps

Bags = Sequence[Sequence[int]]


def word_bag_baseline(train: Iterable[tuple[str, int]], texts: Iterable[str], classes: int) -> list[int]:
    """Return the class of each text by a logistic regression on the lowercased words that it has, often or once.

    train: texts and their classes, at least one; classes: their number. The same input gives the same answers.
    """
    bags, labels = [], []
    for text, label in train:
        bags.append(set(words(text.lower())))
        labels.append(label)
    counts = Counter(word for bag in bags for word in bag)
    places = {word: place for place, (word, _) in enumerate(counts.most_common(_WORDS))}

    def known(bag: Iterable[str]) -> list[int]:
        return sorted(places[word] for word in bag if word in places)

    weights, bias = _fit([known(bag) for bag in bags], torch.tensor(labels), (max(1, len(places)), classes))
    with torch.no_grad():
        found = [known(set(words(text.lower()))) for text in texts]
        return (_sums(found, weights) + bias).argmax(1).tolist() if found else []


def _fit(bags: Bags, labels: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    weights, bias = torch.zeros(shape, requires_grad=True), torch.zeros(shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weights, bias], _RATE)
    for epoch in range(max(_EPOCHS, -(-_STEPS * _ROWS // len(bags)))):
        order = torch.randperm(len(bags), generator=torch.Generator().manual_seed(epoch))
        for rows in torch.split(order, _ROWS):
            chosen = [bags[row] for row in rows.tolist()]
            loss = F.cross_entropy(_sums(chosen, weights) + bias, labels[rows]) + _DECAY * weights.square().sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return weights, bias


def _sums(bags: Bags, weights: Tensor) -> Tensor:
    """Return the sum of the weights of each bag's words, (B, C)."""
    sizes = torch.tensor([0, *map(len, bags[:-1])])
    flat = torch.tensor([word for bag in bags for word in bag], dtype=torch.int64)
    return F.embedding_bag(flat, weights, sizes.cumsum(0), mode="sum")
