"""Whose an output folder is: free, finished, or half-way through a run that goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nlpseq
from nlpseq.artefact import MANIFEST, read_manifest, write_file
from nlpseq.config import settings_of, to_plain
from nlpseq.errors import ArtefactError, sentence

__all__ = ["claim", "fingerprint", "finished", "release"]

STATE = "state.pt"  # of a training that was stopped
_OWN = "settings.json"


def fingerprint(config: object, **inputs: str) -> dict[str, Any]:
    """Return everything that determines a result: the settings that are not neutral, and stamps of what is read."""
    neutral = {item.name for item in settings_of(type(config)) if item.neutral}
    plain = {name: value for name, value in to_plain(config).items() if name not in neutral}
    return plain | {f"({name})": value for name, value in inputs.items()} | {"(nlpseq)": nlpseq.__version__}


def stamp(path: str | Path | None) -> str:
    """Return what tells whether a file or a folder's files have changed: names, sizes and times; empty for no path."""
    root = Path(path) if path else None
    if root is None or not root.exists():
        return ""
    files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
    facts = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files if not p.name.startswith(".")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def finished(folder: Path, stage: str, *, wanted: Mapping[str, Any], replace: bool) -> bool:
    """Return whether the folder holds this very run, finished.

    wanted: what `fingerprint` gave. Raises ArtefactError where the folder holds another finished run, or files that
    are not nlpseq's, unless `replace` is given; then it is False.
    """
    if not (folder / MANIFEST).exists():
        foreign = [p.name for p in folder.glob("*") if p.name not in (".lock", "resume")] if folder.is_dir() else []
        if foreign and not (folder / "resume" / _OWN).exists():
            must = "be a new folder, an empty one, or one of nlpseq's"
            raise ArtefactError(
                sentence("out", must, f"a folder with {sorted(foreign)[0]} in it", str(folder), quote=False)
            )
        return False
    if replace:
        return False
    held = read_manifest(folder)
    if held["stage"] == stage and held["facts"].get("fingerprint") == dict(wanted):
        return True
    if held["stage"] == stage:
        _refuse(folder, held["facts"].get("fingerprint") or {}, wanted)
    _refuse(folder, {"stage": held["stage"]}, {"stage": stage})
    return False


def claim(folder: Path, *, wanted: Mapping[str, Any], replace: bool, resume: bool) -> Path:
    """Return `folder/resume`, which then belongs to this run: what an earlier try of the same run left is still there.

    Raises ArtefactError where an unfinished run with other settings has saved a state, unless `replace` is given: one
    that stopped before (a wrong column, say) has nothing to lose.
    """
    own = folder / "resume" / _OWN
    try:
        held = json.loads(own.read_bytes())
    except (OSError, ValueError):
        held = None
    if held != wanted and not replace and (own.parent / STATE).exists():
        if not isinstance(held, dict):
            must = "be as nlpseq wrote it (--replace starts anew)"
            raise ArtefactError(sentence(str(own), must, "damaged or absent", quote=False))
        _refuse(folder, held, wanted)
    if held != wanted or not resume:
        shutil.rmtree(own.parent, ignore_errors=True)
    own.parent.mkdir(parents=True, exist_ok=True)
    write_file(own, json.dumps(wanted, indent=1).encode())
    return own.parent


def release(folder: Path) -> None:
    """Remove the resume state of a run that is finished; its log stays as `metrics.jsonl`."""
    log = folder / "resume" / "metrics.jsonl"
    if log.exists():
        write_file(folder / "metrics.jsonl", log.read_bytes())
    shutil.rmtree(folder / "resume", ignore_errors=True)


def _refuse(folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    names = [name for name in wanted if held.get(name) != wanted[name]]
    differ = ", ".join(f"{n} {held.get(n)} instead of {wanted[n]}" for n in names[:4]) or "other settings"
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    must = "hold no other run (--replace puts the new one in its place)"
    raise ArtefactError(sentence("out", must, f"that of {differ}{more}", str(folder), quote=False))
