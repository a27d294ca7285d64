"""Damaged folders: every file of a model and of a stopped run cut, flipped, exchanged, removed.

.venv/bin/python tests/campaign/damage.py [--short] [--seed N]

What a model's manifest names must be refused with one sentence. Anything else is refused or changes no answer; a
stopped run is refused or ends with the weights and the log of a run that was never stopped.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common import Faults, import_all, manifest, part, result, run, say, small_corpus, stopped, training

LINES = "the cat sees 3 cars.\nmy friend\n\nall of it unknown ☃ [NUM] a.org/b\n".encode() * 2
USES = {
    "tokenize": (("tokenize", "encode", "--json"), LINES),
    "embed": (("embed", "nearest", "--json"), b"cat\nthe\n"),
    "translate": (("translate", "run", "--json", "--device", "cpu"), LINES),
    "sentiment": (("sentiment", "predict", "--json", "--device", "cpu"), LINES),
    "ner": (("ner", "tag", "--json", "--device", "cpu"), LINES),
    "lm": (("lm", "sample", "--seed", "1", "--length", "20", "--prompt", "the", "--device", "cpu"), b""),
}
_TINY = ("--embed-size", 8, "--hidden-size", 8, "--max-steps", 5)
TRAININGS = {
    "tokenize": ("--source", "en", "--vocab-size", 150),
    "embed": ("--source", "en", "--min-count", 1, "--epochs", 1, "--embed-size", 16),
    "sentiment": ("--text", "en", "--label", "label", *_TINY),
    "ner": ("--tokens", "1", "--tags", "2", *_TINY),
    "lm": ("--text", "en", "--held-out", 0.2, "--no-gradients", *_TINY),
}


class Damage(NamedTuple):
    """What becomes of a file: other content, or none."""

    path: Path
    what: str
    content: bytes | None


def damages(path: Path, others: list[bytes], rng: random.Random, flips: int) -> Iterator[tuple[str, bytes | None]]:
    """Yield what may become of a file, each with a name: other content, or none."""
    content = path.read_bytes()
    yield "removed", None
    yield "longer", content + b"\0"
    for size in sorted({0, 1, len(content) // 2, max(0, len(content) - 33), max(0, len(content) - 1)} - {len(content)}):
        yield f"cut to {size} bytes", content[:size]
    for _ in range(flips if content else 0):
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        yield (
            f"bit {bit} of byte {place} flipped",
            content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :],
        )
    if len(content) > 8:
        place = rng.randrange(len(content) - 8)
        yield f"eight bytes from {place} drawn anew", content[:place] + rng.randbytes(8) + content[place + 8 :]
        yield "zeros", bytes(len(content))
    for other in others:
        if other != content:
            yield "exchanged", other


def likes(path: Path, root: Path, *other_roots: Path) -> list[bytes]:
    """The files that could be taken for this one: those of the same name in other folders, and its neighbours."""

    def role(name: str) -> str:
        return name.partition("-")[0]

    twins = [twin for other in other_roots for twin in other.rglob(f"{role(path.name)}*") if twin.is_file()]
    neighbours = [twin for twin in root.rglob(f"*{path.suffix}") if twin.is_file() and twin != path][:2]
    return [twin.read_bytes() for twin in (*twins, *neighbours)]


def put(path: Path, content: bytes | None) -> None:
    path.unlink() if content is None else path.write_bytes(content)


def every(root: Path, others: list[Path], rng: random.Random, flips: int, most: int | None) -> list[Damage]:
    """All damages to a folder, or so many of them drawn at random."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    found = [Damage(path, what, content) for path in files
             for what, content in damages(path, likes(path, root, *others), rng, flips)]  # fmt: skip
    return found if most is None else rng.sample(found, min(most, len(found)))


def a_corpus(folder: Path, stage: str, language: str) -> Path:
    """Write the pairs, with a column of labels for `sentiment`, or as tokens and tags for `ner`."""
    pairs = small_corpus(folder / f"{stage}-{language}.tsv", language)
    if stage == "sentiment":
        head, *rows = pairs.read_text("utf-8").splitlines()
        labelled = [f"{head}\tlabel", *(f"{row}\t{'here' if 'Paris' in row else language}" for row in rows)]
        pairs.write_text("\n".join([*labelled, ""]), "utf-8")
    if stage == "ner":
        sentences = [row.split("\t")[0].split() for row in pairs.read_text("utf-8").splitlines()[1:]]
        tagged = ([f"{word} {'B-PLACE' if word == 'Paris.' else 'O'}\n" for word in words] for words in sentences)
        pairs = pairs.with_suffix(".conll")
        pairs.write_text("\n".join("".join(lines) for lines in tagged), "utf-8")
    return pairs


