"""How good word vectors are: word pairs against human judgement, and analogies, by gensim's protocol.

Pairs are gensim's own `evaluate_word_pairs`. Analogies give the answers of its `evaluate_word_analogies`, counted in
matrix products of many questions at a time, which takes seconds where one after the other takes minutes (a test
compares the two on all of Google's questions). There, as in gensim, case is folded, the words of the question are no
answer, and the first 30,000 or 300,000 words by frequency are all there are: a question with another word is not asked.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nlpseq.artefact import MANIFEST
from nlpseq.corpora import Corpus, Split, load_corpus
from nlpseq.errors import ArtefactError, CorpusError, UsageError, sentence
from nlpseq.fetch import cache_folder
from nlpseq.metrics import Score
from nlpseq.readers import fault, file_format, read_lines
from nlpseq.report import Block, Report, Table, check_folder, write
from nlpseq.vectors import STAGE, Embeddings

__all__ = [
    "Evaluation",
    "Pair",
    "Question",
    "WordTest",
    "check_report_folder",
    "evaluate",
    "evaluate_embeddings",
    "load_tests",
    "local_tests",
]

GOOGLE = "google_analogies"
PAIRS = "word_similarity"
STANDARD: Mapping[str, str] = MappingProxyType({"WS-353-ALL": "ws353", "SIMLEX-999": "simlex999"})
CUTS: Mapping[str, int] = MappingProxyType({"analogies_30k": 30_000, "analogies_300k": 300_000})
_PAIR_COLUMNS, _QUESTION_COLUMNS = ("word1", "word2", "score"), ("a", "b", "c", "d")
_MOST = 300_000  # words of a vocabulary that gensim looks at
_CELLS = 1 << 24  # similarities computed at a time


class Pair(NamedTuple):
    """Two words and how alike people found them."""

    word1: str
    word2: str
    score: float


class Question(NamedTuple):
    """a is to b as c is to d."""

    category: str
    a: str
    b: str
    c: str
    d: str


class WordTest(NamedTuple):
    """Pairs, or questions; the name is that of the score, `analogies_30k` and `analogies_300k` for Google's."""

    name: str
    source: str
    pairs: Sequence[Pair] = ()
    questions: Sequence[Question] = ()


class Evaluation(NamedTuple):
    """Scores by name, plain counts (words that are out of vocabulary), and tables for a report."""

    scores: dict[str, Score]
    counts: dict[str, int]
    blocks: list[Block]


def load_tests(corpus: str | Path | None = None, split: str | None = None) -> list[WordTest]:
    """Return the tests in a corpus; WS-353, SimLex-999 and Google's analogies where None is named.

    corpus: a name, whose every split (or the one named) with columns word1, word2, score or a, b, c, d (and category)
    is a test, or a file: such a table, lines of `word1 word2 score`, or of `a b c d` in sections `: category` as
    Google's questions-words.txt. Raises CorpusError for what cannot be found or read, with the line.
    """
    file = corpus is not None and Path(corpus).expanduser().is_file()
    if split and (corpus is None or file):
        must = "be given for a corpus that has splits"
        raise UsageError(sentence("split", must, f"given for {corpus or 'the standard tests'}", quote=False))
    if corpus is None:
        opened = load_corpus(PAIRS)
        pairs = [_test(opened.split(name), PAIRS, score) for name, score in STANDARD.items()]
        return [*pairs, *load_tests(GOOGLE)]
    path = Path(corpus).expanduser()
    if path.is_file() and not _is_table(path):
        return [_own(path)]
    opened = load_corpus(corpus)
    splits = [opened.split(split)] if split else [opened.whole] if opened.whole else list(opened.splits.values())
    tests = _tests(opened.name, splits)
    if not tests:
        must = f"have columns {', '.join(_PAIR_COLUMNS)} or {', '.join(_QUESTION_COLUMNS)}"
        raise fault(corpus, must, f"has {', '.join(splits[0].columns)}", opened.name)
    return tests


