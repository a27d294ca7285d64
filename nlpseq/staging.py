"""What every training of a network does around its own work: device and processes, the folder, the loop, what is kept.

A stage hands over what it reads and what it does; it gets a `Job`, and is called in every process of a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import distributed, nn

from nlpseq import folders
from nlpseq.artefact import load
from nlpseq.config import check
from nlpseq.corpora import corpus_path, corpus_version
from nlpseq.loop import Event, Watch, train, unwatched
from nlpseq.settings import ComputeConfig, RunConfig, TrainingConfig
from nlpseq.training import Task, World, begin, choose_device, join_world, set_threads

__all__ = ["Job", "train_network", "train_stage"]

_FEW = 200  # steps in which hardly a network learns anything


class StageConfig(Protocol):
    """The configuration of a stage that trains a network."""

    @property
    def run(self) -> RunConfig:
        """Where from and where to."""

    @property
    def compute(self) -> ComputeConfig:
        """On what."""


@dataclass(frozen=True)
class Job:
    """One training in its place."""

    folder: Path  # of the finished model
    state: Path  # of what is made on the way: ids, resume state, log, report
    wanted: Mapping[str, Any]  # the run's fingerprint
    device: torch.device
    world: World
    watch: Watch
    started: float  # by time.perf_counter

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.world.rank == 0

    def first_alone(self) -> AbstractContextManager[None]:
        """Return a context that the first process passes alone; the others follow and find its files."""
        return _first_alone(self.world)

    def note(self, text: str) -> None:
        """Say something to whoever watches."""
        self.watch(Event("note", text))


def train_stage(
    config: StageConfig,
    stage: str,
    *,
    columns: Sequence[str | None],
    reads: Mapping[str, str | None],
    opened: Callable[[], object],
    work: Callable[[Job], None],
    watch: Watch,
) -> None:
    """Do a stage's training in the folder of its configuration, unless that holds this very run, finished.

    columns: of the corpus that are asked for by name; reads: folders and files that are read besides the corpus, by
    what they are to the run; opened: opens the corpus, to say what is wrong with it before another fault is said of the
    folder; work: trains, and leaves the model in `job.folder` and log and report in `job.state`.
    Raises UsageError for settings, CorpusError for data, ArtefactError for the folder, and what `work` raises.
    """
    started = time.perf_counter()
    check(config)
    device = choose_device(config.compute.device)
    world = join_world(device)
    set_threads(config.compute.threads, world)
    watch = unwatched if world.rank else watch
    folder, replace = Path(str(config.run.out)), config.run.replace
    with _first_alone(world):  # which may have to fetch the corpus
        wanted = _wanted(config, columns, reads)
    with folders.held(folder) if world.rank == 0 else nullcontext():
        told = f"The report is {folder / 'report.html'}."
        if folders.finished(folder, stage, wanted=wanted, replace=replace, first=opened):
            load(folder, stage)  # damage is to be said first
            told = f"{folder} holds this very run, finished; nothing to do."
        else:
            with _first_alone(world):
                if world.rank == 0:
                    folders.claim(folder, wanted=wanted, replace=replace, resume=config.compute.resume)
            state = folders.state_folder(folder, wanted)
            work(Job(folder, state, wanted, device, world, watch, started))
            if world.size > 1:
                distributed.barrier()
                distributed.destroy_process_group()
        if world.rank == 0:
            folders.release(folder, wanted)
            watch(Event("note", told))


def _wanted(config: StageConfig, columns: Sequence[str | None], reads: Mapping[str, str | None]) -> dict[str, Any]:
    place = corpus_path(str(config.run.corpus), columns=[column for column in columns if column])
    stamps = {name: folders.stamp(path) for name, path in reads.items()}
    corpus = folders.stamp(place) or corpus_version(str(config.run.corpus))
    return folders.fingerprint(config, corpus=corpus, **stamps)


def train_network(
    job: Job,
    model: nn.Module,
    task: Task,
    training: TrainingConfig,
    *,
    seed: int,
    evaluate: Callable[[], dict[str, float]],
    metric: str,
    counted: str = "target token",
) -> dict[str, Any]:
    """Train a model, leave the best weights in it, and return what is to be remembered of the training.

    evaluate, metric, counted: see `loop.train`.
    """
    batches = len(task.plan(0))
    run = begin(model, training, seed=seed, device=job.device, world=job.world, batches=batches)
    if run.total < _FEW and training.max_steps is None:
        job.note(
            f"Only {run.total:,} steps in all: a smaller --batch-tokens and more --epochs suit so little text better."
        )
    best = train(run, task, folder=job.state, evaluate=evaluate, metric=metric, counted=counted, watch=job.watch)
    model.load_state_dict(best)
    model.eval()
    return {
        "steps": run.step,
        "best": run.best,
        "precision": str(run.dtype).removeprefix("torch."),
        "device": str(job.device),
        "minutes": round((time.perf_counter() - job.started) / 60, 2),
    }


@contextmanager
def _first_alone(world: World) -> Iterator[None]:
    if world.rank:
        distributed.barrier()
    yield
    if world.size > 1 and world.rank == 0:
        distributed.barrier()