def trained(folder: Path, stage: str, units: str, language: str, seed: int) -> Path:
    """Train a small model."""
    corpus, out = a_corpus(folder, stage, language), folder / f"{stage}-{units}-{language}"
    if stage == "translate":
        pair = ("--source", "en", "--target", language)
        words = training(corpus, out, *pair, "--units", units, "--max-steps", 10, "--seed", seed)
    else:
        words = [stage, "train", "--corpus", corpus, "--out", out, *TRAININGS[stage]]
        words += ["--target", language] if "--source" in words else []
        words += ["--units", units] if stage in ("tokenize", "sentiment", "lm") else []
        words += ["--device", "cpu", "--seed", seed] if stage != "tokenize" else []
    ended = run(*words)
    assert ended.code == 0, ended.err
    return out


def models(folder: Path, faults: Faults, rng: random.Random, short: bool) -> Counter[str]:
    """Damage finished models."""
    folder.mkdir()
    seen: Counter[str] = Counter()
    for units in ("bpe",) if short else ("bpe", "word"):
        for stage, (use, lines) in USES.items():
            if units == "word" and stage in ("embed", "ner"):  # trained on words in either case
                continue
            one, two = (trained(folder, stage, units, language, seed) for language, seed in (("fr", 1), ("de", 2)))
            say(f"damage: models of {stage} ({units})")
            answer = run(*use, "--model", one, stdin=lines)
            assert answer.code == 0, answer.err
            own = {str(entry["file"]) for entry in manifest(one)["files"].values()}
            for path, what, content in every(one, [two], rng, 40, 30 if short else None):
                whole = path.read_bytes()
                put(path, content)
                ended = run(*use, "--model", one, stdin=lines)
                right = (ended.code, ended.out) == (0, answer.out) and path.name not in own
                faults.check(right or ended.refused, f"{stage} {units}: {path.name} {what}", (ended.code, ended.err))
                seen["refused" if ended.refused else "the same answer"] += 1
                path.write_bytes(whole)
    return seen


def outcome(folder: Path, damaged: Path) -> object:
    """What must be the same as of a run never stopped: a log that was damaged itself is not worth a run."""
    return manifest(folder)["files"] if damaged.name == "metrics.jsonl" else result(folder)


def runs(folder: Path, faults: Faults, rng: random.Random, short: bool) -> Counter[str]:
    """Damage stopped runs."""
    folder.mkdir()
    corpus = small_corpus(folder / "pairs.tsv")
    reference = folder / "reference"
    ended = run(*training(corpus, reference))
    assert ended.code == 0, ended.err
    half = stopped(training(corpus, folder / "half"), folder / "half")
    other = stopped(training(corpus, folder / "other", "--seed", 2, "--vocab-size", 160), folder / "other")
    twin = stopped(training(corpus, folder / "twin", "--seed", 3), folder / "twin")  # of the same shapes
    say("damage: stopped runs")
    seen: Counter[str] = Counter()
    for path, what, content in every(half, [other, twin], rng, 5, 15 if short else None):
        out = Path(shutil.copytree(half, folder / "damaged"))
        damaged = out / path.relative_to(half)
        put(damaged, content)
        ended = run(*training(corpus, out))
        name = f"stopped run: {path.name} {what}"
        if ended.refused:
            seen["refused"] += 1
            faults.check(True, name)
            if rng.random() < 0.2:  # nothing else was touched
                shutil.copy(path, damaged)
                ended = run(*training(corpus, out))
                same = ended.code == 0 and outcome(out, path) == outcome(reference, path)
                faults.check(same, f"{name}: going on when it is whole again", (ended.code, ended.err))
        elif faults.check(ended.code == 0, name, (ended.code, ended.err)):
            seen["the same result"] += 1
            same = outcome(out, path) == outcome(reference, path)
            faults.check(same, f"{name}: the result of the run never stopped", ended.err)
        shutil.rmtree(out)
    return seen


def work(folder: Path, faults: Faults, rng: random.Random, short: bool) -> str:
    import_all()
    of_models = models(folder / "models", faults, rng, short)
    of_runs = runs(folder / "runs", faults, rng, short)
    said = [f"{kind} {', '.join(f'{n} {what}' for what, n in seen.items())}"
            for kind, seen in (("models:", of_models), ("stopped runs:", of_runs))]  # fmt: skip
    return "; ".join(said)


if __name__ == "__main__":
    part("damage", work)
