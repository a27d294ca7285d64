"""Steps side by side: in order, each on one thread, and the caller's number of threads is as it was."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from nlpseq.nn.recurrent import Recurrent
from nlpseq.threads import side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_as_many_are_worked_on_at_a_time_as_torch_has_threads_and_each_has_one():
    meeting = threading.Barrier(2, timeout=20)  # passed by two at a time or not at all

    def work(number: int) -> tuple[int, int]:
        meeting.wait()
        return number, torch.get_num_threads()

    assert side_by_side(work, range(6), CPU) == [(number, 1) for number in range(6)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_threads_is_as_it_was_after_a_fault(count: int):
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda number: 1 // number, [0] * count, CPU)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_thread_that_begins_to_use_torch_meanwhile_or_afterwards_is_left_alone():
    told: list[int] = []

    def look() -> None:
        told.append(torch.get_num_threads())

    def work(_: int) -> int:
        other = threading.Thread(target=look)
        other.start()
        other.join()
        return torch.get_num_threads()

    assert side_by_side(work, range(4), CPU) == [1] * 4
    look()
    assert told == [2] * 5


@pytest.mark.usefixtures("two_threads")
def test_what_is_not_worth_a_thread_is_worked_on_here_on_one():
    here = threading.current_thread()

    def look(_: int) -> tuple[bool, int]:
        return threading.current_thread() == here, torch.get_num_threads()

    assert side_by_side(look, [1], CPU) == [(True, 1)]
    assert side_by_side(look, range(7), CPU, least=4) == [(True, 1)] * 7
    assert side_by_side(look, range(8), CPU, least=4) == [(False, 1)] * 8
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_none_and_another_device_need_no_thread():
    here = threading.current_thread()
    assert side_by_side(lambda number: number, [], CPU) == []
    assert side_by_side(lambda _: threading.current_thread(), [1, 2, 3], torch.device("cuda")) == [here] * 3


def test_it_works_in_a_thread_that_outlives_the_main_one():
    code = """
import threading, time, torch
from nlpseq.threads import side_by_side
torch.set_num_threads(2)
def late():
    threading.main_thread().join()
    time.sleep(0.2)
    print(side_by_side(lambda number: number + 1, [1, 2, 3], torch.device("cpu")))
threading.Thread(target=late).start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[2, 3, 4]\n", "")


def test_no_result_depends_on_the_number_of_threads():
    layer, inputs = Recurrent("lstm", 40, 64, bidirectional=True).eval(), torch.randn(9, 8, 24, 40)

    def outputs(threads: int) -> torch.Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.no_grad():
                return torch.stack(side_by_side(torch.no_grad()(lambda rows: layer(rows)[0]), list(inputs), CPU))
        finally:
            torch.set_num_threads(before)

    assert torch.equal(outputs(1), outputs(3))
