"""What a person sees while work goes on: a bar on a terminal, now and then a line elsewhere; all on standard error."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlpseq.errors import UsageError, sentence

if TYPE_CHECKING:
    from nlpseq.loop import Event

__all__ = ["recorded", "shown"]

_QUIET_SECONDS = 10.0  # between lines of progress where there is no terminal
_VALIDATIONS = 10  # shown of a run whose epochs take less: tiny data would fill the screen


def recorded(watch: Callable[[Event], None], folder: Path) -> Callable[[Event], None]:
    """Return `watch`, which also writes the curves for TensorBoard; UsageError where its package is not installed.

    folder: of the event files. A run that goes on or starts anew there hides what stood behind its first step.
    """
    if find_spec("tensorboard") is None:
        must = "have its package (pip install 'nlpseq[tensorboard]')"
        raise UsageError(sentence("tensorboard", must, "not installed", "option --tensorboard", quote=False))
    writers: list[Any] = []

    def record(event: Event) -> None:
        watch(event)
        if event.kind not in ("step", "validation"):
            return
        if not writers:
            from torch.utils.tensorboard import SummaryWriter

            writers.append(SummaryWriter(str(folder), purge_step=event.step))
        for name, value in event.values.items():
            writers[0].add_scalar(f"{event.kind}/{name}", value, event.step)
        writers[0].flush()  # at each look, so that nothing is missing however the run ends

    return record


def shown(say: Callable[[str], None]) -> Callable[[Event], None]:
    """Return a function that shows events; say: prints one line on standard error."""
    terminal = sys.stderr.isatty()
    bar: list[Any] = []
    last = [time.monotonic()]
    best: list[int] = []  # the step of the best validation so far, shown or not

    def line(text: str) -> None:
        if bar:
            bar[0].write(text, file=sys.stderr)
        else:
            say(text)

    def advance(step: int, total: int, label: str, facts: str) -> None:
        if not terminal:
            if time.monotonic() - last[0] > _QUIET_SECONDS:
                last[0] = time.monotonic()
                say(f"{label} {step:,}{f' of {total:,}' if total else ''}{', ' if facts else ''}{facts}")
            return
        if bar and (bar[0].desc != label or bar[0].total != (total or None)):
            bar.pop().close()
        if not bar:
            from tqdm import tqdm

            bar.append(tqdm(total=total or None, desc=label, dynamic_ncols=True, leave=False, initial=step))
        bar[0].n = step
        bar[0].set_postfix_str(facts)
        if total and step >= total:
            bar.pop().close()

    def show(event: Event) -> None:
        match event.kind:
            case "note":
                line(event.text)
            case "progress":
                advance(event.step, event.total, event.text, "")
            case "step":
                advance(event.step, event.total, f"training, {event.text or 'step'}", _step(event))
            case "resumed":
                line(f"Going on from {event.text or 'step'} {event.step:,} of {event.total:,}.")
            case "validation":
                mark = f" (best: step {best[0]:,})" if best and best[0] != event.step else ""
                line(f"step {event.step:,}: {_scores(event.values)}{mark}")

    thinned = _thinned(show)

    def watch(event: Event) -> None:
        if event.kind == "validation" and event.values.get("best"):
            best[:] = [event.step]
        thinned(event)

    return watch


def _thinned(show: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return `show`, which is spared most validations where they come thick and fast, but never the last one."""
    held: list[Event] = []  # the validation that was not shown
    step, at = 0, -math.inf  # of the one that was

    def watch(event: Event) -> None:
        nonlocal step, at
        if event.kind == "validation":
            held[:] = [event]
            near = event.step - step < event.total / _VALIDATIONS and time.monotonic() - at < _QUIET_SECONDS
            if near and event.step < event.total:
                return
        if held and event.kind in ("validation", "note"):  # a note: patience is up, or the work is done
            step, at = held[0].step, time.monotonic()
            show(held.pop())
        if event.kind != "validation":
            show(event)

    return watch


def _step(event: Event) -> str:
    values = event.values
    speed = f"{values['tokens_per_second']:,.0f} {event.text or event.counted}s/s"
    return f"loss {values['loss']:.3f}, {speed}, epoch {values['epoch'] + 1:.0f}"


def _scores(values: Mapping[str, float]) -> str:
    scores = ", ".join(f"{name} {value:.3f}" for name, value in values.items() if name != "best")
    return f"validation {scores}{' (best)' if values.get('best') else ''}"
