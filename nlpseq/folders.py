"""Whose an output folder is: free, finished, or half-way through a run that goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nlpseq
from nlpseq.artefact import MANIFEST, lock, read_manifest, write_file
from nlpseq.config import settings_of, to_plain
from nlpseq.errors import ArtefactError, sentence

__all__ = ["claim", "evaluation_folder", "fingerprint", "finished", "held", "release", "stamp", "state_folder"]

STATE = "state.pt"  # of a training that was stopped
KEPT = ("metrics.jsonl", "samples.jsonl", "report.json", "report.html")  # of a state folder, when its run is finished
_LOCK = ".lock"
_OWN = "settings.json"
_TEXT = "text of the "
_EVALUATION = "evaluate-"


def fingerprint(config: object, **inputs: str) -> dict[str, Any]:
    """Return everything that determines a result: the settings that are not neutral, and stamps of what is read."""
    neutral = {item.name for item in settings_of(type(config)) if item.neutral}
    plain = {name: value for name, value in to_plain(config).items() if name not in neutral}
    return plain | {f"{_TEXT}{name}": value for name, value in inputs.items()} | {"nlpseq": nlpseq.__version__}


def stamp_in(wanted: Mapping[str, Any], name: str) -> str:
    """Return the stamp of what is called so that a fingerprint was made with; empty for none."""
    return str(wanted.get(f"{_TEXT}{name}", ""))


def stamp(path: str | Path | None) -> str:
    """Return what tells whether a corpus or a model of one's own has changed: a hash of its content, empty for none.

    path: a file, a folder, a prefix of parallel files, or a model's folder, of which the manifest tells all.
    """
    root = Path(path) if path else None
    if root is None:
        return ""
    if _is_a_model(root):
        root = root / MANIFEST
    base = root if root.is_dir() else root.parent
    beside = root.parent.glob(f"{root.name}.*") if len(root.parts) > 1 and not root.exists() else [root]
    inside = root.rglob("*") if root.is_dir() else beside
    total = hashlib.sha256()
    files = sorted(p for p in inside if p.is_file() and not p.name.startswith("."))
    for file in files:
        with open(file, "rb") as content:
            total.update(os.fsencode(file.relative_to(base)) + hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16] if files else ""


def _is_a_model(folder: Path) -> bool:
    """Return whether a folder's manifest is one of nlpseq's; a text of one's own may have a file of that name."""
    try:
        return "stage" in read_manifest(folder)
    except ArtefactError:
        return False


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for one run, which alone may work in it; ArtefactError where another process does.

    A run that fails before it has anything worth keeping takes away what it made: its state and, where it was not there
    before, the folder. A folder that is not nlpseq's is refused before anything is written into it.
    """
    _refuse_foreign(folder)
    new = not folder.exists()
    with lock(folder):
        try:
            yield
        except BaseException:
            for state in [path for path in folder.glob("resume/*") if path.is_dir()]:
                if {path.name for path in state.iterdir()} <= {_OWN}:
                    shutil.rmtree(state)
            with suppress(OSError):  # of a folder that is not empty
                (folder / "resume").rmdir()
            if new and [path.name for path in folder.iterdir()] == [_LOCK]:
                shutil.rmtree(folder)
            raise


def finished(
    folder: Path, stage: str, *, wanted: Mapping[str, Any], replace: bool, first: Callable[[], object] = lambda: None
) -> bool:
    """Return whether the folder holds this very run, finished.

    wanted: what `fingerprint` gave; first: is called before a refusal, to raise what is to be said instead, such as a
    slip in the corpus' name. Raises ArtefactError where the folder holds another finished run, or files that are not
    nlpseq's, unless `replace` is given; then it is False.
    """
    try:
        return _holds(folder, stage, wanted, replace=replace)
    except ArtefactError:
        first()
        raise


def _holds(folder: Path, stage: str, wanted: Mapping[str, Any], *, replace: bool) -> bool:
    _refuse_foreign(folder)
    if replace or not (folder / MANIFEST).exists():
        return False
    held = read_manifest(folder)
    if held["stage"] == stage and held["facts"].get("fingerprint") == dict(wanted):
        return True
    if held["stage"] == stage:
        _refuse(folder, held["facts"].get("fingerprint") or {}, wanted)
    _refuse(folder, {"stage": held["stage"]}, {"stage": stage})
    return False


def _refuse_foreign(folder: Path) -> None:
    if (folder / MANIFEST).exists() or any((folder / "resume").glob(f"*/{_OWN}")):
        return
    foreign = sorted(p.name for p in folder.glob("*") if p.name not in (_LOCK, "resume"))
    if foreign:
        must = "be a new folder, an empty one, or one of nlpseq's (--replace takes no other)"
        raise ArtefactError(sentence("out", must, f"a folder with {foreign[0]} in it", str(folder), quote=False))


def state_folder(folder: Path, wanted: Mapping[str, Any]) -> Path:
    """Return where the run of this fingerprint keeps its resume state: another run's is another folder."""
    digest = hashlib.sha256(json.dumps(dict(wanted), sort_keys=True).encode()).hexdigest()
    return folder / "resume" / digest[:12]


