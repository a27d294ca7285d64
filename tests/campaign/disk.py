"""Disks that are full while a run saves: the last good state survives, one sentence says so, and the run goes on.

.venv/bin/python tests/campaign/disk.py [--short] [--seed N]

The disks are small tmpfs mounts, which take root; where they are not permitted, that is said, and the limit of a file's
size (RLIMIT_FSIZE) stands in for them. It does so in any case for a few runs.
"""

from __future__ import annotations

import hashlib
import random
import resource
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from common import (
    Command,
    Ended,
    Faults,
    import_all,
    part,
    result,
    run,
    say,
    small_corpus,
    state_folder,
    stopped,
    training,
)

DISK = 8 << 20
FULL, LIMITED = "No space left on device", "File too large"
TEXTS = ("the cat sees 3 cars.", "my friend")


def mounted(folder: Path) -> str:
    """Make the folder a disk of its own; return why that was not possible, or nothing."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)


def leave(disk: Path, free: int) -> Path:
    """Fill a disk but for so many bytes."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - free)))
    return ballast


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def whole(state: Path) -> bool:
    content = state.read_bytes()
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


class Campaign:
    """The same run, where there is room for all of it, and where there is not."""

    def __init__(self, folder: Path, faults: Faults, rng: random.Random) -> None:
        self.folder, self.faults, self.rng = folder, faults, rng
        self.corpus = small_corpus(folder / "pairs.tsv")
        self.reference = folder / "reference"
        self.old = folder / "old"
        self.failed = self.fitted = 0
        for out, options in ((self.reference, ()), (self.old, ("--seed", 5))):
            ended = run(*training(self.corpus, out, *options))
            if ended.code:
                raise SystemExit(f"a run with room for everything ended with {ended.code}: {ended.err}")
        self.expected = result(self.reference)
        self.answers = self.translated(self.old)
        self.stopped = stopped(training(self.corpus, folder / "stopped"), folder / "stopped")
        state = state_folder(self.stopped)
        assert state is not None
        self.size = max(used(self.reference) + 2 * used(state), 1 << 20)

    def translated(self, model: Path) -> str:
        return run("translate", "run", "--model", model, "--device", "cpu", *TEXTS).out

    def trial(self, kind: str, place: Path, short_of: Callable[[list[object]], Ended], reason: str) -> None:
        """One run without room, and again with room."""
        start = {"from nothing": None, "going on": self.stopped, "replacing": self.old}[kind]
        out = place / "m"
        if start:
            shutil.copytree(start, out)
        words = [*training(self.corpus, out), *(["--replace"] if kind == "replacing" else [])]
        states = list(out.glob("resume/*/state.pt"))
        ended = short_of(words)
        what = f"{kind}, {reason}"
        if ended.code == 0:
            self.fitted += 1
        else:
            self.failed += 1
            said = ended.refused and ended.code == 1 and reason in ended.sentences[0]
            self.faults.check(said, f"{what}: exit code 1 and one sentence", (ended.code, ended.err))
            found = [path for path in out.glob("resume/*/state.pt") if whole(path)]
            self.faults.check(len(found) >= len(states), f"{what}: the last good state survives", found)
            if kind == "replacing":
                self.faults.check(self.translated(out) == self.answers, f"{what}: the old model answers as it did")
            again = run(*words)
            self.faults.check(again.code == 0, f"{what}: going on when there is room", (again.code, again.err))
            went_on = not found or "Going on from step" in again.err
            self.faults.check(went_on, f"{what}: going on from the state that was saved", again.err)
        self.faults.check(result(out) == self.expected, f"{what}: the result of the run that had room")
        shutil.rmtree(out)

    def without_room(self, disk: Path, free: int, words: list[object]) -> Ended:
        ballast = leave(disk, free)
        ended = run(*words)
        ballast.unlink()
        return ended

    def with_limit(self, limit: int, words: list[object]) -> Ended:
        return Command(words, before=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))).wait()


def work(folder: Path, faults: Faults, rng: random.Random, short: bool) -> str:
    import_all()
    campaign = Campaign(folder, faults, rng)
    kinds = ("from nothing", "going on", "replacing")
    disk = folder / "disk"
    refused = mounted(disk)
    with ExitStack() as stack:
        if refused:
            say(f"disk: not run: small disks, as mounting one is not permitted here ({refused})")
        else:
            stack.callback(unmount, disk)
            for number in range(9 if short else 60):
                free = rng.randrange(0, campaign.size) if number > 2 else 0
                campaign.trial(kinds[number % 3], disk, partial(campaign.without_room, disk, free), FULL)
        on_disk = campaign.failed
        place = folder / "limited"
        place.mkdir()
        biggest = max(path.stat().st_size for path in campaign.stopped.rglob("*") if path.is_file())
        for number in range(3 if short else 15):
            limit = rng.randrange(0, biggest + 4096)
            campaign.trial(kinds[number % 3], place, partial(campaign.with_limit, limit), LIMITED)
    limits = campaign.failed - on_disk
    return (f"{on_disk} runs ended by a full disk ({'not run' if refused else 'tmpfs'}), {limits} by the limit of a "
            f"file's size, {campaign.fitted} had room; all went on to the same weights and log")  # fmt: skip


if __name__ == "__main__":
    part("disk", work)
