"""The translate stage in its folder: finished, stopped, resumed, refused, and what a full disk or a kill leaves."""

from __future__ import annotations

import errno
import itertools
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from conftest import state_folder

from nlpseq import TranslateConfig, Translator, artefact, configure, loop, train_translator
from nlpseq.artefact import MANIFEST, lock
from nlpseq.errors import ArtefactError, Interrupted, WorkError

SMALL = {"source": "en", "target": "fr", "units": "word", "hidden_size": 16, "embed_size": 16, "device": "cpu",
         "threads": 1, "batch_tokens": 60, "save_minutes": 0.0, "max_steps": 30}  # fmt: skip


def small(trained: Path, out: Path, **options: object) -> TranslateConfig:
    return configure(TranslateConfig, corpus=str(trained / "pairs.tsv"), out=str(out), **(SMALL | options))


def words(trained: Path, out: Path, **options: object) -> list[str]:
    given = SMALL | options
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in given.items()]
    return ["translate", "train", "--corpus", str(trained / "pairs.tsv"), "--out", str(out), *itertools.chain(*pairs)]


def weights(folder: Path) -> str:
    return json.loads((folder / MANIFEST).read_bytes())["files"]["weights.safetensors"]["sha256"]


class Stop(Exception):
    """A kill, as far as a test in the same process can have one."""


def stop_at(step: int, error: type[Exception] = Stop):
    def watch(event: loop.Event) -> None:
        if event.kind == "saved" and event.step >= step:
            raise error

    return watch


