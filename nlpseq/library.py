"""The source of the running interpreter's standard library, as a corpus: text of one kind that is on every machine."""

from __future__ import annotations

import sysconfig
from hashlib import blake2b
from pathlib import Path
from platform import python_version

from nlpseq.errors import CorpusError, sentence

__all__ = ["library_splits", "library_version"]

# Tests of the library, packages that are not of it, and tables and help texts that were generated.
_LEFT_OUT = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "encodings", "pydoc_data"})


def library_version() -> str:
    """Return what tells one text of the library from another's: the version of Python."""
    return f"Python {python_version()}"


def library_splits(folder: Path | None = None) -> dict[str, list[dict[str, str]]]:
    """Return train, validation and test of the standard library, each a list of rows {"file", "text"}.

    folder: of the library; the running interpreter's when absent. A hash of a file's name says which split it is in
    (about one in twenty is validation, one in twenty test) and where: so the order is the same on every machine, and
    packages are mixed in any beginning of it. Raises CorpusError where too few files are there.
    """
    root = folder or Path(sysconfig.get_path("stdlib"))
    found = sorted((_hash(path.relative_to(root)), path) for path in root.rglob("*.py") if _belongs(path, root))
    splits: dict[str, list[dict[str, str]]] = {"train": [], "validation": [], "test": []}
    for value, path in found:
        try:
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError):  # a few are Latin-1 by declaration
            continue
        split = {0: "test", 1: "validation"}.get(value % 20, "train")
        splits[split].append({"file": path.relative_to(root).as_posix(), "text": text})
    if not all(splits.values()):
        must = "have source files for train, validation and test"
        held = f"{sum(map(len, splits.values()))} in all"
        raise CorpusError(sentence("python-library", must, held, str(root), quote=False))
    return splits


def _belongs(path: Path, root: Path) -> bool:
    return _LEFT_OUT.isdisjoint(path.relative_to(root).parts)


def _hash(path: Path) -> int:
    return int.from_bytes(blake2b(path.as_posix().encode(), digest_size=8).digest(), "big")
