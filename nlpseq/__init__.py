"""nlpseq: recurrent-network NLP in stages, from raw text to raw text.

The names below are imported on first use (PEP 562), so that `import nlpseq` costs next to nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# GNU OpenMP's threads spin while they wait, so one busy neighbour on the cores makes torch fifty times slower.
# Spinning this briefly costs next to nothing on a quiet machine and bounds that at two to three; read with torch.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

_HOME = {
    "ArtefactError": "nlpseq.errors",
    "Corpus": "nlpseq.corpora",
    "CorpusError": "nlpseq.errors",
    "EmbedConfig": "nlpseq.settings",
    "Embeddings": "nlpseq.vectors",
    "Interrupted": "nlpseq.errors",
    "LMConfig": "nlpseq.settings",
    "LanguageModel": "nlpseq.language_model",
    "NerConfig": "nlpseq.settings",
    "NlpseqError": "nlpseq.errors",
    "SentimentClassifier": "nlpseq.classifier",
    "SentimentConfig": "nlpseq.settings",
    "Tagger": "nlpseq.tagger",
    "TokenizeConfig": "nlpseq.settings",
    "Tokenizer": "nlpseq.tokenizer",
    "TranslateConfig": "nlpseq.settings",
    "Translator": "nlpseq.translator",
    "UsageError": "nlpseq.errors",
    "WorkError": "nlpseq.errors",
    "configure": "nlpseq.config",
    "load_corpus": "nlpseq.corpora",
    "train_embeddings": "nlpseq.stages.embed",
    "train_ner": "nlpseq.stages.ner",
    "train_sentiment": "nlpseq.stages.sentiment",
    "train_lm": "nlpseq.stages.lm",
    "train_tokenizer": "nlpseq.stages.tokenize",
    "train_translator": "nlpseq.stages.translate",
}

__all__ = [
    "ArtefactError",
    "Corpus",
    "CorpusError",
    "EmbedConfig",
    "Embeddings",
    "Interrupted",
    "LMConfig",
    "LanguageModel",
    "NerConfig",
    "NlpseqError",
    "SentimentClassifier",
    "SentimentConfig",
    "Tagger",
    "TokenizeConfig",
    "Tokenizer",
    "TranslateConfig",
    "Translator",
    "UsageError",
    "WorkError",
    "__version__",
    "configure",
    "load_corpus",
    "train_embeddings",
    "train_lm",
    "train_ner",
    "train_sentiment",
    "train_tokenizer",
    "train_translator",
]

if TYPE_CHECKING:
    from nlpseq.classifier import SentimentClassifier
    from nlpseq.config import configure
    from nlpseq.corpora import Corpus, load_corpus
    from nlpseq.errors import ArtefactError, CorpusError, Interrupted, NlpseqError, UsageError, WorkError
    from nlpseq.language_model import LanguageModel
    from nlpseq.settings import EmbedConfig, LMConfig, NerConfig, SentimentConfig, TokenizeConfig, TranslateConfig
    from nlpseq.stages.embed import train_embeddings
    from nlpseq.stages.lm import train_lm
    from nlpseq.stages.ner import train_ner
    from nlpseq.stages.sentiment import train_sentiment
    from nlpseq.stages.tokenize import train_tokenizer
    from nlpseq.stages.translate import train_translator
    from nlpseq.tagger import Tagger
    from nlpseq.tokenizer import Tokenizer
    from nlpseq.translator import Translator
    from nlpseq.vectors import Embeddings


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nlpseq' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
