"""The run of a word-vector training: a generator of records over a memory-mapped text, with exact resume.

Nothing random is carried along: what a stretch of text draws is a function of (seed, epoch, place). So with one worker
on the CPU a resumed run is, bit for bit, the run that was never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlpseq.batches import Ragged
from nlpseq.nn import nce
from nlpseq.settings import EmbeddingConfig
from nlpseq.word_draws import Chances, Ints, block_shape, chances, draw, stretch_tokens
from nlpseq.word_work import Crew, Job, Task, blocks_of, crew

__all__ = ["HeldOut", "WordRun", "WordStep", "begin_words", "fit_words", "held_out"]

_CONTEXTS = 4096  # of the held-out text that are normalised over the whole vocabulary
_EACH = 16  # stretches for each of several workers before all wait for the last: state is whole then
_LOGITS = 1 << 24  # logits held at once there: over 32 MiB, which glibc gives back at once; its heap kept 470 MB
_VECTORS, _HELD_OUT = 0, 2  # what is drawn for, the first number of each seed; 1 is training, in word_work


class WordStep(NamedTuple):
    """What a stretch of text gave; the loss is left on the device, since reading it waits."""

    step: int  # blocks done
    epoch: int
    epoch_ended: bool
    tokens: int  # done, of the text as it is
    effective: int  # done, of the text as it was thinned out
    loss: Tensor  # () nats, summed over at least one in 32 of the stretch's blocks
    noise_words: int  # in those blocks, `noise` for each true pair: loss / noise_words is the true mean
    rate: float


class HeldOut(NamedTuple):
    """How well a model is normalised, and what it predicts, on text that it was not trained on."""

    log_z_mean: float  # nats, over contexts; 0 is what noise-contrastive estimation tends to
    log_z_deviation: float
    perplexity: float  # of the full softmax, over pairs drawn as in training
    pairs: int


@dataclass
class WordRun:
    """The state of a training: the vectors, and how far it is."""

    table: Tensor  # (V, 2W), see nlpseq.nn.nce
    config: EmbeddingConfig
    odds: Chances
    shape: nce.Shape
    seed: int
    total: int  # tokens of all epochs together
    step: int = 0
    epoch: int = 0
    place: int = 0  # tokens done of the epoch
    tokens: int = 0
    effective: int = 0

    @property
    def inputs(self) -> Tensor:
        """The words' vectors, (V, E)."""
        return self.table[:, : self.shape.embed_size]

    @property
    def outputs(self) -> Tensor:
        """The vectors by which words are predicted, (V, E)."""
        return self.table[:, self.shape.width : self.shape.width + self.shape.embed_size]

    @property
    def bias(self) -> Tensor:
        """(V,) The part of a word's logit that is the word's own: log p(word | context) is x . y + bias."""
        return self.table[:, self.shape.width + self.shape.embed_size] + _log_noise(self.odds, self.config).to(
            self.table.device
        )

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.tokens >= self.total or self.step >= (self.config.max_steps or math.inf)

    def state(self) -> dict[str, Any]:
        """Return plain numbers and tensors only, so that it is read back with `weights_only=True`."""
        return {name: getattr(self, name) for name in _COUNTERS} | {"table": self.table}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.table.copy_(state["table"])
        for name in _COUNTERS:
            setattr(self, name, int(state[name]))


_COUNTERS = ("step", "epoch", "place", "tokens", "effective")