def local_tests(corpus: Corpus) -> list[WordTest]:
    """Return the standard tests that are on this machine already, and those that the corpus itself has."""
    own = os.environ.get("NLPSEQ_CORPORA")
    folders = [*([Path(own).expanduser()] if own else []), cache_folder()]
    here = all(any(any((folder / name).glob("*.parquet")) for folder in folders) for name in (PAIRS, GOOGLE))
    return [*(load_tests() if here else []), *_tests(corpus.name, list(corpus.splits.values()))]


def _tests(source: str, splits: Sequence[Split]) -> list[WordTest]:
    """Return the tests among some splits."""
    columns = [{*_PAIR_COLUMNS}, {*_QUESTION_COLUMNS}]
    suited = [split for split in splits if any(wanted <= {*split.columns} for wanted in columns)]
    return [_test(split, source, STANDARD.get(split.name, split.name.lower())) for split in suited]


def _test(split: Split, source: str, name: str) -> WordTest:
    """Return the test in a split that has the columns of one."""
    where = f"{source} {split.name}"
    pairs: list[Pair] = []
    questions: list[Question] = []
    for number, row in enumerate(split, 1):
        try:
            if "score" in row:
                pairs.append(_pair([row[column] for column in _PAIR_COLUMNS]))
            else:
                questions.append(
                    _question(str(row.get("category") or ""), [row[column] for column in _QUESTION_COLUMNS])
                )
        except (ValueError, TypeError):
            raise fault(where, "hold words, and numbers as scores", "does not", f"row {number}") from None
    if name in ("test", "all"):
        name = "analogies" if questions else "pairs"
    return WordTest(name, where, pairs, questions)


def _pair(cells: Sequence[Any]) -> Pair:
    """Return a pair; ValueError where the cells are none."""
    word1, word2, score = cells
    if not (isinstance(word1, str) and isinstance(word2, str) and math.isfinite(float(score))):
        raise ValueError
    return Pair(" ".join(word1.split()), " ".join(word2.split()), float(score))


def _question(category: str, cells: Sequence[Any]) -> Question:
    """Return a question; ValueError where the cells are none."""
    if len(cells) != 4 or not all(isinstance(cell, str) and cell for cell in cells):
        raise ValueError
    return Question(category, *cells)


def _cells(path: Path, text: str) -> list[str]:
    separator = "\t" if "\t" in text else "," if file_format(path) == ".csv" else None
    return [cell.strip() for cell in text.split(separator)]


def _is_table(path: Path) -> bool:
    """Return whether a file names its columns."""
    if file_format(path) in (".parquet", ".jsonl"):
        return True
    first = next(read_lines(path), None)
    names = set(_cells(path, first.row["text"])) if first and isinstance(first.row, dict) else set()
    return file_format(path) in (".tsv", ".csv") and ({*_PAIR_COLUMNS} <= names or {*_QUESTION_COLUMNS} <= names)


def _own(path: Path) -> WordTest:
    """Return the test in lines of text; `#` begins a comment, and what has a word for the first score is a header."""
    category = ""
    pairs: list[Pair] = []
    questions: list[Question] = []
    for number, row in read_lines(path):
        if isinstance(row, CorpusError):
            raise row
        text = row["text"].strip()
        if text.startswith(":"):
            category = text[1:].strip()
        elif text and not text.startswith("#"):
            cells = _cells(path, text)
            try:
                if questions or len(cells) == 4:
                    questions.append(_question(category, cells))
                else:
                    pairs.append(_pair(cells))
            except ValueError:
                if number > 1 or len(cells) != 3:
                    must = "hold two words and a score, or the four words of a question, in each line"
                    raise fault(path.name, must, "does not", f"{path}, line {number}") from None
    if (not pairs and not questions) or (pairs and questions):
        found = "holds both" if pairs else "holds none"
        raise fault(path.name, "hold word pairs, or analogies", found, path)
    return WordTest("analogies" if questions else "pairs", str(path), pairs, questions)


