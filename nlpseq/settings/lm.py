"""The settings of the lm stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

from nlpseq.config import setting, settings_of
from nlpseq.errors import sentence
from nlpseq.settings.common import ComputeConfig, RunConfig, TokenizerConfig, TrainingConfig

__all__ = [
    "BatchingConfig",
    "LMConfig",
    "LMTextConfig",
    "NetworkConfig",
    "NoiseConfig",
    "SamplingConfig",
    "WritingConfig",
]


@dataclass(frozen=True)
class LMTextConfig:
    """Which text is read, and of what units it is made."""

    text: str | None = setting(None, "Column of the text; the corpus' own when absent.")
    splits: str = setting("train", "Splits that are trained on, as in train,unsupervised.")
    validation: str | None = setting(
        None,
        "Splits that choose the weights by their first 50,000 units, or held-out: a part of the training text; when "
        "absent the corpus' own validation where there is one, else held-out.",
    )
    test: str | None = setting(
        None,
        "Splits that are scored at the end, several one after the other as one text, or held-out; when absent the "
        "corpus' own test where there is one, else what chooses the weights.",
    )
    held_out: float = setting(
        0.05,
        "Share of the training text that is held out where that is asked for: whole rows or files, chosen by their "
        "text, or where these are fewer than 20 the end of the text.",
        low=0.001,
        high=0.5,
    )
    limit: int | None = setting(
        None, "Characters of the training text that are read at most.", low=1000, high=10**11, unit="characters"
    )
    units: Literal["char", "byte", "word", "bpe", "unigram"] = setting(
        "char", "Code points, bytes of UTF-8, words of our tokeniser, or SentencePiece subwords."
    )
    tokenizer: str | None = setting(
        None, "Folder of a trained tokeniser, whose units are taken; with it the settings of units are left out."
    )
    min_count: int = setting(
        1, "Characters or words seen less often become [UNK] (units: char, word).", low=1, high=10**6
    )
    vocab_size: int = setting(
        8000,
        "Size of the vocabulary of words or subwords at most, special tokens included.",
        low=16,
        high=1_000_000,
    )
    lowercase: bool = setting(False, "Lowercase all text (units: word, bpe, unigram).")
    numbers: bool = setting(True, "Numbers become [NUM] (units: word, bpe, unigram).")
    links: bool = setting(True, "Links and e-mail addresses become [URL] (units: word, bpe, unigram).")
    sample: int = setting(
        200_000, "Lines that words or subwords are learnt from, evenly over the text.", low=100, high=100_000_000
    )

    @property
    def tokens(self) -> bool:
        """Whether a tokeniser makes the units."""
        return self.tokenizer is not None or self.units not in ("char", "byte")

    @property
    def vocabulary(self) -> TokenizerConfig:
        """The settings of the tokeniser that is trained where none is given."""
        units = self.units if self.units in ("bpe", "unigram") else "word"
        names = ("vocab_size", "min_count", "lowercase", "numbers", "links", "sample")
        return TokenizerConfig(units=units, **{name: getattr(self, name) for name in names})

    @property
    def idle(self) -> set[str]:
        """The settings that do nothing beside the others."""
        normalisation = {"vocab_size", "lowercase", "numbers", "links", "sample"}
        if self.tokenizer is not None:
            return normalisation | {"units", "min_count"}
        rare = set() if self.units in ("char", "word") else {"min_count"}
        return rare if self.tokens else rare | normalisation

    def faults(self) -> Iterator[str]:
        """Yield settings that would do nothing, as sentences."""
        why = "tokenizer is given, which has its own" if self.tokenizer else f"units is {self.units}"
        for item in settings_of(LMTextConfig):
            if item.name in self.idle and (value := getattr(self, item.name)) != item.default:
                yield sentence(item.name, f"be left out where {why}", value)


@dataclass(frozen=True)
class NetworkConfig:
    """The recurrent language model (Mikolov et al. 2010; Zaremba et al. 2014; Merity et al. 2018)."""

    cell: Literal["gru", "lstm", "rnn"] = setting(
        "gru", "Recurrent layer: GRU (three quarters of an LSTM's weights), LSTM or simple (Elman)."
    )
    embed_size: int = setting(128, "Size of a unit's vector.", low=1, high=65536)
    hidden_size: int = setting(512, "Size of a layer's state.", low=1, high=65536)
    layers: int = setting(1, "Recurrent layers.", low=1, high=64)
    residual: bool = setting(
        False,
        "Layers in residual blocks with normalisation: each adds to what the ones before made (Xiong et al. 2020).",
    )
    feed_forward: int | None = setting(
        None,
        "Units of a feed-forward layer behind each recurrent one, as in a Transformer's block; none when absent "
        "(residual).",
        low=1,
        high=1_000_000,
    )
    tied: bool = setting(True, "The output layer shares the embeddings (Press and Wolf 2017).")
    word_dropout: float = setting(
        0.0, "Dropout of whole rows of the embedding table (Gal and Ghahramani 2016).", low=0.0, high=0.95
    )
    dropout: float = setting(0.1, "Dropout on embeddings, one mask per stream and step (locked).", low=0.0, high=0.95)
    layer_dropout: float = setting(
        0.2, "Dropout between layers, or on what a residual block adds (locked).", low=0.0, high=0.95
    )
    recurrent_dropout: float = setting(
        0.0, "Dropout on the recurrent weights' inputs (Gal and Ghahramani 2016).", low=0.0, high=0.95
    )
    output_dropout: float = setting(0.2, "Dropout before the output layer (locked).", low=0.0, high=0.95)
    cache: int | None = setting(
        None,
        "Continuous cache of the last N states, for texts that are read: what stood behind states like the one now "
        "becomes likelier, as names that training never saw; fitted on the validation text once the network is trained "
        "(Grave et al. 2017); none when absent.",
        low=1,
        high=1_000_000,
        unit="states",
    )

    @property
    def idle(self) -> set[str]:
        """The settings that do nothing beside the others."""
        return set() if self.residual else {"feed_forward"}

    def faults(self) -> Iterator[str]:
        """Yield settings that would do nothing, as sentences."""
        if self.feed_forward is not None and not self.residual:
            yield sentence("feed_forward", "be left out without residual", self.feed_forward)


@dataclass(frozen=True)
class BatchingConfig:
    """How a text becomes batches."""

    batching: Literal["streams", "windows"] = setting(
        "streams",
        "Streams: parallel parts of the text with carried state, back-propagation truncated at `steps`; windows: the "
        "textbooks' overlapping windows of `steps` units, of which each predicts the next unit alone.",
    )
    steps: int = setting(128, "Units through which a gradient goes back.", low=1, high=100_000, unit="units")
    stride: int | None = setting(
        None, "Units from one window to the next; 3 when absent (batching: windows).", low=1, high=100_000, unit="units"
    )

    def faults(self) -> Iterator[str]:
        """Yield settings that would do nothing, as sentences."""
        if self.stride is not None and self.batching != "windows":
            yield sentence("stride", "be left out where batching is streams", self.stride)


@dataclass(frozen=True)
class NoiseConfig:
    """Full softmax, or noise-contrastive estimation (Gutmann and Hyvärinen 2010; Mnih and Teh 2012)."""

    objective: Literal["softmax", "nce"] = setting(
        "softmax", "Full softmax, or noise-contrastive estimation for large vocabularies (self-normalised)."
    )
    noise: int | None = setting(
        None, "Noise words that a batch shares; 500 when absent (objective: nce).", low=1, high=100_000
    )
    noise_power: float | None = setting(
        None, "Power of the counts that noise is drawn by; 0.75 when absent (objective: nce).", low=0.0, high=2.0
    )

    def faults(self) -> Iterator[str]:
        """Yield settings that would do nothing, as sentences."""
        for name in ("noise", "noise_power"):
            if self.objective != "nce" and (value := getattr(self, name)) is not None:
                yield sentence(name, "be left out where objective is softmax", value)


@dataclass(frozen=True)
class SamplingConfig:
    """What is written while training, at each validation: `--evaluate-steps` says how often."""

    prompts: str | None = setting(
        None, "Beginnings of the samples drawn at each validation, parted by |; when absent one without a beginning."
    )
    sample_length: int = setting(200, "Length of each of these samples.", low=0, high=100_000, unit="units")
    sample_temperature: float = setting(
        0.8, "Their temperature; 0 takes the likeliest unit each time.", low=0.0, high=10.0
    )


@dataclass(frozen=True)
class WritingConfig:
    """How a trained model writes."""

    length: int = setting(500, "Units that are written at most.", low=0, high=10**9, unit="units")
    temperature: float = setting(
        1.0, "Divides the logits: below 1 likely units become likelier; 0 takes the likeliest.", low=0.0, high=100.0
    )
    top_k: int | None = setting(None, "Only the so many likeliest units are drawn from.", low=1, high=10**9)
    top_p: float | None = setting(
        None, "Only the likeliest units that together have this probability (Holtzman et al. 2020).", low=1e-6, high=1.0
    )
    seed: int = setting(1, "Seed of what is drawn.", low=0, high=2**31 - 1)
    past_end: bool = setting(False, "Go on with another document where one ends.")


@dataclass(frozen=True)
class LMConfig:
    """`nlpseq lm train`: a language model from text."""

    stage: ClassVar[str] = "lm"
    run: RunConfig = field(default_factory=RunConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    data: LMTextConfig = field(default_factory=LMTextConfig)
    model: NetworkConfig = field(default_factory=NetworkConfig)
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    training: TrainingConfig = field(
        default_factory=partial(TrainingConfig, epochs=10.0, learning_rate=2e-3, batch_tokens=4096)
    )
    softmax: NoiseConfig = field(default_factory=NoiseConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    gradients: bool = setting(
        True, "Train three small networks for the report's figure of the gradient through time.", neutral=True
    )

    @property
    def idle(self) -> set[str]:
        """The settings that do nothing beside the others, which a recipe may have and an option not."""
        windows = set() if self.batching.batching == "windows" else {"stride"}
        noise = set() if self.softmax.objective == "nce" else {"noise", "noise_power"}
        return windows | noise

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        yield from self.run.faults()
        for section in (self.data, self.model, self.batching, self.training, self.softmax):
            yield from section.faults()
        if self.training.batch_tokens < self.batching.steps:
            must = f"be at least the {self.batching.steps:,} units of a stream's step (--steps)"
            yield sentence("batch_tokens", must, self.training.batch_tokens)
