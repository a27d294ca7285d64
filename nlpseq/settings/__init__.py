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
from nlpseq.settings.lm import (
    BatchingConfig,
    LMConfig,
    LMTextConfig,
    NetworkConfig,
    NoiseConfig,
    SamplingConfig,
    WritingConfig,
)
from nlpseq.settings.ner import NerConfig, TagConfig, TaggerConfig, WordVectorsConfig
from nlpseq.settings.sentiment import ClassifierConfig, LabelConfig, ReadingConfig, SentimentConfig
from nlpseq.settings.tokenizer import TokenizeConfig
from nlpseq.settings.translate import DecodingConfig, TranslateConfig, TranslatorConfig

__all__ = [
    "BatchingConfig",
    "ClassifierConfig",
    "ComputeConfig",
    "DecodingConfig",
    "EmbedConfig",
    "EmbeddingConfig",
    "LMConfig",
    "LMTextConfig",
    "LabelConfig",
    "NerConfig",
    "NetworkConfig",
    "NoiseConfig",
    "PairConfig",
    "PretrainedConfig",
    "ReadingConfig",
    "RunConfig",
    "SamplingConfig",
    "SentimentConfig",
    "TagConfig",
    "TaggerConfig",
    "TokenizeConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "TranslateConfig",
    "TranslatorConfig",
    "WordVectorsConfig",
    "WordsConfig",
    "WritingConfig",
]
