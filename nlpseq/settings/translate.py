"""The settings of the translate stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlpseq.config import setting
from nlpseq.settings.common import (
    ComputeConfig,
    PairConfig,
    PretrainedConfig,
    RunConfig,
    TokenizerConfig,
    TrainingConfig,
)

__all__ = ["DecodingConfig", "TranslateConfig", "TranslatorConfig"]


@dataclass(frozen=True)
class TranslatorConfig:
    """The encoder-decoder without attention (Cho et al. 2014; Sutskever et al. 2014)."""

    cell: Literal["gru", "lstm", "rnn"] = setting("gru", "Recurrent layer: GRU, LSTM or simple (Elman).")
    embed_size: int = setting(256, "Size of a token's vector.", low=1, high=65536)
    hidden_size: int = setting(512, "Size of the state of encoder and decoder.", low=1, high=65536)
    layers: int = setting(1, "Recurrent layers in encoder and decoder each.", low=1, high=64)
    source_order: Literal["reversed", "forward"] = setting(
        "reversed", "Order in which the encoder reads (Sutskever 2014)."
    )
    bidirectional: bool = setting(False, "The encoder reads both ways and its last states are joined.")
    context: Literal["every", "once"] = setting(
        "every", "The decoder sees the encoder's state at every step (Cho 2014) or only as its first state."
    )
    tied: bool = setting(True, "The output layer shares the target's embeddings (Press and Wolf 2017).")
    dropout: float = setting(0.3, "Dropout on embeddings, one mask per sentence (locked).", low=0.0, high=0.95)
    layer_dropout: float = setting(0.2, "Dropout between layers.", low=0.0, high=0.95)
    recurrent_dropout: float = setting(
        0.0, "Dropout on the recurrent weights' inputs (Gal and Ghahramani 2016).", low=0.0, high=0.95
    )
    output_dropout: float = setting(0.3, "Dropout before the output layer.", low=0.0, high=0.95)


@dataclass(frozen=True)
class DecodingConfig:
    """How far a translation may run before it is cut."""

    length_ratio: float = setting(1.5, "Longest output: this times the source's length …", low=0.0, high=100.0)
    length_extra: int = setting(10, "… plus this.", low=1, high=10_000, unit="tokens")


@dataclass(frozen=True)
class TranslateConfig:
    """`nlpseq translate train`: a translator from a corpus of pairs."""

    stage: ClassVar[str] = "translate"
    run: RunConfig = field(default_factory=RunConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    pair: PairConfig = field(default_factory=PairConfig)
    tokenizer: str | None = setting(
        None, "Folder of a trained tokeniser; when absent one is trained with the settings below."
    )
    max_length: int = setting(
        100, "Training pairs with a longer side are left out (counted).", low=1, high=100_000, unit="tokens"
    )
    vocabulary: TokenizerConfig = field(default_factory=TokenizerConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    model: TranslatorConfig = field(default_factory=TranslatorConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    label_smoothing: float = setting(0.1, "Probability spread over the whole vocabulary.", low=0.0, high=0.9)
    metric: Literal["loss", "bleu", "chrf"] = setting("loss", "Validation figure that chooses the best weights.")
    scheduled_sampling: float = setting(
        0.0,
        "Share of the decoder's own tokens fed in training instead of the reference's, at its end; it rises from 0 "
        "(Bengio et al. 2015). 0 is teacher forcing.",
        low=0.0,
        high=1.0,
    )
    decoding: DecodingConfig = field(default_factory=DecodingConfig)

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        yield from self.run.faults()
        yield from self.pretrained.faults()
        yield from self.training.faults()
