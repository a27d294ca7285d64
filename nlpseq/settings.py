"""Every setting of every stage: its default, range, unit and help stand here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlpseq.config import setting, settings_of
from nlpseq.errors import sentence

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


@dataclass(frozen=True)
class RunConfig:
    """What every `train` has: where from and where to."""

    corpus: str | None = setting(None, "Corpus by name, or a file or folder of yours.")
    out: str | None = setting(None, "Folder of the model; it must not hold another run.", neutral=True)
    replace: bool = setting(False, "Replace what the folder holds, once the new model is whole.", neutral=True)

    def faults(self) -> Iterator[str]:
        """Yield what is missing, as sentences."""
        for name in ("corpus", "out"):
            if getattr(self, name) is None:
                yield sentence(name, "be given", "absent", f"option --{name}", quote=False)


@dataclass(frozen=True)
class ComputeConfig:
    """What every `train` of a network has: on what it runs, from where on, and how it draws."""

    resume: bool = setting(True, "Go on where a run with the same settings was stopped.", neutral=True)
    device: str = setting("auto", "auto, cpu, cuda or cuda:N.", neutral=True)
    threads: int | None = setting(None, "CPU threads; all cores when absent.", low=1, high=1024, neutral=True)
    seed: int = setting(1, "Seed of everything that is drawn.", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class PairConfig:
    """Which text of a corpus of pairs is read."""

    source: str | None = setting(None, "Column (or language) of the source; the corpus' own when absent.")
    target: str | None = setting(None, "Column (or language) of the target; the corpus' own when absent.")


@dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes ids."""

    units: Literal["unigram", "bpe", "word"] = setting(
        "unigram", "SentencePiece subwords (unigram: Kudo 2018; bpe: Sennrich 2016) or words of our tokeniser."
    )
    vocab_size: int = setting(8000, "Size of the vocabulary at most, special tokens included.", low=16, high=1_000_000)
    min_count: int = setting(1, "Words seen less often become [UNK] (units: word).", low=1, high=1_000_000)
    lowercase: bool = setting(False, "Lowercase all text (it does not come back in the output).")
    numbers: bool = setting(True, "Numbers become [NUM] and are restored from the source.")
    links: bool = setting(True, "Links and e-mail addresses become [URL] and are restored from the source.")
    sample: int = setting(
        200_000, "Rows that units are learnt from, drawn evenly over the training split.", low=100, high=100_000_000
    )


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained; the same for every stage."""

    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "bf16 where device or CPU have it in hardware, else fp32; masters, losses and sums are float32."
    )
    epochs: float = setting(20.0, "Passes over the training split.", low=0.001, high=100_000)
    max_steps: int | None = setting(None, "Stop after this many steps, whatever the epochs.", low=1, high=10**9)
    batch_tokens: int = setting(2000, "Size of a batch: rows times padded length.", low=1, high=10**8, unit="tokens")
    accumulate: int = setting(1, "Batches that make one step.", low=1, high=10_000)
    learning_rate: float = setting(1e-3, "Peak learning rate of Adam.", low=1e-9, high=10.0)
    warmup_steps: int = setting(200, "Steps in which the learning rate rises from 0.", low=0, high=10**7, unit="steps")
    decay: Literal["cosine", "linear", "constant"] = setting(
        "cosine", "How the learning rate falls after warm-up, to 0 at the last step."
    )
    weight_decay: float = setting(0.0, "Decoupled weight decay (AdamW).", low=0.0, high=1.0)
    clip: float | None = setting(1.0, "Largest gradient norm; not clipped when absent.", low=1e-6, high=1e6)
    label_smoothing: float = setting(0.1, "Probability spread over the whole vocabulary.", low=0.0, high=0.9)
    ema: float | None = setting(
        None, "Decay of the running average of weights that is evaluated and kept.", low=0.0, high=0.999999
    )
    metric: Literal["loss", "bleu", "chrf"] = setting("loss", "Validation figure that chooses the best weights.")
    evaluate_steps: int | None = setting(
        None, "Validate every so many steps; once an epoch when absent.", low=1, high=10**9
    )
    patience: int | None = setting(
        None, "Stop after so many validations without a better one; never when absent.", low=1, high=10**6
    )
    save_minutes: float = setting(
        5.0, "Time between saves of the resume state.", low=0.0, high=1e4, unit="minutes", neutral=True
    )


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
class PretrainedConfig:
    """Word vectors that a network starts from."""

    embeddings: str | None = setting(
        None,
        "Folder of `nlpseq embed train`, or a file of vectors, that the embeddings start from. They are scaled to the "
        "deviation that the layer starts with, since a tied output layer needs that.",
    )
    freeze: bool = setting(False, "Do not train the given vectors, so scaled.", opposite="fine-tune")

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        if self.freeze and self.embeddings is None:
            yield sentence("freeze", "be given with --embeddings", "alone", "option --freeze", quote=False)


@dataclass(frozen=True)
class DecodingConfig:
    """How far a translation may run before it is cut."""

    length_ratio: float = setting(1.5, "Longest output: this times the source's length …", low=0.0, high=100.0)
    length_extra: int = setting(10, "… plus this.", low=1, high=10_000, unit="tokens")


@dataclass(frozen=True)
class TokenizeConfig:
    """`nlpseq tokenize train`: a tokeniser from the training split of a corpus."""

    stage: ClassVar[str] = "tokenize"
    run: RunConfig = field(default_factory=RunConfig)
    text: str | None = setting(None, "Column of a corpus that is not one of pairs; the corpus' own when absent.")
    pair: PairConfig = field(default_factory=PairConfig)
    vocabulary: TokenizerConfig = field(default_factory=TokenizerConfig)

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        yield from self.run.faults()
        if self.text and (self.pair.source or self.pair.target):
            yield sentence("text", "be absent where source or target is given", self.text)


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
        "Learning rate at the start (gensim: alpha); when absent 0.025 for skip-gram and 0.2 for CBOW, whose gradient "
        "is shared out over the window.",
        low=1e-9,
        high=10.0,
    )
    final_rate: float = setting(1e-4, "Learning rate at the end (gensim: min_alpha).", low=0.0, high=10.0)
    block: int = setting(512, "Tokens of text that make one step.", low=16, high=10**7, unit="tokens")
    shared_noise: int | None = setting(
        None,
        "Noise words that a group of tokens shares (128, or the block where that is smaller), weighted to count as "
        "`noise` for each pair; when absent about as many as the pairs of a skip-gram token have.",
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
        return self.learning_rate or (0.2 if self.architecture == "cbow" else 0.025)


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
        if self.model.final_rate > self.model.first_rate:
            yield sentence("final_rate", "be at most learning_rate", self.model.final_rate)
        for item in settings_of(WordsConfig) if self.tokenizer else ():
            if (value := getattr(self.words, item.name)) != item.default:
                yield sentence(item.name, "be left out where tokenizer is given, which has its own settings", value)
