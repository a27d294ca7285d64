"""What is shown while work goes on, and what TensorBoard gets of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nlpseq import progress
from nlpseq.errors import UsageError
from nlpseq.loop import Event

STEP = {"loss": 2.0, "tokens_per_second": 1000.0, "epoch": 0.0}


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def validation(step: int, total: int = 100, *, best: bool = False) -> Event:
    return Event("validation", "", step, total, {"loss": step / 10, "best": float(best)})


def test_quick_validations_are_shown_now_and_then_and_the_last_one_always(clock: Clock):
    said: list[str] = []
    show = progress.shown(said.append)
    for step in range(1, 101):
        clock.now += 0.1
        show(validation(step))
    steps = [int(line.split(":")[0].removeprefix("step ")) for line in said]
    assert steps == [1, *range(11, 100, 10), 100]


def test_slow_validations_are_all_shown(clock: Clock):
    said: list[str] = []
    show = progress.shown(said.append)
    for step in range(1, 6):
        clock.now += 11
        show(validation(step, 1000, best=step == 5))
    assert len(said) == 5
    assert said[-1] == "step 5: validation loss 0.500 (best)"


def test_a_best_validation_that_was_not_shown_is_named_with_the_next(clock: Clock):
    said: list[str] = []
    show = progress.shown(said.append)
    for step in (1, 2, 3, 100):
        clock.now += 0.1
        show(validation(step, best=step == 2))
    assert said == ["step 1: validation loss 0.100", "step 100: validation loss 10.000 (best: step 2)"]


def test_the_last_validation_of_a_run_that_ends_early_is_shown_before_what_comes_next(clock: Clock):
    said: list[str] = []
    show = progress.shown(said.append)
    for step in (1, 2, 3):
        show(validation(step))
    show(Event("note", "Translating test."))
    show(Event("note", "bleu 1.0"))
    assert said == [
        "step 1: validation loss 0.100",
        "step 3: validation loss 0.300",
        "Translating test.",
        "bleu 1.0",
    ]


def test_steps_are_a_line_in_ten_seconds_where_there_is_no_terminal(clock: Clock):
    said: list[str] = []
    show = progress.shown(said.append)
    for step in range(100):
        clock.now += 1
        show(Event("step", "", step, 100, STEP))
    assert 8 <= len(said) <= 10
    assert said[0].endswith("of 100, loss 2.000, 1,000 target tokens/s, epoch 1")


def test_without_tensorboard_it_is_said_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"`tensorboard` must have its package \(pip .*, but is not installed \(opt"):
        progress.recorded(print, tmp_path)


class Writer:
    """Stands for TensorBoard's: what is on the disk is what was flushed."""

    def __init__(self, folder: str, purge_step: int) -> None:
        self.place, self.waiting, self.disk = (folder, purge_step), [], []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.waiting.append((name, value, step))

    def flush(self) -> None:
        self.disk += self.waiting
        self.waiting.clear()


def test_curves_are_on_the_disk_at_once_and_every_event_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made: list[Writer] = []
    module = SimpleNamespace(SummaryWriter=lambda *place, **more: made.append(Writer(*place, **more)) or made[-1])
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(progress, "find_spec", lambda name: object())
    seen: list[Event] = []
    record = progress.recorded(seen.append, tmp_path)
    events = [Event("note", "begins"), Event("step", "", 10, 100, {"loss": 2.0}), validation(20)]
    for event in events:
        record(event)
    assert seen == events
    (writer,) = made
    assert writer.place == (str(tmp_path), 10)
    assert writer.disk == [("step/loss", 2.0, 10), ("validation/loss", 2.0, 20), ("validation/best", 0.0, 20)]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs the extra tensorboard")
def test_tensorboard_gets_the_curves_and_those_of_a_run_that_goes_on(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen: list[Event] = []
    for first in (1, 2):  # the second run goes on behind the first step of the first one
        record = progress.recorded(seen.append, tmp_path / "board")
        for step in (first, first + 1):
            record(Event("step", "", step, 9, STEP | {"loss": float(10 * first + step)}))
        record(validation(first + 1))
        record(Event("note", "done"))
    assert len(seen) == 8
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    assert {"step/loss", "step/tokens_per_second", "validation/loss"} <= set(board.Tags()["scalars"])
    losses = [(event.step, event.value) for event in board.Scalars("step/loss")]
    assert losses == [(1, 11.0), (2, 22.0), (3, 23.0)]
