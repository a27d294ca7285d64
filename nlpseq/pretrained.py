"""Word vectors as the start of a network's embedding layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nlpseq.errors import UsageError, sentence
from nlpseq.settings import PretrainedConfig
from nlpseq.vectors import Coverage, Embeddings

__all__ = ["open_vectors", "refuse_strangers", "start_from_vectors"]


def open_vectors(config: PretrainedConfig, size: int) -> Embeddings | None:
    """Return the vectors that a configuration names, None where it names none.

    size: that of the layers which shall start from them. Raises ArtefactError or CorpusError for what cannot be read,
    UsageError where the size is another.
    """
    if config.embeddings is None:
        return None
    found = Embeddings.load(config.embeddings)
    if found.vector_size != size:
        fits = f"`--embed-size {found.vector_size}` would fit"
        must = f"be {found.vector_size}, the size of the vectors of {config.embeddings} ({fits})"
        raise UsageError(sentence("embed_size", must, size))
    return found


def start_from_vectors(
    layers: Sequence[nn.Embedding], vectors: Embeddings, *, tokens: Sequence[str], freeze: bool, seed: int
) -> Coverage:
    """Fill embedding layers with vectors of their size, and return how many tokens these cover.

    layers: each with a row for each of `tokens`; freeze: do not train them; seed: of the rows of tokens without a
    vector, drawn with the vectors' own mean and deviation. The table is scaled to the deviation that the layer had,
    since an output layer may share it. Raises UsageError where no token has a vector.
    """
    table, coverage = vectors.init_table(tokens, torch.Generator().manual_seed(seed))
    refuse_strangers(coverage)
    for layer in layers:
        with torch.no_grad():
            layer.weight.copy_(table * (layer.weight.std() / table.std().clamp_min(1e-12)))
        layer.weight.requires_grad_(not freeze)
    return coverage


def refuse_strangers(coverage: Coverage) -> None:
    """Raise UsageError where given vectors have nothing in common with the units that were to start from them."""
    if not coverage.found:
        must = "have a vector for a unit of the training text at least (words or subwords, lowercase or not)"
        raise UsageError(sentence("embeddings", must, f"without one for all {coverage.tokens:,}", quote=False))
