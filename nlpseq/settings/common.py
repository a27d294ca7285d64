"""Settings that several stages have: where from and where to, on what, of which text, how a network learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nlpseq.config import setting
from nlpseq.errors import sentence

__all__ = ["ComputeConfig", "PairConfig", "PretrainedConfig", "RunConfig", "TokenizerConfig", "TrainingConfig"]


@dataclass(frozen=True)
class RunConfig:
    """What every `train` has: where from and where to."""

    corpus: str | None = setting(None, "Corpus by name, or a file or folder of yours.")
    out: str | None = setting(None, "Folder of the model; it must not hold another run.", neutral=True)
    replace: bool = setting(
        False, "Replace what nlpseq left in the folder, of whatever stage, once the new model is whole.", neutral=True
    )

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
    lowercase: bool = setting(False, "Lowercase all text (a translation is lowercase then).")
    numbers: bool = setting(True, "Numbers become [NUM] (a translator puts the source's back).")
    links: bool = setting(True, "Links and e-mail addresses become [URL] (likewise).")
    sample: int = setting(
        200_000, "Rows that units are learnt from, drawn evenly over the training split.", low=100, high=100_000_000
    )


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained; the same for every stage."""

    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto",
        "bf16 where the device has it in hardware and a CPU is quicker in it, else fp32; masters, losses and sums are "
        "float32.",
    )
    epochs: float = setting(20.0, "Passes over the training split.", low=0.001, high=100_000)
    max_steps: int | None = setting(None, "Stop after this many steps, whatever the epochs.", low=1, high=10**9)
    batch_tokens: int = setting(2000, "Size of a batch: rows times padded length.", low=1, high=10**8, unit="tokens")
    accumulate: int = setting(1, "Batches that make one step.", low=1, high=10_000)
    optimizer: Literal["adam", "sgd"] = setting(
        "adam",
        "Adam, or stochastic gradient descent, which wants a learning_rate of its own, about a thousand times as high, "
        "as 2: its gradient is the mean over a batch's tokens.",
    )
    learning_rate: float = setting(1e-3, "Peak learning rate.", low=1e-9, high=1000.0)
    momentum: float | None = setting(
        None, "Share of the last step that goes on in the next; 0 when absent (optimizer: sgd).", low=0.0, high=0.9999
    )
    beta2: float = setting(
        0.999,
        "Decay of Adam's average of squared gradients; the lower, the less far one rare word moves its vector "
        "(optimizer: adam).",
        low=0.0,
        high=0.999999,
    )
    warmup_steps: int = setting(200, "Steps in which the learning rate rises from 0.", low=0, high=10**7, unit="steps")
    decay: Literal["cosine", "linear", "constant"] = setting(
        "cosine", "How the learning rate falls after warm-up, to 0 at the last step."
    )
    weight_decay: float = setting(
        0.0, "Decoupled weight decay, of all weights (AdamW; optimizer: adam).", low=0.0, high=1.0
    )
    clip: float | None = setting(1.0, "Largest gradient norm; not clipped when absent.", low=1e-6, high=1e6)
    ema: float | None = setting(
        None, "Decay of the running average of weights that is evaluated and kept.", low=0.0, high=0.999999
    )
    evaluate_steps: int | None = setting(
        None, "Validate every so many steps; once an epoch when absent.", low=1, high=10**9
    )
    patience: int | None = setting(
        None, "Stop after so many validations without a better one; never when absent.", low=1, high=10**6
    )
    save_minutes: float = setting(
        5.0, "Time between saves of the resume state.", low=0.0, high=1e4, unit="minutes", neutral=True
    )

    @property
    def idle(self) -> set[str]:
        """The settings that do nothing beside the others."""
        return {"momentum"} if self.optimizer == "adam" else {"beta2", "weight_decay"}

    def faults(self) -> Iterator[str]:
        """Yield settings that would do nothing, and rates of the other optimiser, as sentences."""
        for name, unset in (("momentum", None), ("beta2", 0.999), ("weight_decay", 0.0)):
            if name in self.idle and (value := getattr(self, name)) != unset:
                yield sentence(name, f"be left out where optimizer is {self.optimizer}", value)
        low, high = (1e-9, 10.0) if self.optimizer == "adam" else (0.01, 1000.0)
        if not low <= self.learning_rate <= high:
            must = f"be from {low:g} to {high:,g} where optimizer is {self.optimizer}"
            yield sentence("learning_rate", must, self.learning_rate)


@dataclass(frozen=True)
class PretrainedConfig:
    """Word vectors that a network starts from."""

    embeddings: str | None = setting(
        None,
        "Folder of `nlpseq embed train`, or a file of vectors, that the embeddings start from. They are scaled to the "
        "deviation that the layer starts with, which the learning rate and a tied output layer count on.",
    )
    freeze: bool = setting(False, "Do not train the given vectors, so scaled.", opposite="fine-tune")

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        if self.freeze and self.embeddings is None:
            yield sentence("freeze", "be given with --embeddings", "alone", "option --freeze", quote=False)
