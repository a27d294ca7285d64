"""Model folders: whole or refused, never a mixture, never code."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nlpseq import artefact
from nlpseq.artefact import MANIFEST, load, lock, read_manifest, save, write_file
from nlpseq.errors import ArtefactError, WorkError

FILES = {"weights.safetensors": bytes(range(256)), "tokenizer.json": b"{}"}
SETTINGS = {"layers": 1, "rate": 0.1, "kind": "soft", "name": "é\udcff"}  # the name of a file need not be UTF-8


def put(folder: Path, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    save(folder, "translate", settings=SETTINGS | changes, files=FILES, facts={"corpus": "c"})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "m")


def rewrite(folder: Path, **changes: object) -> None:
    """Change a manifest as somebody would who knows how its hash is made."""
    manifest = json.loads((folder / MANIFEST).read_bytes()) | changes
    manifest["sha256"] = artefact.digest_of(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_saved_is_loaded(folder: Path):
    found = load(folder, "translate")
    assert (found.stage, found.settings, found.facts, found.files) == ("translate", SETTINGS, {"corpus": "c"}, FILES)


def test_a_folder_can_be_moved(folder: Path, tmp_path: Path):
    shutil.move(folder, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere", "translate").files == FILES
    assert str(tmp_path) not in (tmp_path / "elsewhere" / MANIFEST).read_text("utf-8", "replace")


def test_saving_again_leaves_nothing_of_the_old_model_or_of_a_killed_save(folder: Path):
    (folder / "weights-0123456789ab.safetensors").write_bytes(b"of a killed save")
    (folder / ".weights-0123456789ab.safetensors.1.tmp").write_bytes(b"of a killed save")
    (folder / ".report.json.1.tmp").write_bytes(b"of a report that is being written")
    (folder / "mine.txt").write_text("the user's")
    save(folder, "lm", settings={}, files={"weights.safetensors": b"new"}, facts={})
    assert load(folder, "lm").files == {"weights.safetensors": b"new"}
    assert len(names(folder)) == 4
    assert (folder / ".report.json.1.tmp").exists()
    assert (folder / "mine.txt").read_text() == "the user's"


def flips(content: bytes) -> Iterator[bytes]:
    for place in range(len(content)):
        yield content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def refusal(folder: Path) -> str:
    try:
        load(folder, "translate")
    except ArtefactError as error:
        return str(error)
    return ""


def test_a_flipped_bit_anywhere_in_the_manifest_is_refused_or_harmless(folder: Path):
    path, whole = folder / MANIFEST, load(folder, "translate")
    refused = 0
    for content in flips(path.read_bytes()):
        path.write_bytes(content)
        said = refusal(folder)
        refused += bool(said)
        assert said.startswith("`manifest.json` must ") or load(folder, "translate") == whole  # a tab for a space, say
    assert refused > 0.8 * len(content)


@pytest.mark.parametrize("role", FILES)
def test_a_flipped_bit_in_a_file_is_refused(folder: Path, role: str):
    path = next(folder.glob(f"{role.partition('.')[0]}-*"))
    for content in flips(FILES[role]):
        path.write_bytes(content)
        with pytest.raises(ArtefactError, match=f"`{path.name}` must have the SHA-256 that .* gives, but is changed"):
            load(folder, "translate")


def test_truncated_files_and_missing_ones_are_named(folder: Path):
    path = next(folder.glob("weights-*"))
    for size in (0, 1, 255):
        path.write_bytes(FILES["weights.safetensors"][:size])
        with pytest.raises(ArtefactError, match=f"`{path.name}` must have 256 bytes, but is {size} bytes long"):
            load(folder, "translate")
    path.unlink()
    with pytest.raises(ArtefactError, match=f"`{path.name}` must be readable, but is No such file"):
        load(folder, "translate")


def test_a_truncated_manifest_is_refused(folder: Path):
    path = folder / MANIFEST
    content = path.read_bytes()
    for size in range(len(content) - 2):
        path.write_bytes(content[:size])
        with pytest.raises(ArtefactError, match=r"`manifest\.json` must be as nlpseq wrote it, but is damaged"):
            read_manifest(folder)


def test_what_is_no_finished_model(tmp_path: Path):
    with pytest.raises(ArtefactError, match=r"`.*no` must be the folder of a finished model, but is no folder\.$"):
        load(tmp_path / "no", "translate")
    must = "must be the folder of a finished model, but is a folder without manifest.json"
    with pytest.raises(ArtefactError, match=must):
        load(tmp_path, "translate")


def test_another_stage(folder: Path):
    with pytest.raises(ArtefactError, match="must be a model of the stage `lm`, but is one of `translate`"):
        load(folder, "lm")


def test_a_newer_format_is_told_before_anything_else(folder: Path):
    later = {"format": 2, "nlpseq": "9.1", "all": "is different"}
    (folder / MANIFEST).write_text(json.dumps(later))
    with pytest.raises(ArtefactError, match=r"must have a format of at most 1 .* but is 2, written by nlpseq 9\.1"):
        load(folder, "translate")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", ".", "a/b", "", "a\0b", 5, None])
def test_a_manifest_that_names_a_file_outside_the_folder(folder: Path, name: object):
    rewrite(folder, files={"weights.safetensors": {"file": name, "bytes": 0, "sha256": ""}})
    with pytest.raises(ArtefactError, match=r"`(manifest\.json|\.?\.?|m)` must be (as nlpseq wrote it|readable), but"):
        load(folder, "translate")


@pytest.mark.parametrize(
    "changes",
    [{"files": []}, {"files": {"a": 3}}, {"settings": None}, {"facts": []}, {"stage": 3}, {"format": "1"}],
)
def test_a_manifest_of_another_shape(folder: Path, changes: dict[str, object]):
    rewrite(folder, **changes)
    with pytest.raises(ArtefactError, match=r"`manifest\.json` must be as nlpseq wrote it, but is damaged"):
        load(folder, "translate")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, pickle.dumps({"format": 1})])
def test_a_manifest_that_is_something_else(folder: Path, content: bytes):
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ArtefactError, match=r"`manifest\.json` must be as nlpseq wrote it, but is damaged"):
        load(folder, "translate")


def test_a_full_disk_at_any_write_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch):
    before, contents = load(folder, "translate"), names(folder)
    sync, calls, failing_at = os.fsync, [], 0
    new = {role: content + b"new" for role, content in FILES.items()}

    def failing(handle: int) -> None:
        calls.append(handle)
        if len(calls) == failing_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", failing)
    for number in range(1, 6):  # file and folder of weights and tokeniser, then the manifest's file
        failing_at = number
        calls.clear()
        must = r"must be written whole \(what stood there before still does\), but is No space left on device"
        with pytest.raises(WorkError, match=must):
            save(folder, "translate", settings={}, files=new, facts={})
        assert load(folder, "translate") == before
        assert not list(folder.glob(".*.tmp"))
    failing_at = 0
    save(folder, "translate", settings={}, files=new, facts={})
    assert load(folder, "translate").files == new
    assert len(names(folder)) == len(contents)


def test_write_file_keeps_the_old_content_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "state.pt"
    write_file(path, b"old")

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WorkError, match=r"`state\.pt` must be written whole .* but is Disk quota exceeded"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"state.pt"}


def hold(folder: Path, ready: object, release: object) -> None:
    with lock(folder):
        ready.set()
        release.wait(20)


def test_one_process_at_a_time_and_the_lock_is_gone_with_its_process(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "m", ready, release))
    other.start()
    try:
        assert ready.wait(20)
        must = "must be trained into by one process at a time, but is in use by another"
        with pytest.raises(ArtefactError, match=must), lock(tmp_path / "m"):
            pass
    finally:
        other.kill()
        other.join()
    with lock(tmp_path / "m"):
        pass


def test_an_output_that_is_no_folder(tmp_path: Path):
    (tmp_path / "file").write_text("the user's")
    with (
        pytest.raises(ArtefactError, match="must be a folder that can be written, but is a file"),
        lock(tmp_path / "file"),
    ):
        pass
    with (
        pytest.raises(ArtefactError, match="must be a folder that can be written, but is Not a directory"),
        lock(tmp_path / "file" / "below"),
    ):
        pass
    assert (tmp_path / "file").read_text() == "the user's"


def test_what_a_killed_switch_left_is_taken_away_by_the_next(tmp_path: Path):
    (tmp_path / f".{MANIFEST}.123.tmp").write_bytes(b"half a manifest")
    artefact.save(tmp_path, "translate", settings={}, files={"a.bin": b"model"}, facts={})
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["a", MANIFEST]
