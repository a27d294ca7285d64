"""Where the folders that travel with the code lie: recipes, rules and corpus cards."""

from __future__ import annotations

from pathlib import Path

import nlpseq
from nlpseq.errors import UsageError, sentence

__all__ = ["share_path"]


def share_path(*parts: str) -> Path:
    """Return the path of a file or folder that is shipped with nlpseq, such as ``share_path("corpora", "imdb")``.

    parts: folder and file names below the shared root. An installed wheel keeps that root in ``nlpseq/_share``, a
    checkout has the same folders beside the package. Raises UsageError where neither of them has the path.
    """
    package = Path(next(iter(nlpseq.__path__)))
    roots = [package / "_share", package.parent]
    for root in roots:
        if (path := root.joinpath(*parts)).exists():
            return path
    name = "/".join(parts) or "."
    raise UsageError(sentence(name, "be shipped with nlpseq", "missing", "looked in " + " and ".join(map(str, roots))))
