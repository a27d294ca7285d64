"""What a model must beat: answers that need no learning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from nlpseq.placeholders import normalise
from nlpseq.text import words

__all__ = ["nearest_baseline"]


def nearest_baseline(train: Sequence[tuple[str, str]], sources: Sequence[str]) -> list[str]:
    """Return for each source the target of the training pair whose source is nearest to it.

    train: pairs (source, target), at least one; sources: sentences. Near is the Dice coefficient over words and pairs
    of neighbouring words, where all numbers are one word and all links are; the first pair wins a tie. Raises
    ValueError where `train` is empty.
    """
    if not train:
        raise ValueError("`train` must hold at least one pair, but is empty.")
    found: defaultdict[str | tuple[str, str], list[int]] = defaultdict(list)
    sizes = np.empty(len(train))
    for row, (source, _) in enumerate(train):
        features = _features(source)
        sizes[row] = len(features)
        for feature in features:
            found[feature].append(row)
    postings = {feature: np.array(rows) for feature, rows in found.items()}
    answers = []
    for source in sources:
        shared, features = np.zeros(len(train)), _features(source)
        for feature in features & postings.keys():
            shared[postings[feature]] += 1
        answers.append(train[int(np.argmax(2 * shared / (sizes + len(features) + 1)))][1])
    return answers


def _features(text: str) -> set[str | tuple[str, str]]:
    """Return the words and the pairs of neighbouring words of a text."""
    forms = words(normalise(text).text.casefold())
    return {*forms, *pairwise(forms)}
