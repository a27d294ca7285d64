"""The work of a word-vector training: stretches of text, done here or by processes over the same vectors."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from nlpseq.batches import Ragged
from nlpseq.errors import UsageError, WorkError, sentence
from nlpseq.nn import nce
from nlpseq.settings import EmbeddingConfig
from nlpseq.training import to_device
from nlpseq.word_draws import Chances, Stretch, draw

__all__ = ["Crew", "Job", "Result", "Task", "blocks_of", "crew"]

_TRAINING = 1  # what is drawn for, the first number of the seed
_MEASURED = 32  # of so many blocks one is measured: a loss costs two thirds of a step

Crew = Callable[[list["Task"]], list["Result"]]


@dataclass(frozen=True)
class Job:
    """What all the work has in common."""

    table: Tensor
    text: Ragged
    config: EmbeddingConfig
    odds: Chances
    shape: nce.Shape
    seed: int
    total: int  # tokens of all epochs together


class Task(NamedTuple):
    """A stretch of text; the tokens and blocks are those of the whole run."""

    epoch: int
    start: int
    stop: int
    tokens_before: int
    blocks_left: float


class Result(NamedTuple):
    """What a stretch gave."""

    blocks: int
    tokens: int  # of the text
    kept: int  # of them, after subsampling
    loss: Tensor  # () nats, summed over at least one in 32 blocks
    noise_words: int  # in those blocks
    rate: float


def blocks_of(drawn: Stretch, device: torch.device) -> list[nce.Block]:
    """Return the blocks one by one, on the device."""
    there = to_device(drawn.blocks, device)
    ragged = ("words", "starts")
    parts = (
        torch.split(tensor, drawn.distinct) if name in ragged else tensor.unbind()
        for name, tensor in zip(there._fields, there, strict=True)
    )
    return [nce.Block(*block) for block in zip(*parts, strict=True)]


@torch.inference_mode()  # which spares every operation its bookkeeping, a tenth of the time
def _do(job: Job, task: Task, ascend: Callable[[nce.Block, float], None]) -> Result:
    """Train on a stretch of text."""
    random = [_TRAINING, job.seed, task.epoch, task.start]
    drawn = draw(job.text, task.start, task.stop, shape=job.shape, odds=job.odds, config=job.config, random=random)
    blocks = blocks_of(drawn, job.table.device)
    count = int(min(len(blocks), task.blocks_left))
    loss, noise_words, rate = job.table.new_zeros(()), 0, 0.0
    for number, block in enumerate(blocks[:count]):
        rate = _rate(job, task.tokens_before + (task.stop - task.start) * number / len(blocks))
        if number % _MEASURED == 0:
            loss -= nce.log_likelihood(job.table, block, job.shape)
            noise_words += drawn.noise_words[number]
        ascend(block, rate)
    tokens = (task.stop - task.start) * count // len(blocks)
    return Result(count, tokens, drawn.kept * count // len(blocks), loss, noise_words, rate)


def _rate(job: Job, tokens: float) -> float:
    """Return the learning rate after so many tokens, which falls evenly."""
    first, last = job.config.first_rate, job.config.final_rate
    return last + (first - last) * (1 - tokens / job.total)


@contextmanager
def crew(job: Job) -> Iterator[Crew]:
    """Yield a function that does tasks and returns their results in the same order.

    Several workers are processes that import this program's main module anew, which therefore must not train when it
    is merely imported. Raises UsageError for several workers on another device than the CPU.
    """
    if job.config.workers == 1:
        ascend = nce.ascender(job.table, job.shape, cap=job.config.cap)
        yield lambda tasks: [_do(job, task, ascend) for task in tasks]
        return
    if job.table.device.type != "cpu":
        raise UsageError(sentence("workers", f"be 1 on {job.table.device.type}", job.config.workers))
    _share(job.table)
    pipes: list[Connection] = []
    workers: list[Any] = []
    try:
        with _signals_blocked():
            for _ in range(job.config.workers):
                worker, pipe = _started(job)
                workers.append(worker)
                pipes.append(pipe)
        _tell(job, pipes)
        yield lambda tasks: _hand_out(tasks, pipes)
    finally:
        for pipe in pipes:
            pipe.close()  # they end on it
        for worker in workers:
            worker.join(timeout=5)
            worker.kill()
            worker.join()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let what is started here not die of Ctrl-C, which the terminal sends to all, before it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would lift the block when the first process starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _started(job: Job) -> tuple[Any, Connection]:
    """Return a new process, and the end of a pipe to give it tasks."""
    context = torch.multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    worker = context.Process(target=_serve, args=(job.table, there), daemon=True)
    worker.start()
    there.close()  # only theirs may stay open, or their death would not be seen
    return worker, here


def _tell(job: Job, pipes: list[Connection]) -> None:
    """Send the workers all but the vectors, which they have; WorkError where one has died.

    With the process itself it would not fit into its pipe, and who writes there waits for ever for one that dies early.
    """
    ids = job.text.ids
    path = str(ids.filename) if isinstance(ids, np.memmap) else None  # the text itself would be sent as a copy
    text = job.text if path is None else Ragged(np.empty(0, np.int32), job.text.offsets)
    try:
        for pipe in pipes:
            pipe.send((replace(job, table=torch.empty(0), text=text), path))
    except (BrokenPipeError, ConnectionResetError):
        must = 'live; a program starts them below `if __name__ == "__main__":` (the last saved state is kept)'
        raise WorkError(sentence("workers", must, "fewer now: one has died", quote=False)) from None


def _serve(table: Tensor, pipe: Connection) -> None:
    """Do tasks until the pipe is closed: what a worker runs."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # when work ends is for one to say
    torch.set_num_threads(1)
    with suppress(EOFError, BrokenPipeError):
        job, path = pipe.recv()
        text = job.text if path is None else Ragged(np.memmap(path, np.int32, "r"), job.text.offsets)
        job = replace(job, table=table, text=text)
        ascend = nce.ascender(job.table, job.shape, cap=job.config.cap)
        while True:
            result = _do(job, pipe.recv(), ascend)
            pipe.send((result.blocks, result.tokens, result.kept, result.loss.item(), result.noise_words, result.rate))


