"""The processor's cores: how many there are to use, and work in steps of a few rows, side by side on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Barrier, Thread
from typing import TypeVar

import torch

__all__ = ["side_by_side", "usable_cores"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], device: torch.device, *, least: int = 1
) -> list[Result]:
    """Return what `work` makes of each item, in order.

    On a CPU as many items are worked on at a time as torch has threads here, each on one thread, so that no result
    depends on their number: work must not depend on what a thread has of its own either, as autocast and inference
    mode. A new thread takes five milliseconds until it is as quick as this one; least: how many items are worth that.
    Fewer are worked on here, on one thread; another that begins to use torch just then has one from then on. On a GPU
    it is one by one.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return [work(item) for item in items]
    size = min(threads, len(items) // least)
    if size < 2:
        torch.set_num_threads(1)
        try:
            return [work(item) for item in items]
        finally:
            torch.set_num_threads(threads)
    results: dict[int, Result] = {}
    faults: list[BaseException] = []
    places, meeting = iter(range(len(items))), Barrier(size + 1)

    def serve() -> None:
        torch.get_num_threads()  # a thread's first look takes over the process' number, later ones its own
        torch.set_num_threads(1)
        meeting.wait()
        meeting.wait()
        for place in places:  # shared by all: each place is taken by one
            try:
                results[place] = work(items[place])
            except BaseException as fault:  # raised below
                faults.append(fault)
            if faults:
                return

    crew = [Thread(target=serve, daemon=True) for _ in range(size)]
    for one in crew:
        one.start()
    meeting.wait()
    torch.set_num_threads(threads)  # theirs stays 1, but it is the process' number that they set as well
    meeting.wait()
    try:
        for one in crew:
            one.join()
    except BaseException as fault:  # Ctrl-C
        faults.append(fault)
        raise
    if faults:
        raise faults[0]
    return [results[place] for place in range(len(items))]


def usable_cores() -> int:
    """Return the cores that this process may use: by affinity, and by the quota of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a quota ("max")
        return cores