def evaluate(embeddings: Embeddings, tests: Sequence[WordTest]) -> Evaluation:
    """Return the scores of word vectors on some tests.

    Of pairs: Spearman's rank correlation, -1 to 1, over the pairs whose words both have a vector (`n` of them).
    Of analogies: the percentage of right answers among the questions that could be asked (`n`), and as
    `<name>_all` among all questions, where one that could not be asked counts as wrong (gensim's `dummy4unknown`).
    Words go by frequency where counts are known, else by their order. What cannot be computed is not a number.
    """
    ordered = _by_frequency(embeddings)
    scores: dict[str, Score] = {}
    counts: dict[str, int] = {}
    blocks: list[Block] = []
    for test in tests:
        if test.pairs:
            score, pearson = _score_pairs(ordered, test.pairs)
            scores[test.name], unknown = score, len(test.pairs) - score.n
            counts[f"{test.name}_out_of_vocabulary"] = unknown
            columns = ("Spearman", "Pearson", "pairs", "out of vocabulary")
            blocks.append(Table(f"Word pairs: {test.source}", columns, [(score.value, pearson, score.n, unknown)]))
        cuts = (CUTS if test.source.startswith(GOOGLE) else {test.name: _MOST}) if test.questions else {}
        for name, limit in cuts.items():
            asked, right = _answer(ordered, test.questions, limit)
            scores |= _score_analogies(name, ordered, limit, asked=asked, right=right)
            counts[f"{name}_out_of_vocabulary"] = int((~asked).sum())
            if asked.any():
                blocks.append(_categories(name, test.questions, asked, right))
    return Evaluation(scores, counts, blocks)


def _by_frequency(embeddings: Embeddings) -> Embeddings:
    counts = embeddings.counts
    if counts is None or (counts[1:] <= counts[:-1]).all():
        return embeddings
    order = np.argsort(-counts, kind="stable")
    return Embeddings([embeddings.words[i] for i in order], embeddings.vectors[order], counts[order])


def _score_pairs(embeddings: Embeddings, pairs: Sequence[Pair]) -> tuple[Score, float]:
    """Return Spearman's correlation with the interval of Bonett and Wright (2000), and Pearson's."""
    known = {word.upper() for word in embeddings.words[:_MOST]}
    n = sum(pair.word1.upper() in known and pair.word2.upper() in known for pair in pairs)
    value = pearson = math.nan
    if n > 1:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of equal vectors, which leave nothing to rank: the score is then nan
            file = Path(folder, "pairs.tsv")
            # gensim takes a line that begins with # for a comment; # sorts before any letter
            lines = ["\t".join([*sorted(pair[:2], reverse=True), repr(pair.score)]) for pair in pairs]
            file.write_text("\n".join(lines), encoding="utf-8")
            found = embeddings.keyed_vectors.evaluate_word_pairs(str(file), restrict_vocab=_MOST)
        value, pearson = float(found[1][0]), float(found[0][0])
    low = high = None
    if n > 3 and abs(value) < 1:
        spread = 1.959963984540054 * math.sqrt((1 + value**2 / 2) / (n - 3))
        low, high = math.tanh(math.atanh(value) - spread), math.tanh(math.atanh(value) + spread)
    protocol = f"spearman|evaluate_word_pairs|gensim:{version('gensim')}|case:folded|interval:fisher-95"
    signature = f"{protocol}|vocabulary:{min(len(embeddings), _MOST)}|pairs:{n}-of-{len(pairs)}"
    return Score(value, low, high, n, signature), pearson


Flags = npt.NDArray[np.bool_]


