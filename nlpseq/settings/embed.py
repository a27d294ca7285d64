"""The settings of the embed stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlpseq.config import setting, settings_of
from nlpseq.errors import sentence
from nlpseq.settings.common import ComputeConfig, PairConfig, RunConfig

__all__ = ["EmbedConfig", "EmbeddingConfig", "WordsConfig"]


@dataclass(frozen=True)
class WordsConfig:
    """Which words get a vector."""

    min_count: int = setting(5, "Words seen less often have no vector (gensim: min_count).", low=1, high=10**9)
    max_words: int | None = setting(
        None, "Only so many of the commonest words (gensim: max_final_vocab).", low=2, high=10**8
    )
    lowercase: bool = setting(True, "Lowercase all text.")
    numbers: bool = setting(True, "Numbers become [NUM].")
    links: bool = setting(True, "Links and e-mail addresses become [URL].")


@dataclass(frozen=True)
class EmbeddingConfig:
    """Skip-gram and CBOW (Mikolov et al. 2013) by noise-contrastive estimation (Mnih and Kavukcuoglu 2013)."""

    architecture: Literal["skipgram", "cbow"] = setting(
        "skipgram", "Skip-gram: a word gives each of its neighbours; CBOW: they give the word (gensim: sg)."
    )
    objective: Literal["nce", "negative"] = setting(
        "nce", "Noise-contrastive estimation (Gutmann and Hyvärinen 2010) or negative sampling (gensim's)."
    )
    embed_size: int = setting(100, "Size of a word's vector (gensim: vector_size).", low=1, high=65536)
    window: int = setting(5, "Words on each side that count as context (gensim: window).", low=1, high=1000)
    dynamic_window: bool = setting(True, "Draw each word's window from 1 to `window` (gensim: shrink_windows).")
    noise: int = setting(5, "Noise words for each true one (gensim: negative).", low=1, high=10_000)
    noise_power: float = setting(
        0.75, "Power of the counts that noise is drawn by (gensim: ns_exponent).", low=0, high=2
    )
    subsample: float | None = setting(
        1e-3,
        "Share of the text above which words are thinned out; absent: none are (gensim: sample).",
        low=0.0,
        high=1.0,
    )
    epochs: float = setting(5.0, "Passes over the text (gensim: epochs).", low=0.001, high=100_000)
    max_steps: int | None = setting(None, "Stop after this many blocks of text.", low=1, high=10**12)
    learning_rate: float | None = setting(
        None,
        "Learning rate at the start (gensim: alpha); when absent 0.025 for skip-gram and 0.05 for CBOW.",
        low=1e-9,
        high=10.0,
    )
    final_rate: float = setting(1e-4, "Learning rate at the end (gensim: min_alpha).", low=0.0, high=10.0)
    block: int | None = setting(
        None,
        "Tokens of text that make one step; when absent 1,024 for skip-gram and 2,048 for CBOW.",
        low=16,
        high=10**7,
        unit="tokens",
    )
    shared_noise: int | None = setting(
        None,
        "Noise words that a group of tokens shares (256 of them for skip-gram, 128 for CBOW, or a smaller block), "
        "weighted to count as `noise` for each pair; when absent about as many as the pairs of one token ask for, for "
        "skip-gram twice as many.",
        low=1,
        high=10**6,
    )
    cap: float = setting(
        1.0, "Longest change of a vector in one step, so that frequent words do not run away.", low=1e-9, high=1e9
    )
    workers: int = setting(
        1,
        "Processes over the same vectors (Hogwild, Niu et al. 2011): more than 1 is not reproducible.",
        low=1,
        high=1024,
    )
    save_minutes: float = setting(
        5.0, "Time between saves of the resume state.", low=0.0, high=1e4, unit="minutes", neutral=True
    )

    @property
    def first_rate(self) -> float:
        """The learning rate at the start."""
        return self.learning_rate or (0.05 if self.architecture == "cbow" else 0.025)

    @property
    def step_tokens(self) -> int:
        """Tokens of text that make one step."""
        return self.block or (2048 if self.architecture == "cbow" else 1024)


@dataclass(frozen=True)
class EmbedConfig:
    """`nlpseq embed train`: word vectors from the training split of a corpus."""

    stage: ClassVar[str] = "embed"
    run: RunConfig = field(default_factory=RunConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    text: str | None = setting(None, "Column of a corpus that is not one of pairs; the corpus' own when absent.")
    pair: PairConfig = field(default_factory=PairConfig)
    splits: str = setting(
        "train", "Splits that are read, as in train,unsupervised; all: every row of a single file of yours."
    )
    tokenizer: str | None = setting(
        None, "Folder of a trained tokeniser, whose units get the vectors; words of the text when absent."
    )
    words: WordsConfig = field(default_factory=WordsConfig)
    model: EmbeddingConfig = field(default_factory=EmbeddingConfig)

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        yield from self.run.faults()
        if self.text and (self.pair.source or self.pair.target):
            yield sentence("text", "be absent where source or target is given", self.text)
        if len(names := self.splits.split(",")) > 1 and "all" in map(str.strip, names):
            yield sentence("splits", "be all alone, or names without it", self.splits)
        if self.model.final_rate > self.model.first_rate:
            must = f"be at most the learning rate at the start ({self.model.first_rate:g}, learning_rate)"
            yield sentence("final_rate", must, self.model.final_rate)
        for item in settings_of(WordsConfig) if self.tokenizer else ():
            if (value := getattr(self.words, item.name)) != item.default:
                yield sentence(item.name, "be left out where tokenizer is given, which has its own settings", value)
