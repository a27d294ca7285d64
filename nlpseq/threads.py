"""Work in steps of a few rows, side by side on the processor's cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> list[Result]:
    """Return what `work` makes of each item, in order.

    On a CPU as many items are worked on at a time as torch has threads, each on one thread: steps of a few rows are
    too small to be shared by two, and so no result depends on the number of threads. On a GPU it is one by one.
    """
    if device.type != "cpu":
        return [work(item) for item in items]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        if min(threads, len(items)) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(threads, len(items)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(threads)
