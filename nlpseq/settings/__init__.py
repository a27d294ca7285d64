"""Every setting of every stage: its default, range, unit and help stand here and nowhere else."""

from __future__ import annotations

from nlpseq.settings.common import (
    ComputeConfig,
    PairConfig,
    PretrainedConfig,
    RunConfig,
    TokenizerConfig,
    TrainingConfig,
)
from nlpseq.settings.embed import EmbedConfig, EmbeddingConfig, WordsConfig
from nlpseq.settings.tokenizer import TokenizeConfig
from nlpseq.settings.translate import DecodingConfig, TranslateConfig, TranslatorConfig

__all__ = [
    "ComputeConfig",
    "DecodingConfig",
    "EmbedConfig",
    "EmbeddingConfig",
    "PairConfig",
    "PretrainedConfig",
    "RunConfig",
    "TokenizeConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "TranslateConfig",
    "TranslatorConfig",
    "WordsConfig",
]
