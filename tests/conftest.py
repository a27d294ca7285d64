import os

# Before torch is imported: its threads and those of other jobs would fight for two cores. Subprocesses inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

import io
import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a core may be busy with another file's tests
settings.load_profile("patient")

SMALL = ["--units", "word", "--hidden-size", "16", "--embed-size", "16", "--device", "cpu", "--threads", "1"]


class Outcome(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def sentences(self):
        """What it said of faults; a traceback is never right."""
        assert "Traceback" not in self.err, self.err
        return [line.removeprefix("nlpseq: ") for line in self.err.splitlines() if line.startswith("nlpseq: ")]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """A process of tests for each core that this one may use, which in a container may be fewer than there are."""
    from nlpseq.threads import usable_cores

    return usable_cores()


@pytest.fixture(params=[1, 3], ids="{} threads".format)
def threads(request):
    """Torch has so many threads for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command line in this process: run("translate", "run", "--model", folder, stdin=b"…")."""
    from nlpseq.cli import main

    def command(*words, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        return Outcome(code, *capsys.readouterr())

    return command


def small_pairs():
    """Sixty sentence pairs, some with numbers."""
    subjects = zip(("the cat", "the dog", "a bird", "my friend", "the child"),
                   ("le chat", "le chien", "un oiseau", "mon ami", "l'enfant"), strict=True)  # fmt: skip
    verbs = zip(("eats", "sees", "likes", "has"), ("mange", "voit", "aime", "a"), strict=True)
    objects = zip(("an apple", "bread", "2 cars"), ("une pomme", "du pain", "2 voitures"), strict=True)
    for phrases in itertools.product(subjects, verbs, objects):
        yield tuple(" ".join(sides) for sides in zip(*phrases, strict=True))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with `pairs.tsv` (en, fr), a translator of three steps in `model` and its tokeniser in `units`."""
    from nlpseq.cli import main

    folder = tmp_path_factory.mktemp("trained")
    (folder / "pairs.tsv").write_text("en\tfr\n" + "".join(f"{a}\t{b}\n" for a, b in small_pairs()), "utf-8")
    common = ["--corpus", str(folder / "pairs.tsv"), "--source", "en", "--target", "fr"]
    main(["tokenize", "train", *common, "--units", "word", "--out", str(folder / "units")])
    main(["translate", "train", *common, *SMALL, "--max-steps", "3", "--out", str(folder / "model")])
    return folder


SMALL_TAGGER = {"hidden_size": 12, "embed_size": 16, "character_size": 8, "character_features": 8, "device": "cpu",
                "threads": 1, "batch_tokens": 200, "precision": "fp32"}  # fmt: skip


@pytest.fixture(scope="session")
def tagged(tmp_path_factory):
    """A folder with the start of the newswire in `corpus/*.conll` and a tagger of ten steps in `model`."""
    from nlpseq import NerConfig, configure, load_corpus, train_ner

    folder = tmp_path_factory.mktemp("tagged")
    (folder / "corpus").mkdir()
    newswire = load_corpus("newswire")
    for name, number in (("train", 120), ("validation", 40), ("test", 40)):
        rows = itertools.islice(newswire.split(name), number)
        pairs = (zip(row["tokens"], row["tags"], strict=True) for row in rows)
        text = "\n".join("".join(f"{token}\t{tag}\n" for token, tag in row) for row in pairs)
        (folder / "corpus" / f"{name}.conll").write_text(text, "utf-8")
    options = SMALL_TAGGER | {"corpus": str(folder / "corpus"), "out": str(folder / "model"), "max_steps": 10}
    train_ner(configure(NerConfig, **options))
    return folder


@pytest.fixture
def model(trained, tmp_path):
    """A copy of the translator that may be damaged."""
    return Path(shutil.copytree(trained / "model", tmp_path / "model"))


def state_folder(folder: Path) -> Path:
    """Where the run in this folder keeps its resume state; a path that is not there where there is none."""
    return next((folder / "resume").glob("*"), folder / "resume" / "none")


def never_waits(steps: Iterator[object]) -> None:
    """Take six training steps on CUDA; RuntimeError where one of the last five waits for the device."""
    import torch

    next(steps)  # kernels are chosen and memory is taken in the first step
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
