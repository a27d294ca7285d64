"""Several workers from the command line: Ctrl-C reaches them all, and only the parent may end on it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.slow
def test_ctrl_c_on_all_processes_saves_the_state(tmp_path: Path):
    dice = random.Random(1)
    words = [a + b for a in "bdfgk" for b in "aeiou"]
    (tmp_path / "text.txt").write_text("".join(" ".join(dice.choices(words, k=30)) + "\n" for _ in range(2000)))
    command = [sys.executable, "-m", "nlpseq", "embed", "train", "--corpus", str(tmp_path / "text.txt")]
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