def begin_words(counts: Ints, config: EmbeddingConfig, *, seed: int, device: torch.device, tokens: int) -> WordRun:
    """Return the state of a training that starts now.

    counts: (V,) of every word in the text, 0 for those that are not in it; tokens: of the text, all words together.
    Inputs start evenly in +-1 / 2E and outputs at 0, as word2vec's; the bias starts at the log of the word's share of
    the thinned text, so that the vectors start at a model that is normalised and knows nothing of contexts.
    Raises UsageError where fewer than two words occur.
    """
    size = config.embed_size
    width = -(-(size + 1) // 8) * 8
    odds = chances(counts, config)
    table = torch.zeros(len(counts), 2 * width)
    dice = np.random.Generator(np.random.SFC64([_VECTORS, seed]))
    table[:, :size] = torch.from_numpy(dice.random((len(counts), size), np.float32) - 0.5) / size
    if config.objective == "nce":
        table[:, size] = 1.0
        table[:, width + size] = _log(odds.word) - _log_noise(odds, config)
    total = max(1, round(config.epochs * tokens))
    return WordRun(table.to(device), config, odds, block_shape(config, width), seed, total)


def _log(share: np.ndarray[Any, np.dtype[np.float64]]) -> Tensor:
    """Words that never occur get a share too small to be seen, since infinities would spread."""
    return torch.from_numpy(np.log(np.maximum(share, 1e-12))).float()


def _log_noise(odds: Chances, config: EmbeddingConfig) -> Tensor:
    return _log(odds.noise) + math.log(config.noise)


def fit_words(run: WordRun, text: Ragged) -> Iterator[WordStep]:
    """Yield a record for each stretch of text until the run is at its end; `run` may be saved at every yield.

    text: documents of ids below V, as long as `begin_words` was told. With several workers, processes on a CPU that
    write to the same vectors without locks (Hogwild, Niu et al. 2011), a record stands for several stretches, and no
    two runs are the same.
    Raises UsageError for several workers on another device, WorkError where a worker dies.
    """
    job = Job(run.table, text, run.config, run.odds, run.shape, run.seed, run.total)
    with crew(job) as work:
        while not run.done:
            yield _round(run, len(text.ids), work)


def _round(run: WordRun, size: int, work: Crew) -> WordStep:
    """Let as many stretches be worked on as there are places for, and enter what comes back."""
    tasks = _tasks(run, size)
    results = work(tasks)
    epoch, run.place = run.epoch, tasks[-1].stop
    ended = run.place == size
    if ended:
        run.epoch, run.place = run.epoch + 1, 0
    run.step += sum(result.blocks for result in results)
    run.tokens += sum(result.tokens for result in results)
    run.effective += sum(result.kept for result in results)
    loss = torch.stack([result.loss for result in results]).sum()
    measured = sum(result.noise_words for result in results)
    return WordStep(run.step, epoch, ended, run.tokens, run.effective, loss, measured, results[-1].rate)


def _tasks(run: WordRun, size: int) -> list[Task]:
    """Return the next stretches: of this epoch, within the run's end, and never more blocks than are allowed."""
    length = stretch_tokens(run.shape)
    end = min(size, run.place + run.total - run.tokens)
    left = math.inf if run.config.max_steps is None else run.config.max_steps - run.step
    most = 1 if run.config.workers == 1 else run.config.workers * _EACH
    if left < most * -(-(length + run.shape.passage) // run.shape.tokens):  # the blocks that `draw` may make of one
        most = 1
    starts = range(run.place, end, length)[:most]
    return [Task(run.epoch, start, min(start + length, end), run.tokens + start - run.place, left) for start in starts]


def held_out(run: WordRun, text: Ragged, *, subsample: bool) -> HeldOut:
    """Return how the full softmax does on text held out, with windows drawn as in training.

    subsample: whether the text is thinned out as in training. About 4,096 contexts, in blocks from places spread over
    the text, are normalised over the whole vocabulary; NaN where the text has no pair.
    """
    odds = run.odds if subsample else run.odds._replace(keep=np.ones_like(run.odds.keep))
    shape = run.shape._replace(passage=run.shape.tokens)  # text as it stands
    wanted = -(-_CONTEXTS // run.shape.tokens)
    length = min(len(text.ids), 4 * run.shape.tokens)  # enough for a block of thinned text
    starts = np.linspace(0, len(text.ids) - length, max(1, min(wanted, len(text.ids) // max(1, length)))).astype(int)
    blocks: list[nce.Block] = []
    for start in starts.tolist():
        random = [_HELD_OUT, run.seed, start]
        drawn = draw(text, start, start + length, shape=shape, odds=odds, config=run.config, random=random)
        blocks += blocks_of(drawn, run.table.device)[: -(-wanted // len(starts))]
    judged = [_judge(run, block) for block in blocks]
    log_z = torch.cat([run.table.new_empty(0), *(z for z, _ in judged)]).double()
    log_p = torch.cat([run.table.new_empty(0), *(p for _, p in judged)]).double()
    perplexity = float((-log_p.mean()).exp())
    deviation = float(log_z.std(correction=0)) if len(log_z) else math.nan  # torch would warn of none
    return HeldOut(float(log_z.mean()), deviation, perplexity, len(log_p))


def _judge(run: WordRun, block: nce.Block) -> tuple[Tensor, Tensor]:
    """Return log Z of every context in a block that has a neighbour, and the log-probability of every pair."""
    given = nce.contexts(run.table, block, run.shape)[:_CONTEXTS]
    outputs, own = run.table[:, run.shape.width :], _log_noise(run.odds, run.config).to(run.table.device)
    rows = max(1, _LOGITS // len(outputs))
    log_z = torch.cat([torch.addmm(own, part, outputs.T).logsumexp(1) for part in torch.split(given, rows)])
    owner, word = nce.pairs(block, run.shape)
    owner, word = owner[owner < len(given)], word[owner < len(given)]
    log_p = (given[owner] * outputs[word]).sum(1) + own[word] - log_z[owner]
    return log_z[block.weight[: len(given), 0] > 0], log_p
