"""Whose an output folder is: what is refused, what goes on, what is replaced."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from nlpseq import staging
from nlpseq.artefact import lock, save
from nlpseq.config import configure, settings_of
from nlpseq.errors import ArtefactError, CorpusError
from nlpseq.folders import claim, evaluation_folder, fingerprint, finished, held, release, stamp, state_folder
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
    same = replace(
        config,
        run=replace(config.run, out="n", replace=True),
        compute=replace(config.compute, device="cuda", threads=3, resume=False),
    )
    assert fingerprint(config, corpus="x") == fingerprint(same, corpus="x")
    assert fingerprint(config, corpus="x") != fingerprint(config, corpus="y")
    assert fingerprint(config)["nlpseq"]
    neutral = {item.name for item in settings_of(TranslateConfig) if item.neutral}
    assert neutral == {"out", "replace", "resume", "device", "threads", "save_minutes"}
    assert json.loads(json.dumps(fingerprint(config))) == fingerprint(config)


def test_a_stamp_has_the_folders_of_a_text_and_whatever_it_calls_manifest(tmp_path: Path):
    text = tmp_path / "text"
    (text / "a").mkdir(parents=True)
    (text / "a" / "1.py").write_text("x")
    (text / "manifest.json").write_text('{"name": "an extension of a browser"}')
    first = stamp(text)
    (text / "a").rename(text / "z")
    second = stamp(text)
    (text / "z" / "1.py").write_text("y")
    assert len({first, second, stamp(text)}) == 3


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


def test_a_named_corpus_whose_mirror_has_changed_is_another_run_of_the_translator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path))
    (tmp_path / "multi30k").mkdir()
    seen = []
    for content in (b"one", b"two", b"two"):
        (tmp_path / "multi30k" / "train.parquet").write_bytes(content)
        seen.append(staging._wanted(configure(TranslateConfig, corpus="multi30k", out="m"), (), {}))
    assert seen[0] != seen[1] == seen[2]


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
        must = r"`out` must be .* one of nlpseq's \(--replace takes no other\), but is a folder with thesis.tex in it"
        with pytest.raises(ArtefactError, match=must):
            finished(tmp_path, "translate", wanted=ONE, replace=replacing)


def test_nothing_is_written_into_a_foreign_folder(tmp_path: Path):
    (tmp_path / "thesis").write_text("the user's")
    with pytest.raises(ArtefactError, match="is a folder with thesis in it"), held(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_lock_of_somebody_else_keeps_its_content(tmp_path: Path):
    (tmp_path / ".lock").write_text("the user's")
    with held(tmp_path):
        assert (tmp_path / ".lock").read_text() == "the user's"


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


class Fails(Exception):
    """What ends the work."""


def fail(folder: Path, wanted: dict[str, object], *, work: bool = False) -> None:
    with held(folder):
        state = claim(folder, wanted=wanted, replace=True, resume=True)
        if work:
            (state / "train.json").write_text("the work of an hour")
        raise Fails


def test_a_run_that_fails_at_once_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "new", tmp_path / "mine"):
        with pytest.raises(Fails):
            fail(folder, ONE)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "mine"]


def test_a_run_that_fails_later_keeps_what_it_has(tmp_path: Path):
    for wanted, work in ((ONE, True), (OTHER, False)):
        with pytest.raises(Fails):
            fail(tmp_path / "m", wanted, work=work)
    state = state_folder(tmp_path / "m", ONE)
    assert list((tmp_path / "m" / "resume").iterdir()) == [state]
    assert sorted(path.name for path in state.iterdir()) == ["settings.json", "train.json"]


def test_a_failure_takes_nothing_of_the_model_that_was_there(tmp_path: Path):
    finish(tmp_path / "m", ONE)
    before = sorted(path.name for path in (tmp_path / "m").iterdir())
    with pytest.raises(Fails):
        fail(tmp_path / "m", OTHER)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [".lock", *before]


def test_a_folder_in_use_is_refused_and_stays(tmp_path: Path):
    with lock(tmp_path / "m"):
        with pytest.raises(ArtefactError, match="must be trained into by one process at a time"), held(tmp_path / "m"):
            pass
        assert (tmp_path / "m" / ".lock").exists()


def test_evaluations_of_a_model_go_when_another_one_takes_its_place(tmp_path: Path):
    finish(tmp_path / "m", ONE)
    folder = evaluation_folder(tmp_path / "m", "multi30k", "test_2017_flickr")
    folder.mkdir()
    assert folder.name == "evaluate-multi30k-test_2017_flickr"
    release(tmp_path / "m", ONE)  # as when the same command is given again
    assert folder.exists()
    claim(tmp_path / "m", wanted=OTHER, replace=True, resume=True)
    release(tmp_path / "m", OTHER)
    assert not folder.exists()


def test_a_setting_that_is_no_more_is_named(tmp_path: Path):
    finish(tmp_path / "m", ONE | {"beam": 4})
    with pytest.raises(ArtefactError, match=r"but is that of beam 4 instead of absent \("):
        finished(tmp_path / "m", "translate", wanted=ONE, replace=False)


def test_what_a_killed_save_left_is_taken_away(tmp_path: Path):
    state = stopped(tmp_path / "m", ONE)
    (state.parent / ".state.pt.123.tmp").write_bytes(b"half a state")
    claim(tmp_path / "m", wanted=ONE, replace=False, resume=True)
    assert {path.name for path in state.parent.iterdir()} == {"settings.json", "state.pt"}


def test_a_release_that_is_killed_leaves_no_state_without_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run with --replace would else go on from the end of this one, and write a log without a beginning."""
    state = stopped(tmp_path / "m", ONE)
    (state.parent / "metrics.jsonl").write_text("{}\n")

    def kill(*paths: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        release(tmp_path / "m", ONE)
    assert not state.exists()
    assert (state.parent / "metrics.jsonl").exists()


def test_what_is_to_be_said_first_is_asked_for_before_a_refusal_alone(tmp_path: Path):
    """A slip in the corpus' name makes the run another one; the slip is what the user wants to hear of."""
    finish(tmp_path / "m", ONE)

    def slip():
        raise CorpusError("no such corpus")

    with pytest.raises(CorpusError, match="no such corpus"):
        finished(tmp_path / "m", "translate", wanted=OTHER, replace=False, first=slip)
    assert finished(tmp_path / "m", "translate", wanted=ONE, replace=False, first=slip) is True
    assert finished(tmp_path / "m", "translate", wanted=OTHER, replace=True, first=slip) is False
