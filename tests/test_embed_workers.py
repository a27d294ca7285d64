"""Several workers: Ctrl-C reaches them all, and only the parent may end on it; and what is said before a training."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nlpseq import EmbedConfig, configure, train_embeddings


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


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, "At most 53 steps in all: a smaller --block"), ({"block": 32}, ""), ({"max_steps": 2}, "")],
)
def test_a_text_that_gives_few_steps_is_told_of_smaller_ones(text: Path, tmp_path: Path, settings, steps):
    said: list[str] = []
    config = configure(
        EmbedConfig, corpus=str(text), out=str(tmp_path / "m"), **({"embed_size": 8, "epochs": 1.0} | settings)
    )
    train_embeddings(config, watch=lambda event: said.append(event.text))
    assert any(line.startswith(steps or "At most") for line in said) == bool(steps)


@pytest.mark.parametrize("cores", [1, 2])
def test_more_workers_than_cores_are_said(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int):
    monkeypatch.setattr("nlpseq.stages.embed.usable_cores", lambda: cores)
    said: list[str] = []
    settings = {"embed_size": 8, "max_steps": 2, "workers": 2}
    config = configure(EmbedConfig, corpus=str(text), out=str(tmp_path / "m"), **settings)
    train_embeddings(config, watch=lambda event: said.append(event.text))
    assert ("More workers (2) than cores (1) are no faster." in said) == (cores == 1)