def _answer(embeddings: Embeddings, questions: Sequence[Question], limit: int) -> tuple[Flags, Flags]:
    """Return which questions have all their words among the first `limit`, and which of these are answered right."""
    words = [word.upper() for word in embeddings.words[:limit]]
    forms: dict[str, list[int]] = {}  # a word and its forms in other case, the most frequent first
    for place, word in enumerate(words):
        forms.setdefault(word, []).append(place)
    folded = [tuple(word.upper() for word in question[1:]) for question in questions]
    asked = np.array([all(word in forms for word in four) for four in folded], np.bool_)
    vectors = embeddings.vectors[:limit]
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    right = np.zeros(len(questions), np.bool_)
    rows = asked.nonzero()[0]
    for part in np.array_split(rows, max(1, -(-len(rows) * len(words) // _CELLS))):
        fours = [folded[row] for row in part]
        a, b, c = (units[[forms[four[i]][0] for four in fours]] for i in range(3))
        cosines = (b + c - a) @ units.T
        for line, four in enumerate(fours):
            cosines[line, [place for word in four[:3] for place in forms[word]]] = -np.inf
        best = cosines.argmax(1) if len(part) else []
        right[part] = [words[place] == four[3] for place, four in zip(best, fours, strict=True)]
    return asked, right


def _score_analogies(name: str, embeddings: Embeddings, limit: int, *, asked: Flags, right: Flags) -> dict[str, Score]:
    """Return the score over questions asked and over all; no interval, as questions of a category share their words."""
    hits, n, total = int(right.sum()), int(asked.sum()), len(asked)
    protocol = "accuracy|3cosadd|as:gensim.evaluate_word_analogies|case:folded"
    signature = f"{protocol}|vocabulary:{min(len(embeddings), limit)}|asked:{n}-of-{total}"
    value = 100 * hits / n if n else math.nan
    return {
        name: Score(value, None, None, n, f"{signature}|unknown:left-out"),
        f"{name}_all": Score(100 * hits / total, None, None, total, f"{signature}|unknown:wrong"),
    }


def _categories(name: str, questions: Sequence[Question], asked: Flags, right: Flags) -> Table:
    rows = []
    for category in dict.fromkeys(question.category for question in questions):
        mine = np.array([question.category == category for question in questions])
        hits, n, total = int((right & mine).sum()), int((asked & mine).sum()), int(mine.sum())
        rows.append((category or "all", total, n, 100 * hits / n if n else None, 100 * hits / total))
    columns = ("category", "questions", "asked", "right of those asked, %", "right of all, %")
    return Table(f"{name.replace('_', ', ').capitalize()}, by category", columns, rows)


def check_report_folder(out: str | Path) -> None:
    """Raise ArtefactError for a model's folder, UsageError for what is no folder or has a report of somebody else's."""
    path = Path(out)
    if (path / MANIFEST).exists():
        must = "be a folder without a model, which has a report of its own"
        raise ArtefactError(sentence("out", must, "a model's", str(path), quote=False))
    there = next((one for one in (path, *path.parents) if one.exists()), path)
    if not there.is_dir():
        raise UsageError(sentence("out", "be a folder", "in or at a file", str(there), quote=False))
    check_folder(path)


def evaluate_embeddings(
    embeddings: Embeddings,
    corpus: str | Path | None = None,
    *,
    split: str | None = None,
    out: str | Path | None = None,
) -> Report:
    """Return the scores of word vectors on the tests in a corpus as a report, and write it where a folder is given.

    corpus, split: as for `load_tests`; out: no model's folder. Raises UsageError for another `out`, before any work,
    CorpusError for tests that cannot be found, WorkError for a full disk.
    """
    if out is not None:
        check_report_folder(out)
    started = time.perf_counter()
    tests = load_tests(corpus, split)
    found = evaluate(embeddings, tests)
    facts = {name: value for name, value in embeddings.facts.items() if isinstance(value, str | int | float)}
    report = Report(
        stage=STAGE,
        corpus=", ".join(test.source for test in tests),
        split=split or "all",
        scores=found.scores,
        seconds=round(time.perf_counter() - started, 3),
        settings=facts | {"words": len(embeddings), "vector_size": embeddings.vector_size},
        counts=found.counts,
        blocks=found.blocks,
    )
    if out is not None:
        write(out, report)
    return report
