"""What a model must beat: answers that need no learning."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nlpseq.placeholders import normalise
from nlpseq.text import words

__all__ = ["commonest_baseline", "commonest_tags", "nearest_baseline", "trigram_ids"]


def commonest_baseline(texts: Iterable[str], questions: Sequence[Mapping[str, str]]) -> list[str]:
    """Return for each analogy the commonest word of the text among all answers to the questions of its category.

    texts: what is counted; questions: rows with "category", "a", "b", "c" and "d" (a is to b as c is to d). Case is
    folded. The words of the question itself are no answer; the first in the alphabet wins a tie, and "" stands where
    none is left.
    """
    counts = Counter(word for text in texts for word in words(text.casefold()))
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for question in questions:
        answers[question["category"]].add(question["d"])
    ordered = {
        category: sorted(found, key=lambda word: (-counts[word.casefold()], word))
        for category, found in answers.items()
    }
    return [
        next((word for word in ordered[one["category"]] if word not in (one["a"], one["b"], one["c"])), "")
        for one in questions
    ]


def commonest_tags(
    train: Iterable[tuple[Sequence[str], Sequence[str]]], sentences: Iterable[Sequence[str]]
) -> list[list[str]]:
    """Return for each token of each sentence the tag that it has most often in the training sentences.

    train: tokens and tags; the tag that came first wins a tie, and `O` is for tokens that were not seen.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for tokens, tags in train:
        for token, tag in zip(tokens, tags, strict=True):
            counts[token][tag] += 1
    best = {token: found.most_common(1)[0][0] for token, found in counts.items()}
    return [[best.get(token, "O") for token in tokens] for tokens in sentences]


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


def trigram_ids(ids: npt.NDArray[np.int32], length: int, *, seed: int) -> list[int]:
    """Return units drawn one after the other by the two before them, as often as these stand before each in a text.

    ids: (N,) of the text, at least 3, taken for a circle, so that every pair is followed by something.
    """
    text = ids.astype(np.int64)
    pairs = text * (int(text.max()) + 1) + np.roll(text, -1)
    order = np.argsort(pairs, kind="stable")
    ordered = pairs[order]
    dice = np.random.default_rng(seed).random(length)
    place = 0
    found = []
    for chance in dice.tolist():
        first, last = np.searchsorted(ordered, pairs[place], "left"), np.searchsorted(ordered, pairs[place], "right")
        drawn = order[first + int(chance * (last - first))]
        found.append(int(text[(drawn + 2) % len(text)]))
        place = (drawn + 1) % len(text)
    return found
