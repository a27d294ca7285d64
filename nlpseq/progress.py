"""What a person sees while work goes on: a bar on a terminal, a line a validation elsewhere; all on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlpseq.loop import Event

__all__ = ["shown"]

_QUIET_SECONDS = 10.0  # between lines of progress where there is no terminal


def shown(say: Callable[[str], None]) -> Callable[[Event], None]:
    """Return a function that shows events; say: prints one line on standard error."""
    terminal = sys.stderr.isatty()
    bar: list[Any] = []
    last = [time.monotonic()]

    def line(text: str) -> None:
        if bar:
            bar[0].write(text, file=sys.stderr)
        else:
            say(text)

    def advance(step: int, total: int, label: str, facts: str) -> None:
        if not terminal:
            if time.monotonic() - last[0] > _QUIET_SECONDS:
                last[0] = time.monotonic()
                say(f"{label} {step:,} of {total:,}{', ' if facts else ''}{facts}")
            return
        if bar and (bar[0].desc != label or bar[0].total != total):
            bar.pop().close()
        if not bar:
            from tqdm import tqdm

            bar.append(tqdm(total=total, desc=label, dynamic_ncols=True, leave=False, initial=step))
        bar[0].n = step
        bar[0].set_postfix_str(facts)
        if step >= total:
            bar.pop().close()

    def show(event: Event) -> None:
        match event.kind:
            case "note":
                line(event.text)
            case "progress":
                advance(event.step, event.total, event.text, "")
            case "step":
                advance(event.step, event.total, "training, step", _step(event.values))
            case "resumed":
                line(f"Going on from step {event.step:,} of {event.total:,}.")
            case "validation":
                line(f"step {event.step:,}: {_scores(event.values)}")

    return show


def _step(values: Mapping[str, float]) -> str:
    speed = f"{values['tokens_per_second']:,.0f} target tokens/s"
    return f"loss {values['loss']:.3f}, {speed}, epoch {values['epoch'] + 1:.0f}"


def _scores(values: Mapping[str, float]) -> str:
    scores = ", ".join(f"{name} {value:.3f}" for name, value in values.items() if name != "best")
    return f"validation {scores}{' (best)' if values.get('best') else ''}"