@pytest.fixture(scope="module")
def finished(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of thirty steps, never stopped."""
    folder = tmp_path_factory.mktemp("finished") / "m"
    train_translator(small(trained, folder))
    return folder


@pytest.fixture
def stopped(trained: Path, tmp_path: Path) -> Path:
    """The folder of the same run, stopped in the middle with its state saved."""
    with pytest.raises(Stop):
        train_translator(small(trained, tmp_path / "m"), watch=stop_at(10))
    assert (state_folder(tmp_path / "m") / "state.pt").exists()
    return tmp_path / "m"


def test_a_finished_folder_has_the_model_its_report_and_its_log_and_nothing_else(finished: Path):
    names = sorted(re.sub(r"-[0-9a-f]{12}\.", ".", path.name) for path in finished.iterdir())
    own = ["manifest.json", "metrics.jsonl", "report.html", "report.json", "tokenizer.json", "weights.safetensors"]
    assert names == [".lock", *own]
    assert Translator.load(finished).translate(["the cat eats bread", ""])[1] == ""


def test_facts_tell_what_the_model_was_made_of(finished: Path):
    facts = json.loads((finished / MANIFEST).read_bytes())["facts"]
    assert (facts["corpus"], facts["source"], facts["target"], facts["steps"]) == ("pairs.tsv", "en", "fr", 30)
    assert facts["train"]["rows"] + facts["validation"]["rows"] == 57
    assert facts["parameters"] == sum(p.numel() for p in Translator.load(finished).model.parameters())


def test_the_same_command_again_does_nothing(run, trained: Path, finished: Path):
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir() if path.name != ".lock"}
    outcome = run(*words(trained, finished))
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"{finished} holds this very run, finished; nothing to do.\n"
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir() if path.name != ".lock"} == before


def test_another_run_is_refused_with_what_differs_until_it_replaces(run, trained: Path, model: Path):
    common = ["--corpus", trained / "pairs.tsv", "--source", "en", "--target", "fr", "--out", model]
    sizes = ["--units", "word", "--hidden-size", 16, "--embed-size", 16, "--device", "cpu", "--threads", 1]
    old = weights(model)
    outcome = run("translate", "train", *common, *sizes, "--max-steps", 2, "--seed", 7)
    said = "`out` must hold no other run (--replace puts the new one in its place), but is that of "
    assert outcome.code == 2
    assert outcome.sentences == [f"{said}seed 1 instead of 7, max_steps 3 instead of 2 ({model})."]
    assert weights(model) == old
    assert run("translate", "train", *common, *sizes, "--max-steps", 2, "--seed", 7, "--replace").code == 0
    assert weights(model) != old
    assert len(list(model.glob("weights-*"))) == 1


def test_the_folder_of_another_stage_is_refused(run, trained: Path, tmp_path: Path):
    folder = shutil.copytree(trained / "units", tmp_path / "units")
    outcome = run(*words(trained, folder))
    assert outcome.code == 2
    assert "but is that of stage tokenize instead of translate" in outcome.sentences[0]


def test_a_replacement_that_fails_leaves_the_old_model(trained: Path, model: Path):
    old = Translator.load(model).translate(["the cat"])
    with pytest.raises(Stop):
        train_translator(small(trained, model, replace=True), watch=stop_at(10))
    assert Translator.load(model).translate(["the cat"]) == old


def test_a_stopped_run_goes_on_to_the_same_weights(trained: Path, stopped: Path, finished: Path):
    steps = []
    train_translator(small(trained, stopped), watch=lambda e: steps.append(e.step) if e.kind == "resumed" else None)
    assert steps == [10]
    assert weights(stopped) == weights(finished)
    assert not (stopped / "resume").exists()


def test_a_stopped_run_is_not_taken_over_by_another(run, trained: Path, stopped: Path):
    outcome = run(*words(trained, stopped, seed=9))
    assert outcome.code == 2
    assert "`out` must hold no other run" in outcome.sentences[0]
    assert "seed 1 instead of 9" in outcome.sentences[0]
    assert (state_folder(stopped) / "state.pt").exists()


def test_a_wrong_column_does_not_stand_in_the_way_of_the_right_one(run, trained: Path, tmp_path: Path):
    assert run(*words(trained, tmp_path / "m", source="eng", max_steps=1)).code == 2
    assert not (tmp_path / "m").exists()
    assert run(*words(trained, tmp_path / "m", max_steps=1)).code == 0


def test_two_trainings_in_one_folder(run, trained: Path, tmp_path: Path):
    with lock(tmp_path / "m"):
        outcome = run(*words(trained, tmp_path / "m"))
    said = "must be trained into by one process at a time, but is in use by another."
    assert (outcome.code, outcome.sentences) == (2, [f"`{tmp_path / 'm'}` {said}"])


def test_a_trained_tokeniser_is_taken_whole(trained: Path, tmp_path: Path):
    for name in ("units", "model"):
        translator = train_translator(small(trained, tmp_path / name, tokenizer=str(trained / name), max_steps=1))
        assert translator.tokenizer.files() == Translator.load(trained / "model").tokenizer.files()


def test_a_malicious_state_is_refused_and_never_executed(run, trained: Path, stopped: Path, tmp_path: Path):
    from test_messages import Touch

    state = state_folder(stopped) / "state.pt"
    torch.save({"model": Touch(tmp_path / "executed")}, tmp_path / "zipped.pt")
    for content in (pickle.dumps(Touch(tmp_path / "executed"), 2), (tmp_path / "zipped.pt").read_bytes()):
        state.write_bytes(content + sha256(content).digest())
        outcome = run(*words(trained, stopped))
        assert outcome.code == 2
        said = "must be a resume state as nlpseq wrote it (--no-resume starts anew), but is damaged."
        assert outcome.sentences == [f"`{state}` {said}"]
        assert not (tmp_path / "executed").exists()


def damages(content: bytes) -> Iterator[bytes]:
    yield from (content[:size] for size in (0, 1, 100, len(content) // 2, len(content) - 1))
    for place in range(0, len(content), len(content) // 40):
        yield content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


def take_up(state: Path) -> tuple[str, dict[str, object]]:
    """Return what was said against a state, and what was taken of it."""
    taken: dict[str, object] = {}

    class Run:
        restore = staticmethod(taken.update)

    try:
        loop.take_up(Run(), state)
    except ArtefactError as error:
        return str(error), taken
    return "", taken


def test_a_damaged_state_is_refused_or_harmless(trained: Path, stopped: Path):
    state = state_folder(stopped) / "state.pt"
    content, expected = state.read_bytes(), torch.load(state, weights_only=True)
    refused = 0
    for damage in damages(content):
        state.write_bytes(damage)
        said, taken = take_up(state)
        refused += bool(said)
        assert said.startswith(f"`{state}` must be a resume state as nlpseq wrote it") or repr(taken) == repr(expected)
    assert refused > 30


def test_a_damaged_tokeniser_of_a_stopped_run_is_told_and_made_anew(run, trained: Path, stopped: Path, finished: Path):
    path = state_folder(stopped) / "tokenizer" / MANIFEST
    path.write_bytes(path.read_bytes()[:-9])
    outcome = run(*words(trained, stopped))
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert "must be" in outcome.sentences[0]
    assert run(*words(trained, stopped), "--no-resume").code == 0
    assert weights(stopped) == weights(finished)


@pytest.mark.parametrize("name", ["train.json", "train.source.offsets", "train.target.ids", "validation.source.ids"])
def test_damaged_ids_of_a_stopped_run_are_made_anew_and_it_goes_on(
    trained: Path, stopped: Path, finished: Path, name: str
):
    path = state_folder(stopped) / name
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    steps = []
    train_translator(small(trained, stopped), watch=lambda e: steps.append(e.step) if e.kind == "resumed" else None)
    assert steps == [10]
    assert weights(stopped) == weights(finished)


def test_the_state_of_another_run_is_refused(run, trained: Path, stopped: Path, tmp_path: Path):
    with pytest.raises(Stop):
        train_translator(small(trained, tmp_path / "other", seed=7), watch=stop_at(10))
    shutil.copy(state_folder(tmp_path / "other") / "state.pt", state_folder(stopped) / "state.pt")
    outcome = run(*words(trained, stopped))
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert "must be a resume state as nlpseq wrote it" in outcome.sentences[0]


@pytest.mark.parametrize("lines", [0, 1])
def test_a_log_that_has_lost_lines_does_not_stop_a_run(trained: Path, stopped: Path, finished: Path, lines: int):
    log = state_folder(stopped) / "metrics.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:lines]))
    train_translator(small(trained, stopped))
    assert weights(stopped) == weights(finished)
    records = [json.loads(line) for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert min(record["step"] for record in records) > 10


def test_a_full_disk_keeps_the_last_state_and_the_run_goes_on_later(
    run, trained: Path, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    replace, folder = os.replace, tmp_path / "m"
    room = [3]  # saves of the state that the disk still takes

    def full(source: Path, target: Path) -> None:
        if target.name == "state.pt":
            room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        outcome = run(*words(trained, folder))
    said = "`state.pt` must be written whole (what stood there before still does), but is No space left on device"
    assert (outcome.code, len(outcome.sentences)) == (1, 1)
    assert outcome.sentences[0].startswith(said)
    assert not (folder / MANIFEST).exists()
    outcome = run(*words(trained, folder))
    assert outcome.code == 0
    assert re.search(r"^Going on from step \d+ of 30\.$", outcome.err, re.MULTILINE)
    assert weights(folder) == weights(finished)


def test_a_full_disk_at_the_last_moment_keeps_the_old_model_and_the_state(
    trained: Path, model: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    old, write = weights(model), artefact.write_file

    def full(path: Path, content: bytes) -> None:
        if path.parent == model and path.name == MANIFEST:
            raise WorkError("full")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(artefact, "write_file", full)
        with pytest.raises(WorkError, match="full"):
            train_translator(small(trained, model, replace=True))
    assert weights(model) == old
    assert Translator.load(model).translate(["the cat"]) != [""]
    train_translator(small(trained, model, replace=True))
    assert weights(model) == weights(finished)


def test_interrupts_in_this_process_are_exit_code_130(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import nlpseq.stages.translate

    early = "Stopped; the same command goes on from the last saved state, or begins anew where there is none."
    for error, said in (
        (Interrupted("Stopped at step 1; go on."), "Stopped at step 1; go on."),
        (KeyboardInterrupt(), early),
    ):

        def stop(*arguments: object, error: BaseException = error, **options: object) -> None:
            raise error

        monkeypatch.setattr(nlpseq.stages.translate, "train_translator", stop)
        outcome = run("translate", "train", "--corpus", "c", "--out", tmp_path / "m")
        assert (outcome.code, outcome.sentences) == (130, [said])


def begin(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "nlpseq", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)  # fmt: skip


def wait_for_a_step(process: subprocess.Popen[str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not ((log := state_folder(folder) / "metrics.jsonl").exists() and log.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "more", "again"),
    [
        (signal.SIGINT, [], "the same command"),
        (signal.SIGTERM, [], "the same command"),
        (signal.SIGINT, ["--no-resume"], "the command with --resume"),
    ],
)
def test_a_signal_saves_the_state_and_the_same_command_goes_on(
    run, trained: Path, tmp_path: Path, number: int, more: list[str], again: str
):
    folder = tmp_path / "m"
    endless = {"max_steps": 100_000, "epochs": 100_000, "evaluate_steps": 1000}
    process = begin([*words(trained, folder, **endless, save_minutes=1000), *more])  # so that only the signal saves
    try:
        wait_for_a_step(process, folder)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    said = rf"nlpseq: Stopped at step [\d,]+ of 100,000; the state is saved, {again} goes on from there\."
    assert re.fullmatch(said, last)
    saved = torch.load(state_folder(folder) / "state.pt", weights_only=True)
    assert f"{saved['step']:,}" in last
    assert not (folder / MANIFEST).exists()
    seen = []
    with pytest.raises(Stop):
        train_translator(small(trained, folder, **endless), watch=watched(seen))
    assert seen == [saved["step"]]


def watched(seen: list[int]):
    def watch(event: loop.Event) -> None:
        seen.extend([event.step] if event.kind == "resumed" else [])
        stop_at(1)(event)

    return watch


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("free", [3, 30, 90, 200])
def test_a_disk_that_is_really_full(run, trained: Path, tmp_path: Path, finished: Path, free: int):
    with small_disk(tmp_path / "disk", "700k") as disk:
        model = shutil.copytree(trained / "model", disk / "m")
        old = weights(model)
        ballast = disk / "ballast"
        space = shutil.disk_usage(disk).free
        ballast.write_bytes(bytes(max(0, space - free * 1024)))
        outcome = run(*words(trained, model), "--replace")
        assert outcome.code == 1
        assert len(outcome.sentences) == 1
        assert "No space left on device" in outcome.sentences[0]
        assert weights(model) == old
        assert run("translate", "run", "--model", model, "the cat").code == 0
        ballast.unlink()
        assert run(*words(trained, model), "--replace").code == 0
        assert weights(model) == weights(finished)
