"""Kills at random moments and at file operations, stops by SIGTERM, two trainings at once: the result is the same.

.venv/bin/python tests/campaign/kill.py [--short] [--seed N]
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

from common import Command, Ended, Faults, import_all, part, result, say, small_corpus, state_folder, training

VARIANTS = (
    ("--seed", 1),
    ("--seed", 2, "--units", "unigram", "--accumulate", 2, "--metric", "bleu"),
    ("--seed", 3, "--units", "word", "--cell", "lstm", "--layers", 2, "--recurrent-dropout", 0.2, "--patience", 2),
    ("--seed", 4, "--bidirectional", "--no-tied", "--ema", "", "--evaluate-steps", ""),
)
# Of Python's audit events, those that change a folder (https://docs.python.org/3/library/audit_events.html).
OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")


def phase(folder: Path) -> str:
    """What a run was doing, by what stands in its folder."""
    state = state_folder(folder)
    if (folder / "manifest.json").exists():
        return "after the switch"
    if any(folder.glob("*weights-*")):
        return "switching"
    if state is None:
        return "beginning"
    if (state / "report.json").exists():
        return "reporting"
    if (state / "state.pt").exists() or any(state.glob(".state.pt.*")):
        return "training"
    if (state / "metrics.jsonl").exists():
        return "before the first save"
    if any(state.glob("train.*")):
        return "encoding"
    return "tokenising"


def at_operation(number: int, folder: Path) -> Callable[[], None]:
    """Kill this process just before the number-th change of a file below the folder."""
    counter = count(1)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in OPERATIONS and arguments and str(folder) in str(arguments[0]):
            reading = event == "open" and str(arguments[1]) in ("r", "rb", "None")
            if not reading and next(counter) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(hook)


class Campaign:
    """Runs of one variant after the other, each of them stopped again and again."""

    def __init__(self, folder: Path, faults: Faults, rng: random.Random) -> None:
        self.folder, self.faults, self.rng = folder, faults, rng
        self.corpus = small_corpus(folder / "pairs.tsv")
        self.numbers = count()
        self.phases: dict[str, Counter[str]] = {}
        self.runs = 0

    def reference(self, variant: tuple[object, ...]) -> tuple[object, float]:
        """The result of the run that is never stopped, and its seconds."""
        out = self.folder / f"reference-{next(self.numbers)}"
        ended = Command(training(self.corpus, out, *variant)).wait()
        if ended.code:
            raise SystemExit(f"the run that is never stopped ended with {ended.code}: {ended.err}")
        return result(out), ended.seconds

    def stopped(self, variant: tuple[object, ...], times: int, stop: Callable[[Path, list[object]], Ended],
                kind: str, code: int) -> None:  # fmt: skip
        """Stop runs so many times, and compare each finished one with the one that was not."""
        expected, self.seconds = self.reference(variant)
        done = 0
        out = self.folder / f"{kind}-{next(self.numbers)}"
        while done < times:
            ended = stop(out, training(self.corpus, out, *variant))
            if ended.code == 0:
                self.compare(out, expected, f"{kind} {variant}")
                out = self.folder / f"{kind}-{next(self.numbers)}"
            elif self.faults.check(ended.code == code, f"{kind} {variant}: exit code", (ended.code, ended.err)):
                if code == 130:
                    said = ended.sentences[-1:] and "the same command goes on from" in ended.sentences[-1]
                    self.faults.check(bool(said) and "Traceback" not in ended.err, f"{kind}: message", ended.err)
                self.phases.setdefault(kind, Counter())[phase(out)] += 1
                done += 1
            else:
                return
        say(f"kill: {done} times {kind} of {' '.join(map(str, variant))}")
        ended = Command(training(self.corpus, out, *variant)).wait()
        if self.faults.check(ended.code == 0, f"{kind} {variant}: going on", (ended.code, ended.err)):
            self.compare(out, expected, f"{kind} {variant}")

    def compare(self, out: Path, expected: object, what: str) -> None:
        self.runs += 1
        self.faults.check(result(out) == expected, f"{what}: weights and log as of the run never stopped", out)
        left = [p.name for p in out.iterdir() if p.name.endswith(".tmp") or p.name == "resume"]
        self.faults.check(not left, f"{what}: nothing is left over", left)

    def by_clock(self, number: int) -> Callable[[Path, list[object]], Ended]:
        def stop(_: Path, words: list[object]) -> Ended:
            command = Command(words)
            until = time.monotonic() + self.rng.uniform(0.03, self.seconds)
            while command.running and time.monotonic() < until:
                time.sleep(0.003)
            if command.running:
                command.kill(number)
            return command.wait()

        return stop

    def by_operation(self, out: Path, words: list[object]) -> Ended:
        return Command(words, before=at_operation(self.rng.randint(1, 60), out)).wait()

    def two_at_once(self) -> None:
        """The second training into a folder is refused, and the first goes on unharmed."""
        expected, _ = self.reference(VARIANTS[0])
        out = self.folder / "two"
        first = Command(training(self.corpus, out, *VARIANTS[0]))
        while first.running and not state_folder(out):  # .lock may be there before it is locked
            time.sleep(0.003)
        refused = 0
        while not first.kill(signal.SIGSTOP) and first.running:  # so that it cannot be finished before the second asks
            if (out / "manifest.json").exists():  # finished, if not yet gone: now another may rightly replace it
                break
            options = self.rng.choice([(), ("--replace",), ("--seed", 9), ("--no-resume",), ("--replace", "--seed", 9)])
            second = Command(training(self.corpus, out, *VARIANTS[0], *options)).wait()
            said = "must be trained into by one process at a time, but is in use by another"
            good = second.refused and second.code == 2 and said in second.sentences[0]
            refused += self.faults.check(good, "the second training", (second.code, second.err))
            first.kill(signal.SIGCONT)
            time.sleep(self.rng.uniform(0.0, 0.2))
        first.kill(signal.SIGCONT)
        ended = first.wait()
        self.faults.check(refused > 0, "the second training", "it never asked while the first was there")
        if self.faults.check(ended.code == 0, "the first of two trainings", ended.err):
            self.compare(out, expected, "the first of two trainings")
        say(f"two trainings on one folder: the second refused {refused} times, with exit code 2")


def work(folder: Path, faults: Faults, rng: random.Random, short: bool) -> str:
    import_all()
    campaign = Campaign(folder, faults, rng)
    for variant in VARIANTS[: 1 if short else None]:
        campaign.stopped(variant, 6 if short else 25, campaign.by_clock(signal.SIGKILL), "SIGKILL", -signal.SIGKILL)
        campaign.stopped(variant, 6 if short else 25, campaign.by_operation, "SIGKILL at a file operation",
                         -signal.SIGKILL)  # fmt: skip
        campaign.stopped(variant, 4 if short else 10, campaign.by_clock(signal.SIGTERM), "SIGTERM", 130)
    campaign.two_at_once()
    kinds = "; ".join(f"{c.total()} {kind} ({', '.join(f'{n} {p}' for p, n in c.most_common())})"
                      for kind, c in campaign.phases.items())  # fmt: skip
    return f"{kinds}; {campaign.runs} runs compared with those never stopped"


if __name__ == "__main__":
    part("kill", work)
