"""What the parts of the campaign share: commands in processes of their own, a small corpus, what a fault is.

A command runs in a process that is forked from this one, where torch is imported already: so a kill strikes the work
and not the imports, and a hundred of them take minutes. Nothing of torch may run in this process, only be imported.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the same sums everywhere, and no threads to fork

import itertools
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

TRANSLATE = {
    "units": "bpe", "vocab-size": 150, "hidden-size": 24, "embed-size": 16, "batch-tokens": 250, "max-steps": 80,
    "dropout": 0.3, "ema": 0.9, "learning-rate": 0.01, "warmup-steps": 10, "evaluate-steps": 30, "save-minutes": 0,
    "device": "cpu", "threads": 1,
}  # fmt: skip
SUBJECTS = ("the cat", "le chat"), ("the dog", "le chien"), ("a bird", "un oiseau"), ("my friend", "mon ami")
VERBS = ("sees", "voit"), ("has", "a"), ("likes", "aime"), ("eats", "mange"), ("sells", "vend")
OBJECTS = ("an apple", "une pomme"), ("bread", "du pain"), ("{} cars", "{} voitures"), ("a.org/{}", "a.org/{}")
PLACES = ("", ""), (" in Paris", " à Paris"), (" at 10:30", " à 10:30"), (" today", " aujourd'hui"), (" here", " ici")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, or minus the number of the signal that killed it."""

    code: int
    out: str
    err: str
    seconds: float
    used: resource.struct_rusage

    @property
    def sentences(self) -> list[str]:
        return [line.removeprefix("nlpseq: ") for line in self.err.splitlines() if line.startswith("nlpseq: ")]

    @property
    def refused(self) -> bool:
        """Whether it said one sentence and nothing worse."""
        return self.code in (1, 2) and len(self.sentences) == 1 and "Traceback" not in self.err


class Command:
    """A command of nlpseq under way.

    words: without `nlpseq`; before: runs in the new process, ahead of the command.
    """

    def __init__(self, words: Sequence[object], *, stdin: bytes = b"", before: Callable[[], object] = int) -> None:
        self._files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115 - closed by wait()
        self._files[0].write(stdin)
        self._files[0].seek(0)
        self._started = time.monotonic()
        sys.stdout.flush()
        ours = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # is not theirs, until the command sets its own
        self.pid = os.fork()
        if not self.pid:
            self._become([str(word) for word in words], before)
        signal.signal(signal.SIGTERM, ours)

    def _become(self, words: list[str], before: Callable[[], object]) -> None:
        code = 70
        try:
            for number, file in enumerate(self._files):
                os.dup2(file.fileno(), number)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
            from nlpseq.cli import main

            before()
            main(words)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    @property
    def running(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Ended:
        _, status, used = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self._started
        texts = []
        for file in self._files[1:]:
            file.seek(0)
            texts.append(file.read().decode("utf-8", "backslashreplace"))
        for file in self._files:
            file.close()
        return Ended(os.waitstatus_to_exitcode(status), texts[0], texts[1], seconds, used)


def run(*words: object, stdin: bytes = b"") -> Ended:
    return Command(words, stdin=stdin).wait()


def training(corpus: Path, out: Path, *options: object) -> list[object]:
    """The small training into a folder; what is given last counts."""
    settings = [word for name, value in TRANSLATE.items() for word in (f"--{name}", value)]
    pair = ["--source", "en", "--target", "fr"]
    return ["translate", "train", "--corpus", corpus, *pair, "--out", out, *settings, *options]


def stopped(words: Sequence[object], out: Path) -> Path:
    """The folder of a training that was killed half-way, with its state saved."""
    for _ in range(5):
        command = Command(words)
        while command.running:
            with suppress(OSError):  # not there yet, or no more
                state = state_folder(out)
                if state and (state / "state.pt").exists() and (state / "metrics.jsonl").read_bytes().count(b"\n") >= 4:
                    command.kill(signal.SIGKILL)
            time.sleep(0.003)
        ended = command.wait()
        if ended.code == -signal.SIGKILL:
            return out
        assert ended.code == 0, ended.err
        shutil.rmtree(out)  # on a busy machine it was at its end before it was looked at
    raise AssertionError("five trainings came to their end, and none was seen with its state saved half-way")


def import_all() -> None:
    """Import what the commands import, so that every forked process has it."""
    for name in ("pyarrow.parquet", "sacrebleu", "sentencepiece", "torch._dynamo", "nlpseq.cli"):
        import_module(name)
    for stage in ("tokenize", "embed", "translate", "sentiment", "ner", "lm"):
        import_module(f"nlpseq.stages.{stage}")
    from nlpseq.metrics import bleu_lc_tok

    bleu_lc_tok(["warm"], ["warm"], "fr")  # compiles many patterns, and so does the next
    from nlpseq.placeholders import normalise

    normalise("1")


def small_corpus(path: Path, language: str = "fr") -> Path:
    """Write four hundred pairs of a tiny phrasebook."""
    phrases = enumerate(itertools.product(SUBJECTS, VERBS, OBJECTS, PLACES))
    rows = [tuple(f"{a} {b} {c}{d}.".format(n) for a, b, c, d in zip(*parts, strict=True)) for n, parts in phrases]
    path.write_text("".join(f"{a}\t{b}\n" for a, b in [("en", language), *rows]), "utf-8")
    return path


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_bytes())


def result(folder: Path) -> tuple[object, list[Mapping[str, object]]]:
    """What two runs must have in common: the hashes of all files of the model, and the log without its clock."""
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return manifest(folder)["files"], [{k: v for k, v in r.items() if k != "tokens_per_second"} for r in log]


def state_folder(folder: Path) -> Path | None:
    return next((path for path in (folder / "resume").glob("*") if path.is_dir()), None)


class Faults:
    """Counts what held and keeps what did not."""

    def __init__(self) -> None:
        self.held = 0
        self.found: list[str] = []

    def check(self, good: bool, what: str, detail: object = "") -> bool:
        self.held += good
        if not good:
            self.found.append(f"{what}: {detail}")
            say(f"FAULT {what}: {str(detail)[:2000]}")
        return good


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; where $CAMPAIGN_SCRATCH says, or among the temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-", dir=os.environ.get("CAMPAIGN_SCRATCH")))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def part(name: str, work: Callable[[Path, Faults, random.Random, bool], str]) -> None:
    """Run one part of the campaign: `--short` is the version of a minute, `--seed N` draws other moments and places."""
    words = sys.argv[1:]
    short = "--short" in words
    seed = int(words[words.index("--seed") + 1]) if "--seed" in words else 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    faults, started = Faults(), time.monotonic()
    with scratch() as folder:
        text = work(folder, faults, random.Random(seed), short)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"{name}: {text}")
    say(f"{name}: {faults.held:,} checks held, {len(faults.found)} faults, "
        f"{time.monotonic() - started:.0f} s, seed {seed}, {peak:,.0f} MB in this process")  # fmt: skip
    sys.exit(bool(faults.found))
