"""Word vectors as the start of a network's embedding layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nlpseq.errors import UsageError, sentence
from nlpseq.settings import PretrainedConfig
from nlpseq.vectors import Coverage, Embeddings

__all__ = ["start_from_vectors"]


def start_from_vectors(
    layers: Sequence[nn.Embedding], config: PretrainedConfig, tokens: Sequence[str], *, seed: int
) -> Coverage:
    """Fill embedding layers with the vectors that `config.embeddings` names, and return how many tokens these cover.

    layers: each with a row for each of `tokens`; seed: of the rows of tokens without a vector, drawn with the vectors'
    own mean and deviation. The table is scaled to the deviation that the layer had, since an output layer may share
    it. With `config.freeze` the layers are not trained. Raises UsageError where the size is another.
    """
    found = Embeddings.load(str(config.embeddings))
    size = layers[0].embedding_dim
    if found.vector_size != size:
        must = f"be {found.vector_size}, the size of the vectors of {config.embeddings}"
        raise UsageError(sentence("embed_size", must, size))
    table, coverage = found.init_table(tokens, torch.Generator().manual_seed(seed))
    for layer in layers:
        with torch.no_grad():
            layer.weight.copy_(table * (layer.weight.std() / table.std().clamp_min(1e-12)))
        layer.weight.requires_grad_(not config.freeze)
    return coverage