def _share(table: Tensor) -> None:
    """Move the vectors to memory that processes share, if there is room: without room they would die of a signal."""
    size = table.untyped_storage().nbytes()
    free = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") and not table.is_shared() else None  # type: ignore[no-untyped-call]
    if free and free.f_bavail * free.f_frsize < size:
        found = f"{free.f_bavail * free.f_frsize >> 20:,} MB (workers 1 needs none)"
        raise WorkError(sentence("/dev/shm", f"have {size >> 20:,} MB free for several workers", found, quote=False))
    table.share_memory_()  # type: ignore[no-untyped-call]


def _hand_out(tasks: list[Task], pipes: list[Connection]) -> list[Result]:
    """Let each worker have the next task when it is done with one; WorkError where one dies."""
    results: dict[int, Result] = {}
    todo, busy, idle = deque(enumerate(tasks)), dict[Any, int](), list(pipes)
    try:
        while todo or busy:
            while todo and idle:
                number, task = todo.popleft()
                pipe = idle.pop()
                pipe.send(task)
                busy[pipe] = number
            for done in wait(list(busy)):
                pipe = cast(Connection, done)
                blocks, tokens, kept, loss, noise_words, rate = pipe.recv()
                results[busy.pop(pipe)] = Result(blocks, tokens, kept, torch.tensor(loss), noise_words, rate)
                idle.append(pipe)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        must = "live until the training ends (the last saved state is kept)"
        raise WorkError(sentence("workers", must, "fewer now: one has died", quote=False)) from None
    return [results[number] for number in range(len(tasks))]
