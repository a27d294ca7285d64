"""Whose an output folder is: what is refused, what goes on, what is replaced."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from nlpseq.artefact import save
from nlpseq.config import settings_of
from nlpseq.errors import ArtefactError
from nlpseq.folders import claim, fingerprint, finished, release, stamp, state_folder
from nlpseq.settings import RunConfig, TranslateConfig

ONE = {"corpus": "c", "seed": 1, "layers": 1}
OTHER = ONE | {"seed": 2, "layers": 3}


def finish(folder: Path, wanted: dict[str, object], stage: str = "translate") -> None:
    folder.mkdir(exist_ok=True)
    save(folder, stage, settings={}, files={"a.bin": b"model"}, facts={"fingerprint": wanted})


def stopped(folder: Path, wanted: dict[str, object]) -> Path:
    """Leave what a run that was stopped after its first save leaves."""
    state = claim(folder, wanted=wanted, replace=False, resume=True) / "state.pt"
    state.write_bytes(b"state")
    return state


def test_a_fingerprint_has_what_determines_the_result_and_nothing_else():
    config = TranslateConfig(run=RunConfig(corpus="c", out="m"))
    same = replace(config, run=replace(config.run, out="n", device="cuda", threads=3, replace=True, resume=False))
    assert fingerprint(config, corpus="x") == fingerprint(same, corpus="x")
    assert fingerprint(config, corpus="x") != fingerprint(config, corpus="y")
    assert fingerprint(config)["nlpseq"]
    neutral = {item.name for item in settings_of(TranslateConfig) if item.neutral}
    assert neutral == {"out", "replace", "resume", "device", "threads", "save_minutes"}
    assert json.loads(json.dumps(fingerprint(config))) == fingerprint(config)


def test_a_stamp_changes_with_content_and_names_but_not_with_times_or_hidden_files(tmp_path: Path):
    (tmp_path / "train.en").write_text("a\n")
    seen = [stamp(tmp_path)]
    (tmp_path / "train.fr").write_text("b\n")
    seen.append(stamp(tmp_path))
    (tmp_path / "train.fr").write_text("bb\n")
    seen.append(stamp(tmp_path))
    assert len(set(seen)) == 3
    os.utime(tmp_path / "train.en", ns=(1, 1))
    (tmp_path / ".lock").write_text("")
    assert stamp(tmp_path) == seen[-1]
    assert stamp(tmp_path / "train.en") != stamp(tmp_path / "train.fr")
    parallel = stamp(tmp_path / "train")
    (tmp_path / "train.fr").write_text("c\n")
    assert stamp(tmp_path / "train") != parallel
    assert stamp(tmp_path / "no") == stamp(None) == stamp("phrasebook") == ""


def test_a_free_folder_is_not_finished(tmp_path: Path):
    for name in ("new", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert finished(tmp_path / name, "translate", wanted=ONE, replace=False) is False
    (tmp_path / "empty" / ".lock").write_text("")
    claim(tmp_path / "empty", wanted=ONE, replace=False, resume=True)
    assert finished(tmp_path / "empty", "translate", wanted=ONE, replace=False) is False


def test_the_same_run_is_finished_and_is_not_when_it_is_replaced(tmp_path: Path):
    finish(tmp_path / "m", ONE)
    assert finished(tmp_path / "m", "translate", wanted=ONE, replace=False) is True
    assert finished(tmp_path / "m", "translate", wanted=ONE, replace=True) is False
    assert finished(tmp_path / "m", "translate", wanted=OTHER, replace=True) is False


def test_another_run_is_refused_with_what_differs(tmp_path: Path):
    finish(tmp_path / "m", ONE)
    must = r"`out` must hold no other run \(--replace puts the new one in its place\), but is that of "
    with pytest.raises(ArtefactError, match=must + r"seed 1 instead of 2, layers 1 instead of 3 \("):
        finished(tmp_path / "m", "translate", wanted=OTHER, replace=False)
    many = dict.fromkeys("abcdef", 9)
    with pytest.raises(ArtefactError, match=must + r"a absent instead of 9, .*, d absent instead of 9 and 2 more \("):
        finished(tmp_path / "m", "translate", wanted=ONE | many, replace=False)


def test_another_stage_is_refused_and_named(tmp_path: Path):
    finish(tmp_path / "m", ONE, stage="tokenize")
    with pytest.raises(ArtefactError, match=r"but is that of stage tokenize instead of translate"):
        finished(tmp_path / "m", "translate", wanted=ONE, replace=False)


def test_a_foreign_folder_is_refused_even_with_replace(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("the user's")
    for replacing in (False, True):
        must = "`out` must be a new folder, an empty one, or one of nlpseq's, but is a folder with thesis.tex in it"
        with pytest.raises(ArtefactError, match=must):
            finished(tmp_path, "translate", wanted=ONE, replace=replacing)


def test_a_stopped_run_goes_on_and_another_one_is_refused(tmp_path: Path):
    state = stopped(tmp_path / "m", ONE)
    assert claim(tmp_path / "m", wanted=ONE, replace=False, resume=True) == state.parent
    assert state.read_bytes() == b"state"
    with pytest.raises(ArtefactError, match=r"`out` must hold no other run .* seed 1 instead of 2, layers 1 instead"):
        claim(tmp_path / "m", wanted=OTHER, replace=False, resume=True)
    assert state.read_bytes() == b"state"


def test_a_stopped_run_is_dropped_when_that_is_asked(tmp_path: Path):
    state = stopped(tmp_path / "m", ONE)
    assert claim(tmp_path / "m", wanted=ONE, replace=False, resume=False) == state.parent
    assert not state.exists()
    assert json.loads((state.parent / "settings.json").read_bytes()) == ONE


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_that_replaces_another_leaves_its_state_until_it_is_finished(tmp_path: Path, resume: bool):
    """A slip in an option must not cost the hours of the run that was stopped."""
    state = stopped(tmp_path / "m", ONE)
    other = claim(tmp_path / "m", wanted=OTHER, replace=True, resume=resume)
    assert other != state.parent
    assert state.read_bytes() == b"state"
    assert claim(tmp_path / "m", wanted=ONE, replace=False, resume=True) == state.parent
    release(tmp_path / "m", OTHER)
    assert not (tmp_path / "m" / "resume").exists()


def test_a_run_that_saved_nothing_does_not_stand_in_the_way(tmp_path: Path):
    """As after a wrong column: the right command must not be told that another run is there."""
    (claim(tmp_path / "m", wanted=ONE, replace=False, resume=True) / "train.json").write_text("of the other run")
    claim(tmp_path / "m", wanted=OTHER, replace=False, resume=True)
    assert {path.name for path in state_folder(tmp_path / "m", OTHER).iterdir()} == {"settings.json"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"null", b"[]", None])
def test_a_state_whose_settings_are_damaged_is_not_thrown_away(tmp_path: Path, content: bytes | None):
    state = stopped(tmp_path / "m", ONE)
    own = state.parent / "settings.json"
    own.unlink() if content is None else own.write_bytes(content)
    must = r"settings\.json` must be as nlpseq wrote it \(--replace starts anew\), but is damaged or absent"
    with pytest.raises(ArtefactError, match=must):
        claim(tmp_path / "m", wanted=OTHER, replace=False, resume=True)
    claim(tmp_path / "m", wanted=OTHER, replace=True, resume=True)
    assert state.exists()
    claim(tmp_path / "m", wanted=ONE, replace=False, resume=True)
    assert json.loads(own.read_bytes()) == ONE


def test_release_keeps_the_log_and_nothing_else(tmp_path: Path):
    (stopped(tmp_path / "m", ONE).parent / "metrics.jsonl").write_text("{}\n")
    release(tmp_path / "m", ONE)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["metrics.jsonl"]
    assert (tmp_path / "m" / "metrics.jsonl").read_text() == "{}\n"
    release(tmp_path / "m", ONE)
    assert (tmp_path / "m" / "metrics.jsonl").exists()
