"""A model folder: files with their hashes in their names, and a manifest that is switched in at the very end.

The manifest names each file by its role (`weights.safetensors`, `tokenizer.json`, …), with size and SHA-256, and has a
SHA-256 of itself, since a changed setting would change answers as silently as a changed weight. It is written last,
synced, by `os.replace`: a folder holds either the old model or the new one, whole, never a mixture.
Nothing in a folder is code, and nothing is unpickled.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nlpseq
from nlpseq.errors import ArtefactError, WorkError, sentence

__all__ = ["Artefact", "digest_of", "load", "lock", "read_manifest", "read_table", "save", "write_file", "write_table"]

FORMAT = 1
MANIFEST = "manifest.json"
_MUST_HAVE = MappingProxyType({"stage": str, "settings": dict, "facts": dict})


@dataclass(frozen=True)
class Artefact:
    """A verified model folder: its settings and the contents of its files by role."""

    directory: Path
    stage: str
    settings: dict[str, Any]
    facts: dict[str, Any]
    files: dict[str, bytes]


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that at every moment either the old or the new content stands there, also after a power cut.

    Raises WorkError where the disk does not take it; what stood there before still stands there then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        must = "be written whole (what stood there before still does)"
        raise WorkError(
            sentence(path.name, must, error.strerror or str(error), str(path.parent), quote=False)
        ) from None


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save(
    directory: Path, stage: str, *, settings: Mapping[str, Any], files: Mapping[str, bytes], facts: Mapping[str, Any]
) -> None:
    """Make `directory` hold this model, replacing what it held only in the last step.

    settings: what `to_plain` gives; files: contents by role; facts: what else a reader wants to know (plain values).
    Raises WorkError where the disk does not take it.
    """
    stale = _files_of(directory) | {path.name for path in directory.glob(f".{MANIFEST}.*.tmp")}
    entries: dict[str, dict[str, Any]] = {}
    for role, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        stem, _, suffix = role.partition(".")
        name = f"{stem}-{digest[:12]}.{suffix}"
        entries[role] = {"file": name, "bytes": len(content), "sha256": digest}
        pattern = f"{stem}-{'[0-9a-f]' * 12}.{suffix}"
        stale |= {
            path.name for glob in (pattern, f".{pattern}.*.tmp") for path in directory.glob(glob)
        }  # of killed saves
        write_file(directory / name, content)
    manifest = {
        "format": FORMAT,
        "stage": stage,
        "nlpseq": nlpseq.__version__,
        "settings": dict(settings),
        "facts": dict(facts),
        "files": entries,
    }
    text = json.dumps(manifest | {"sha256": digest_of(manifest)}, indent=1, ensure_ascii=False) + "\n"
    write_file(directory / MANIFEST, text.encode("utf-8", "surrogatepass"))  # a path may hold any byte
    for name in stale - {entry["file"] for entry in entries.values()}:
        (directory / name).unlink(missing_ok=True)


def digest_of(table: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a JSON table, such as a manifest, says besides it, however that is laid out."""
    said = {name: value for name, value in table.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def write_table(path: Path, table: Mapping[str, Any]) -> None:
    """Write a JSON table with a hash of itself, which tells that the files it stands for were written whole."""
    write_file(path, json.dumps({**table, "sha256": digest_of(table)}).encode())


def read_table(path: Path) -> dict[str, Any]:
    """Return what `write_table` wrote; ArtefactError where it is not there or damaged."""
    try:
        table = dict(json.loads(path.read_bytes()))
        if table.pop("sha256") == digest_of(table):
            return table
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ArtefactError(sentence(str(path), "be whole (--no-resume makes it anew)", "damaged", quote=False))


def _files_of(directory: Path) -> set[str]:
    """Return the names of the files that belong to the model a folder holds now; none where it holds none."""
    try:
        entries = json.loads((directory / MANIFEST).read_bytes())["files"].values()
        return {entry["file"] for entry in entries if Path(entry["file"]).name == entry["file"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def read_manifest(directory: Path, stage: str | None = None) -> dict[str, Any]:
    """Return the manifest of a finished model folder.

    Raises ArtefactError where there is none, where it is damaged, from another stage or from a newer nlpseq.
    """
    path = directory / MANIFEST
    if not path.is_file():
        found = "a folder without manifest.json (unfinished?)" if directory.is_dir() else "no folder"
        raise ArtefactError(sentence(str(directory), "be the folder of a finished model", found, quote=False))
    try:
        manifest = json.loads(path.read_bytes())
        newer = manifest["format"] > FORMAT
        whole = not newer and manifest["sha256"] == digest_of(manifest) and _is_manifest(manifest)
    except OSError as error:
        raise ArtefactError(sentence(str(path), "be readable", error.strerror, quote=False)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        newer, whole = False, False
    if newer:
        must = f"have a format of at most {FORMAT} (this is nlpseq {nlpseq.__version__})"
        found = f"{manifest['format']}, written by nlpseq {manifest.get('nlpseq')}"
        raise ArtefactError(sentence(MANIFEST, must, found, str(directory), quote=False))
    if not whole:
        raise ArtefactError(sentence(MANIFEST, "be as nlpseq wrote it", "damaged", str(directory), quote=False))
    if stage is not None and manifest["stage"] != stage:
        found = f"one of `{manifest['stage']}`"
        raise ArtefactError(sentence(str(directory), f"be a model of the stage `{stage}`", found, quote=False))
    return dict(manifest)


def _is_manifest(manifest: Mapping[str, Any]) -> bool:
    """Return whether all is there that is read later, and no file lies outside the folder."""
    entries = [(e["file"], e["bytes"], e["sha256"]) for e in manifest["files"].values()]
    named = all(isinstance(name, str) and Path(name).name == name and "\0" not in name for name, _, _ in entries)
    return named and all(isinstance(manifest[key], kind) for key, kind in _MUST_HAVE.items())


def load(directory: Path, stage: str) -> Artefact:
    """Return the model in a folder, every byte of it verified; ArtefactError names the file that is not whole."""
    while True:
        manifest = read_manifest(directory, stage)
        try:
            return _load(directory, manifest)
        except ArtefactError:
            if read_manifest(directory, stage) == manifest:  # else a new model was switched in meanwhile
                raise


def _load(directory: Path, manifest: Mapping[str, Any]) -> Artefact:
    files: dict[str, bytes] = {}
    for role, entry in manifest["files"].items():
        path = directory / entry["file"]
        try:
            content = path.read_bytes()
        except OSError as error:
            found = error.strerror or str(error)
            raise ArtefactError(sentence(path.name, "be readable", found, str(directory), quote=False)) from None
        if len(content) != entry["bytes"]:
            must, found = f"have {entry['bytes']:,} bytes", f"{len(content):,} bytes long"
            raise ArtefactError(sentence(path.name, must, found, str(directory), quote=False))
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            must = "have the SHA-256 that manifest.json gives"
            raise ArtefactError(sentence(path.name, must, "changed", str(directory), quote=False))
        files[role] = content
    return Artefact(directory, manifest["stage"], manifest["settings"], manifest["facts"], files)


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold a folder for one training; ArtefactError where another process trains into it.

    The lock is the kernel's: it is gone when its process is, however that ended.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = open(directory / ".lock", "a")  # noqa: SIM115 - open as long as the lock is held
    except OSError as error:
        found = "a file" if directory.is_file() else error.strerror or str(error)
        raise ArtefactError(sentence(str(directory), "be a folder that can be written", found, quote=False)) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            must = "be trained into by one process at a time"
            raise ArtefactError(sentence(str(directory), must, "in use by another", quote=False)) from None
        yield
