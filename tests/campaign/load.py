"""A corpus of ten million pairs: preprocessing and the first thousand steps in bounded memory, progress shown.

.venv/bin/python tests/campaign/load.py [--short] [--seed N] [--pairs N ...]

Pairs of the phrasebook with a name, a number and a place in the corpus that vary go to a .tsv as a stream, 1 and 10
million of them (100,000 with --short). What is measured of each training: seconds of every stretch of work, the longest
silence on standard error, and peak memory: its own (anonymous) and, apart, the pages of mapped files, which the system
takes back when it needs them.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from common import Faults, part, say

SYLLABLES = ("ba", "ko", "li", "mu", "ren", "sa", "ti", "vo", "da", "nel")
SIZES = {"--hidden-size": 64, "--embed-size": 64, "--device": "cpu", "--threads": 1}
SILENCE = 15  # seconds: progress comes every ten, and the machine may be busy
GROWTH = 48  # bytes for each pair: two offsets, the order, two lengths while it is made, and some room


@dataclass
class Measured:
    """What a training took."""

    lines: list[tuple[float, str]] = field(default_factory=list)  # seconds since the start, standard error
    held: list[int] = field(default_factory=list)  # bytes of its own, the peak before each line
    recent: int = 0  # the peak since the last line
    anonymous: int = 0  # peaks, in bytes
    mapped: int = 0
    code: int = 0
    seconds: float = 0.0

    @property
    def silence(self) -> tuple[float, str]:
        """The longest time without a line, and the line before it."""
        starts = [(0.0, "the start"), *self.lines]
        ends = [*(at for at, _ in self.lines), self.seconds]
        return max((end - at, line) for (at, line), end in zip(starts, ends, strict=True))


def write_corpus(path: Path, pairs: int, rng: random.Random) -> None:
    """Write pairs as a stream; no two are the same."""
    from nlpseq.synthetic import generate

    rows = generate("phrasebook", seed=1)["train"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("en\tfr\n")
        for number in range(pairs):
            row = rng.choice(rows)
            name = "".join(SYLLABLES[int(digit)] for digit in f"{rng.randrange(10_000):04d}").capitalize()
            file.write(f"{name} {number}: {row['en']}\t{name} {number} : {row['fr']}\n")


def memory(pid: int) -> tuple[int, int]:
    """Anonymous and mapped bytes that a process has in memory now."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    anonymous, mapped = (int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return anonymous, mapped


def measured(words: list[str]) -> Measured:
    """Run a command of nlpseq and watch it."""
    found, started = Measured(), time.monotonic()
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "nlpseq", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="backslashreplace", env=environment)

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            found.lines.append((time.monotonic() - started, line.rstrip("\n")))
            found.held.append(found.recent)
            found.recent = 0

    listener = threading.Thread(target=listen)
    listener.start()
    while process.poll() is None:
        try:
            anonymous, mapped = memory(process.pid)
            found.anonymous, found.mapped = max(found.anonymous, anonymous), max(found.mapped, mapped)
            found.recent = max(found.recent, anonymous)
        except (OSError, ValueError):  # it is just ending
            pass
        time.sleep(0.05)
    listener.join()
    found.code, found.seconds = process.returncode, time.monotonic() - started
    return found


def train(folder: Path, pairs: int, steps: int, *, faults: Faults, rng: random.Random) -> Measured:
    corpus, out = folder / "pairs.tsv", folder / "model"
    started = time.monotonic()
    write_corpus(corpus, pairs, rng)
    say(f"load: {pairs:,} pairs, {corpus.stat().st_size / 1e6:,.0f} MB, written in {time.monotonic() - started:.0f} s")
    settings = [str(word) for item in SIZES.items() for word in item]
    pair = ["--source", "en", "--target", "fr"]
    found = measured(
        ["translate", "train", "--corpus", str(corpus), *pair, "--out", str(out), "--max-steps", str(steps), *settings]
    )
    for (at, line), held in zip(found.lines, found.held, strict=True):
        say(f"load: {at:7.1f} s, until then {held / 1e6:5,.0f} MB  {line}")
    seconds, after = found.silence
    say(f"load: {pairs:,} pairs: {found.seconds:,.0f} s, peak {found.anonymous / 1e6:,.0f} MB of its own and "
        f"{found.mapped / 1e6:,.0f} MB of mapped files, longest silence {seconds:.1f} s after: {after}")  # fmt: skip
    faults.check(found.code == 0, f"{pairs:,} pairs: exit code", (found.code, found.lines[-3:]))
    faults.check(seconds <= SILENCE, f"{pairs:,} pairs: progress is shown", (seconds, after))
    for path in (corpus, *(path for path in out.rglob("*") if path.is_file())):
        path.unlink()
    return found


def work(folder: Path, faults: Faults, rng: random.Random, short: bool) -> str:
    asked = (
        [int(word.replace(",", "")) for word in sys.argv[sys.argv.index("--pairs") + 1 :]]
        if "--pairs" in sys.argv
        else []
    )
    sizes = asked or ([100_000] if short else [1_000_000, 10_000_000])
    found = {}
    for pairs in sizes:
        (folder / str(pairs)).mkdir()
        found[pairs] = train(folder / str(pairs), pairs, 300 if short else 1000, faults=faults, rng=rng)
    if len(sizes) > 1:
        growth = (found[sizes[-1]].anonymous - found[sizes[0]].anonymous) / (sizes[-1] - sizes[0])
        say(f"load: {growth:.1f} bytes of memory of its own for each further pair")
        faults.check(growth <= GROWTH, "memory is bounded", f"{growth:.1f} bytes a pair")
    return "; ".join(f"{n:,} pairs in {m.seconds:,.0f} s and {m.anonymous / 1e6:,.0f} MB" for n, m in found.items())


if __name__ == "__main__":
    part("load", work)