def claim(folder: Path, *, wanted: Mapping[str, Any], replace: bool, resume: bool) -> Path:
    """Return the state folder of this run: what an earlier try of the same run left is still there.

    Raises ArtefactError where an unfinished run with other settings has saved a state, unless `replace` is given; even
    then that state stays until this run is finished, so that a slip in an option costs nothing.
    """
    mine = state_folder(folder, wanted)
    others = [state.parent for state in sorted((folder / "resume").glob(f"*/{STATE}")) if state.parent != mine]
    if others and not replace:
        try:
            held = json.loads((others[0] / _OWN).read_bytes())
        except (OSError, ValueError):
            held = None
        if not isinstance(held, dict):
            must = "be as nlpseq wrote it (--replace starts anew)"
            raise ArtefactError(sentence(str(others[0] / _OWN), must, "damaged or absent", quote=False))
        _refuse(folder, held, wanted)
    if not resume:
        shutil.rmtree(mine, ignore_errors=True)
    mine.mkdir(parents=True, exist_ok=True)
    for left in mine.glob(".*.tmp"):  # of killed saves, each as large as a state
        left.unlink()
    write_file(mine / _OWN, json.dumps(wanted, indent=1).encode())
    return mine


def release(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Take log and report of a run that is finished out of its state folder, and remove all resume states.

    Evaluations of the model that the folder held before are removed too: they would be taken for the new one's.
    """
    mine = state_folder(folder, wanted)
    if mine.exists():
        for stale in folder.glob(f"{_EVALUATION}*"):
            shutil.rmtree(stale, ignore_errors=True)
    # First, or a run that is killed here and replaced would go on from the end of this one, without its log.
    (mine / STATE).unlink(missing_ok=True)
    for name in KEPT:
        if (mine / name).exists():
            os.replace(mine / name, folder / name)
    shutil.rmtree(folder / "resume", ignore_errors=True)


def evaluation_folder(model: Path, corpus: str, split: str) -> Path:
    """Return where the report of an evaluation goes unless a user says where: the training's own report stays."""
    return model / f"{_EVALUATION}{corpus}-{split}"


def _refuse(folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    names = [name for name in {**wanted, **held} if held.get(name) != wanted.get(name)]
    differ = ", ".join(_difference(name, held.get(name), wanted.get(name)) for name in names[:4]) or "other settings"
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    must = "hold no other run (--replace puts the new one in its place)"
    raise ArtefactError(sentence("out", must, f"that of {differ}{more}", str(folder), quote=False))


def _difference(name: str, held: object, wanted: object) -> str:
    if name.startswith(_TEXT):  # hashes tell a reader nothing
        return f"another {name}"
    before, after = ("absent" if value is None else value for value in (held, wanted))
    return f"{name} {before} instead of {after}"
