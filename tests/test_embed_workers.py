"""Workers and threads: Ctrl-C reaches all workers, and only the parent may end on it; one thread does the steps."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nlpseq import EmbedConfig, configure, train_embeddings
from nlpseq.loop import Event


@pytest.fixture
def text(tmp_path: Path) -> Path:
    dice = random.Random(1)
    words = [a + b for a in "bdfgk" for b in "aeiou"]
    (tmp_path / "text.txt").write_text("".join(" ".join(dice.choices(words, k=30)) + "\n" for _ in range(2000)))
    return tmp_path / "text.txt"


@pytest.mark.slow
def test_ctrl_c_on_all_processes_saves_the_state(text: Path, tmp_path: Path):
    command = [sys.executable, "-m", "nlpseq", "embed", "train", "--corpus", str(text)]
    command += ["--out", str(tmp_path / "m"), "--epochs", "10000", "--save-minutes", "1000", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not any(log.stat().st_size for log in (tmp_path / "m").glob("resume/*/metrics.jsonl")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "the state is saved" in err.splitlines()[-1]
    assert any((tmp_path / "m").glob("resume/*/state.pt"))


def trained(text: Path, out: Path, **settings: object) -> tuple[str, set[int]]:
    """Return what is noted, and how many threads there are where the state is saved."""
    said, threads = [], set()

    def watch(event: Event) -> None:
        if event.kind == "note":
            said.append(event.text)
        if event.kind == "saved":
            threads.add(torch.get_num_threads())

    small = {"embed_size": 8, "epochs": 1.0, "device": "cpu", "save_minutes": 0.0}
    before = torch.get_num_threads()
    try:
        train_embeddings(configure(EmbedConfig, corpus=str(text), out=str(out), **(small | settings)), watch=watch)
    finally:
        torch.set_num_threads(before)
    return " ".join(said), threads


@pytest.mark.parametrize(("asked", "used"), [(None, 1), (2, 2)])
def test_one_thread_does_the_steps_unless_more_are_asked_for(text: Path, tmp_path: Path, asked, used):
    torch.set_num_threads(2)
    assert trained(text, tmp_path / "m", threads=asked)[1] == {used}


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, "At most 53 steps in all: a smaller --block"), ({"block": 32}, ""), ({"max_steps": 2}, "")],
)
def test_a_text_that_gives_few_steps_is_told_of_smaller_ones(text: Path, tmp_path: Path, settings, steps):
    said, _ = trained(text, tmp_path / "m", **settings)
    assert (steps in said) if steps else ("steps in all" not in said)
