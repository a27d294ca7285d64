"""The settings of the sentiment stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

from nlpseq.config import setting, settings_of
from nlpseq.errors import sentence
from nlpseq.settings.common import ComputeConfig, PretrainedConfig, RunConfig, TokenizerConfig, TrainingConfig

__all__ = ["ClassifierConfig", "LabelConfig", "ReadingConfig", "SentimentConfig"]


@dataclass(frozen=True)
class LabelConfig:
    """Which columns of a corpus are read."""

    text: str | None = setting(None, "Column of the text; the corpus' own, or `text`, when absent.")
    label: str | None = setting(None, "Column of the class; the corpus' own, or `label`, when absent.")


@dataclass(frozen=True)
class ReadingConfig:
    """How much of a long text is read."""

    max_tokens: int = setting(400, "Tokens of a text that are read.", low=1, high=100_000, unit="tokens")
    keep: Literal["end", "start", "both"] = setting(
        "end", "Of a longer text: its end, its start, or half of each (Sun et al. 2019)."
    )


@dataclass(frozen=True)
class ClassifierConfig:
    """A recurrent network over the tokens, pooled over time, with one linear layer on top."""

    cell: Literal["lstm", "gru", "rnn", "peephole"] = setting(
        "lstm", "Recurrent layer: LSTM, GRU, simple (Elman), or LSTM with peepholes (Gers 2000; slow)."
    )
    bidirectional: bool = setting(True, "Read both ways.")
    layers: int = setting(1, "Recurrent layers.", low=1, high=64)
    embed_size: int = setting(100, "Size of a token's vector.", low=1, high=65536)
    hidden_size: int = setting(128, "Size of the state of each direction.", low=1, high=65536)
    pooling: Literal["max", "mean", "last"] = setting(
        "max", "What of the states is looked at: their largest or mean values over time, or the last ones."
    )
    conv: int | None = setting(
        None, "Filters of a convolution with pooling before the recurrence; none when absent.", low=1, high=65536
    )
    conv_width: int = setting(5, "Tokens that a filter of the convolution sees.", low=1, high=99, unit="tokens")
    conv_pool: int = setting(4, "Tokens that become one behind it, by their largest value.", low=1, high=64)
    word_dropout: float = setting(
        0.1,
        "Share of tokens that are not seen, the others scaled up (Iyyer et al. 2015: not scaled).",
        low=0.0,
        high=0.95,
    )
    dropout: float = setting(0.3, "Dropout on embeddings, one mask per text (locked).", low=0.0, high=0.95)
    layer_dropout: float = setting(0.3, "Dropout between layers, one mask per text.", low=0.0, high=0.95)
    recurrent_dropout: float = setting(
        0.0, "Dropout on the recurrent weights' inputs (Gal and Ghahramani 2016).", low=0.0, high=0.95
    )
    mask_per: Literal["batch", "row"] = setting(
        "batch", "One mask of it for a batch (on fused kernels), or one for each row (exact, slow)."
    )
    output_dropout: float = setting(0.5, "Dropout before the output layer.", low=0.0, high=0.95)

    def faults(self) -> Iterator[str]:
        """Yield what would do nothing, as sentences."""
        idle = {"conv_width": self.conv, "conv_pool": self.conv, "mask_per": self.recurrent_dropout}
        for name, use in idle.items():
            if not use and getattr(self, name) != getattr(ClassifierConfig, name):
                option = "recurrent-dropout" if name == "mask_per" else "conv"
                where = f"option --{name.replace('_', '-')}"
                yield sentence(name, f"be given with --{option}", "alone", where, quote=False)
        if self.layers == 1 and self.layer_dropout != ClassifierConfig.layer_dropout:
            where = "option --layer-dropout"
            yield sentence("layer_dropout", "be given with two --layers or more", "alone", where, quote=False)


def _words() -> TokenizerConfig:
    return TokenizerConfig(units="word", vocab_size=30_000, lowercase=True, numbers=False)


@dataclass(frozen=True)
class SentimentConfig:
    """`nlpseq sentiment train`: a classifier of texts from a corpus of text and label."""

    stage: ClassVar[str] = "sentiment"
    run: RunConfig = field(default_factory=RunConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    columns: LabelConfig = field(default_factory=LabelConfig)
    tokenizer: str | None = setting(
        None, "Folder of a trained tokeniser; when absent one is trained with the settings below."
    )
    vocabulary: TokenizerConfig = field(default_factory=_words)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    model: ClassifierConfig = field(default_factory=ClassifierConfig)
    training: TrainingConfig = field(
        default_factory=partial(TrainingConfig, epochs=15.0, learning_rate=2e-3, warmup_steps=50)
    )
    label_smoothing: float = setting(0.0, "Probability spread over all classes.", low=0.0, high=0.9)
    adversarial: float = setting(
        0.0,
        "Adversarial training (after Miyato et al. 2017): each text is also learnt with its vectors moved by this "
        "share of their norm to where its loss rises fastest; a step takes twice the time.",
        low=0.0,
        high=1.0,
    )
    metric: Literal["loss", "accuracy"] = setting("loss", "Validation figure that chooses the best weights.")

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        yield from self.run.faults()
        yield from self.pretrained.faults()
        yield from self.training.faults()
        if self.columns.text is not None and self.columns.text == self.columns.label:
            yield sentence("label", "be another column than the text", self.columns.label)
        yield from self.model.faults()
        usual = _words()
        for item in settings_of(TokenizerConfig) if self.tokenizer else ():
            if (value := getattr(self.vocabulary, item.name)) != getattr(usual, item.name):
                yield sentence(item.name, "be left out where tokenizer is given, which has its own settings", value)
