"""The settings of the ner stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlpseq.config import setting
from nlpseq.errors import sentence
from nlpseq.settings.common import ComputeConfig, RunConfig, TrainingConfig

__all__ = ["NerConfig", "TagConfig", "TaggerConfig", "WordVectorsConfig"]


@dataclass(frozen=True)
class TagConfig:
    """Which columns of a corpus are read, and how its tags are."""

    tokens: str | None = setting(
        None, "Column of the tokens, or of raw text; of a .conll file also its number. The corpus' own when absent."
    )
    tags: str | None = setting(
        None, "Column of the tags, or of the spans in raw text; likewise. The last of a .conll file when absent."
    )
    scheme: Literal["auto", "iob1", "iob2", "iobes"] = setting("auto", "How the tags are written; auto looks.")
    illegal: Literal["refuse", "repair"] = setting(
        "refuse",
        "A tag that cannot follow the one before, or a span that cuts a token: refuse it, or repair it as conlleval "
        "reads it, and count.",
    )


@dataclass(frozen=True)
class WordVectorsConfig:
    """Word vectors that the tagger starts from."""

    embeddings: str | None = setting(
        None,
        "Folder of `nlpseq embed train`, or a file of vectors (as GloVe's), that words start from: looked up as they "
        "stand, then in lowercase, then as [NUM] or [URL]. Of several `nlpseq embed join` makes one.",
    )
    freeze: bool = setting(False, "Do not train the given vectors, only those of other words.", opposite="fine-tune")
    pace: float = setting(
        1.0, "How fast given vectors are trained, as a share of the learning rate.", low=1e-6, high=1.0
    )
    extra_words: int | None = setting(
        None,
        "Words that only the vectors know and the model keeps, the first ones; all when absent.",
        low=0,
        high=10**8,
    )

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        for name, unset in (("freeze", False), ("pace", 1.0), ("extra_words", None)):
            if self.embeddings is None and getattr(self, name) != unset:
                must = "be given with --embeddings"
                yield sentence(name, must, "alone", f"option --{name.replace('_', '-')}", quote=False)


@dataclass(frozen=True)
class TaggerConfig:
    """The Bi-LSTM tagger with characters and a CRF (Ma and Hovy 2016; Lample et al. 2016)."""

    cell: Literal["lstm", "gru", "rnn"] = setting("lstm", "Recurrent layer: LSTM, GRU or simple (Elman).")
    embed_size: int = setting(100, "Size of a word's vector.", low=1, high=65536)
    characters: Literal["cnn", "lstm", "none"] = setting(
        "cnn", "What reads the characters of a word: a CNN with max-pooling, a Bi-LSTM, or nothing."
    )
    character_size: int = setting(30, "Size of a character's vector.", low=1, high=65536)
    character_features: int = setting(60, "Features of a word that its characters give.", low=1, high=65536)
    hidden_size: int = setting(200, "Size of the state in each direction.", low=1, high=65536)
    layers: int = setting(1, "Recurrent layers.", low=1, high=64)
    output: Literal["crf", "legal", "softmax"] = setting(
        "crf",
        "A linear-chain CRF; legal: each tag by itself, decoded over legal sequences; softmax: each tag by itself.",
    )
    character_dropout: float = setting(
        0.0, "Dropout on characters, before they are read (Ma and Hovy 2016).", low=0.0, high=0.95
    )
    dropout: float = setting(0.5, "Dropout on the words' features, one mask per sentence.", low=0.0, high=0.95)
    layer_dropout: float = setting(0.5, "Dropout between layers and before the output, likewise.", low=0.0, high=0.95)
    recurrent_dropout: float = setting(
        0.0, "Dropout on the recurrent weights' inputs (Gal and Ghahramani 2016).", low=0.0, high=0.95
    )
    word_dropout: float = setting(
        0.25,
        "Rare words are taken for unknown ones in training, [UNK] or as their vectors are given: one seen n times with "
        "probability a / (a + n), of which this is a (Kiperwasser and Goldberg 2016).",
        low=0.0,
        high=1000.0,
    )


@dataclass(frozen=True)
class NerConfig:
    """`nlpseq ner train`: a tagger from a corpus of sentences with named entities."""

    stage: ClassVar[str] = "ner"
    run: RunConfig = field(default_factory=RunConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    reading: TagConfig = field(default_factory=TagConfig)
    max_length: int = setting(
        250, "Longer sentences of the training split are cut into pieces.", low=2, high=1000, unit="tokens"
    )
    pretrained: WordVectorsConfig = field(default_factory=WordVectorsConfig)
    model: TaggerConfig = field(default_factory=TaggerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    adversarial: float = setting(
        0.0,
        "Adversarial training (after Miyato et al. 2017; of taggers: Yasunaga et al. 2018): each sentence is also "
        "learnt with its words' vectors, and what their letters give, moved by this share of their norm to where its "
        "loss rises fastest; a step takes twice the time.",
        low=0.0,
        high=1.0,
    )
    metric: Literal["f1", "loss"] = setting("f1", "Validation figure that chooses the best weights.")

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        yield from self.run.faults()
        yield from self.pretrained.faults()
        yield from self.training.faults()
        if self.model.characters == "none" and self.model.character_dropout:
            where = "option --character-dropout"
            yield sentence("character_dropout", "be left out where characters is none", "given", where, quote=False)
