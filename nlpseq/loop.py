"""The plain loop around `fit` that all stages share: validate, keep the best, save, log, stop."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, distributed

from nlpseq.artefact import write_file
from nlpseq.errors import ArtefactError, Interrupted, WorkError, sentence
from nlpseq.folders import STATE
from nlpseq.training import Run, Step, Task, averaged, fit, together

__all__ = [
    "Event",
    "Log",
    "Resumable",
    "Watch",
    "counting",
    "read_log",
    "read_record",
    "save_state",
    "signals",
    "take_up",
    "train",
    "unwatched",
]

_HASH = 32  # bytes of SHA-256 behind a saved state
LOOK_EVERY = 10  # steps between looks at losses, clock and signals: a look waits for the device


class Resumable(Protocol):
    """A run whose state is plain numbers, strings and tensors."""

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""


class Event(NamedTuple):
    """What a caller may show while work goes on."""

    kind: str  # "note", "progress", "resumed", "step", "validation", "saved"
    text: str = ""  # what is said or done; for "resumed" and "step" what is counted, where it is not steps
    step: int = 0
    total: int = 0
    values: Mapping[str, float] = MappingProxyType({})
    counted: str = "target token"  # of a step: what its speed is of


Watch = Callable[[Event], None]


def unwatched(event: Event) -> None:
    """Show nothing: what a library does unless it is asked."""


def counting(watch: Watch, text: str, total: int = 0) -> Callable[[int], None]:
    """Return what tells a watch how many rows are done; total: of the rows, 0 where nobody knows yet."""
    return lambda done: watch(Event("progress", text, done, total))


@dataclass
class Log:
    """`metrics.jsonl`: one line a look or validation; cut back to the saved length when a run is resumed."""

    path: Path
    size: int = 0
    window: list[Step] = field(default_factory=list)
    since: float = field(default_factory=time.perf_counter)

    def cut(self, size: int) -> None:
        """Cut the log back to so many bytes, without lines that were damaged since: it is not worth a run."""
        held = self.path.read_bytes()[:size] if self.path.exists() else b""
        whole = len(held) == size  # what a line means that comes after lost ones is anybody's guess
        lines = (line for line in held.splitlines(keepends=True) if line.endswith(b"\n")) if whole else ()
        kept = b"".join(line for line in lines if read_record(line) is not None)
        write_file(self.path, kept)
        self.size = len(kept)

    def synced(self) -> int:
        """Return the length, once all of it is on the disk: after a power cut a state must not be ahead of its log."""
        with open(self.path, "ab") as file:
            os.fsync(file.fileno())
        return self.size

    def write(self, record: dict[str, Any]) -> None:
        """Append a line; WorkError where the disk does not take it."""
        line = (json.dumps(record) + "\n").encode()
        try:
            with open(self.path, "ab") as file:
                file.write(line)
        except OSError as error:
            raise WorkError(sentence(str(self.path), "be written", error.strerror, quote=False)) from None
        self.size += len(line)


def read_record(line: bytes) -> dict[str, float] | None:
    """Return one line of a log: finite numbers by name, `step` among them; None for a line that was damaged."""
    try:
        record = dict(json.loads(line))
        return record if "step" in record and all(map(math.isfinite, record.values())) else None
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def read_log(path: Path | None) -> list[dict[str, float]]:
    """Return all lines of a log, none where there is no file; ArtefactError where one was damaged."""
    lines = path.read_bytes().splitlines() if path is not None and path.exists() else []
    records = [record for line in lines if (record := read_record(line)) is not None]
    if len(records) < len(lines):
        must = "hold one JSON object per line (without the file, the report has no curves)"
        raise ArtefactError(sentence(str(path), must, "damaged", quote=False))
    return records


def train(
    run: Run,
    task: Task,
    *,
    folder: Path,
    evaluate: Callable[[], dict[str, float]],
    metric: str,
    counted: str = "target token",
    watch: Watch,
) -> dict[str, Tensor]:
    """Return the best weights of a training, validated by `evaluate`, resumed from its state folder where it can be.

    folder: of this very run's `state.pt` and `metrics.jsonl`; evaluate: returns the scores on validation, with the
    model as it then is; metric: the one that chooses the best weights, the lowest for "loss" and the highest for any
    other; counted: what a loss is the mean of, for messages; watch: is handed events to show.
    Raises Interrupted after SIGINT or SIGTERM, with the state saved; WorkError where the loss is not finite.
    """
    state = folder / STATE
    log = Log(folder / "metrics.jsonl")
    log.cut(take_up(run, state))
    if run.step:
        watch(Event("resumed", "", run.step, run.total))
    saved = time.monotonic()
    with signals() as caught:
        for step in () if _patience_is_up(run) else fit(run, task):
            log.window.append(step)
            due = _evaluation_is_due(run, step)
            if not (due or step.epoch_ended or step.step % LOOK_EVERY == 0):
                continue
            _look(run, log, watch, counted=counted)
            if due:
                _validate(run, log, evaluate, metric=metric, watch=watch)
                if _patience_is_up(run):
                    break
            stop = _agreed(run, bool(caught))
            if stop or _agreed(run, time.monotonic() - saved > run.config.save_minutes * 60):
                _save(run, state, log.synced())
                saved = time.monotonic()
                watch(Event("saved", "", run.step, run.total))
            if stop:
                place = f"step {run.step:,} of {run.total:,}"
                raise Interrupted(f"Stopped at {place}; the state is saved, the same command goes on from there.")
        _save(run, state, log.synced())  # what follows, such as the test's scores, may still fail
    return run.best_weights


def _patience_is_up(run: Run) -> bool:
    return run.config.patience is not None and run.waited >= run.config.patience


def take_up(run: Resumable, path: Path) -> int:
    """Restore a saved state where there is one; return the length that the log had then."""
    if not path.exists():
        return 0
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[:-_HASH]).digest() != content[-_HASH:]:  # torch.load would take a flipped bit
            raise ValueError
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if state.get("of", path.parent.name) != path.parent.name:  # another run's, of the same shapes
            raise ValueError
        run.restore(state)
        return int(state["log"])
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, EOFError, pickle.UnpicklingError):
        must = "be a resume state as nlpseq wrote it (--no-resume starts anew)"
        raise ArtefactError(sentence(str(path), must, "damaged", quote=False)) from None


def save_state(run: Resumable, path: Path, log: int) -> None:
    """Write the state of a run, and the length that its log has."""
    buffer = io.BytesIO()
    torch.save(run.state() | {"log": log, "of": path.parent.name}, buffer)
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())
    write_file(path, buffer.getbuffer())  # no copy: a state is five times the model


def _save(run: Run, path: Path, log: int) -> None:
    with together(run):
        if run.world.rank == 0:
            save_state(run, path, log)


def _evaluation_is_due(run: Run, step: Step) -> bool:
    every = run.config.evaluate_steps
    return step.step == run.total or (step.epoch_ended if every is None else step.step % every == 0)


def _look(run: Run, log: Log, watch: Watch, *, counted: str) -> None:
    """Read the losses since the last look, write one line, stop where one is not finite."""
    read = torch.stack([torch.stack([s.loss, s.norm, s.tokens]) for s in log.window]).tolist()
    for step, (loss, norm, count) in zip(log.window, read, strict=True):
        if not math.isfinite(loss + norm):
            found = f"{loss / count} at step {step.step:,}, learning rate {step.rate:.2e}, gradient norm {norm:.3g}"
            raise WorkError(sentence("loss", "stay finite (the last saved state is kept)", found, quote=False))
    seconds, tokens = time.perf_counter() - log.since, sum(count for _, _, count in read)
    values = {
        "epoch": log.window[-1].epoch,
        "loss": sum(loss for loss, _, _ in read) / tokens,
        "norm": sum(norm for _, norm, _ in read) / len(read),
        "rate": log.window[-1].rate,
        "tokens_per_second": tokens / max(seconds, 1e-9),
    }
    log.window.clear()
    log.since = time.perf_counter()
    if run.world.rank == 0:
        log.write({"step": run.step, **values})
    watch(Event("step", "", run.step, run.total, values, counted))


def _validate(run: Run, log: Log, evaluate: Callable[[], dict[str, float]], *, metric: str, watch: Watch) -> None:
    """Score the model on validation and keep the best weights."""
    with averaged(run):
        run.model.eval()
        scores = _shared(run, evaluate)
        value = scores[metric]
        if not math.isfinite(value):
            must = "stay finite on validation (the last saved state is kept)"
            raise WorkError(sentence(metric, must, f"{value} at step {run.step:,}", quote=False))
        better = run.best is None or (value < run.best if metric == "loss" else value > run.best)
        run.waited = 0 if better else run.waited + 1
        if better:
            run.best = value
            run.best_weights = {n: t.detach().to("cpu", copy=True) for n, t in run.model.state_dict().items()}
    if run.world.rank == 0:
        log.write({"step": run.step, **{f"validation_{name}": value for name, value in scores.items()}})
    log.since = time.perf_counter()
    watch(Event("validation", "", run.step, run.total, scores | {"best": float(better)}))


def _shared(run: Run, evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return the scores that the first process measured, in every process."""
    if run.world.size == 1:
        return evaluate()
    holder = [evaluate() if run.world.rank == 0 else None]
    distributed.broadcast_object_list(holder, device=run.device)
    return dict(holder[0] or {})


def _agreed(run: Run, wish: bool) -> bool:
    """Return whether any process wishes it, the same in every process."""
    if run.world.size == 1:
        return wish
    flag = torch.tensor(float(wish), device=run.device)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag)


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second SIGINT is a KeyboardInterrupt as ever."""
    caught: list[int] = []

    def catch(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are not ours
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
