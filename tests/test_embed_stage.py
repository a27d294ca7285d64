"""The embed stage in its folder: finished, stopped, resumed, replaced."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import state_folder

from nlpseq import EmbedConfig, Embeddings, Interrupted, Tokenizer, WorkError, configure, loop, train_embeddings
from nlpseq.artefact import MANIFEST, lock
from nlpseq.stages import embed

# Text long enough for several stretches of training in each epoch, over so few words that it takes a moment.
SMALL = {"embed_size": 16, "epochs": 2.0, "min_count": 5, "device": "cpu", "threads": 1, "save_minutes": 0.0}
STRETCHES = 3  # in an epoch of the text below


def small(text: Path, out: Path, **options: object) -> EmbedConfig:
    return configure(EmbedConfig, corpus=str(text), out=str(out), **(SMALL | options))


def words(corpus: Path, out: Path, **options: object) -> list[str]:
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in (SMALL | options).items()]
    return ["embed", "train", "--corpus", str(corpus), "--out", str(out), *itertools.chain(*pairs)]


def vectors(folder: Path) -> str:
    return json.loads((folder / MANIFEST).read_bytes())["files"]["vectors.safetensors"]["sha256"]


ANIMALS, DEEDS, MACHINES, RUNS = (
    [head + tail for head in heads for tail in ("an", "el", "ir", "os", "ut", "ay")]
    for heads in (("ba", "ce", "di", "fo"), ("gul", "hin", "jor"), ("ka", "le", "mi", "no"), ("pur", "qui", "ros"))
)


def lines(number: int, seed: int) -> str:
    """Text in which animals do one kind of things, and machines another."""
    dice = random.Random(seed)
    found = []
    for _ in range(number):
        things, deeds = dice.choice(((ANIMALS, DEEDS), (MACHINES, RUNS)))
        found.append(" ".join(f"the {dice.choice(things)} {dice.choice(deeds)} 3 times ." for _ in range(10)))
    return "".join(f"{line}\n" for line in found)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with a validation split."""
    folder = tmp_path_factory.mktemp("text") / "farm"
    folder.mkdir()
    (folder / "train.txt").write_text(lines(2500, 1))
    (folder / "validation.txt").write_text(lines(40, 2))
    return folder


@pytest.fixture(autouse=True, scope="module")
def nothing_else_is_at_hand(tmp_path_factory: pytest.TempPathFactory):
    """The machine's own tests of word vectors would make the reports, and the time they take, depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NLPSEQ_CORPORA", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


class Stop(Exception):
    """A kill, as far as a test in the same process can have one."""


def stop_after(saves: int):
    count = itertools.count(1)

    def watch(event: loop.Event) -> None:
        if event.kind == "saved" and next(count) == saves:
            raise Stop

    return watch


@pytest.fixture(scope="module")
def finished(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vectors of two epochs, never stopped."""
    folder = tmp_path_factory.mktemp("finished") / "m"
    train_embeddings(small(text, folder))
    return folder


@pytest.fixture
def stopped(text: Path, tmp_path: Path) -> Path:
    """The folder of the same run, stopped inside its second epoch with its state saved."""
    with pytest.raises(Stop):
        train_embeddings(small(text, tmp_path / "m"), watch=stop_after(STRETCHES + 1))
    assert (state_folder(tmp_path / "m") / "state.pt").exists()
    return tmp_path / "m"


def test_a_finished_folder_has_vectors_words_report_and_log_and_nothing_else(finished: Path):
    names = sorted(re.sub(r"-[0-9a-f]{12}\.", ".", path.name) for path in finished.iterdir())
    own = ["manifest.json", "metrics.jsonl", "report.html", "report.json", "vectors.safetensors", "words.json"]
    assert names == [".lock", *own]
    loaded = Embeddings.load(finished)
    assert loaded.words[:4] == (".", "[NUM]", "the", "times")
    assert loaded.vectors.shape == (len(loaded), 16) == (88, 16)
    assert loaded.counts[0] == 25000


def test_words_of_like_use_are_near(text: Path, tmp_path: Path):
    found = train_embeddings(small(text, tmp_path / "m", epochs=6, save_minutes=5))
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    place = {word: n for n, word in enumerate(found.words)}

    def cosine(a: str, b: str) -> float:
        return float(unit[place[a]] @ unit[place[b]])

    for mine, others in ((ANIMALS, MACHINES), (MACHINES, ANIMALS), (DEEDS, RUNS)):
        assert cosine(mine[0], mine[-1]) > cosine(mine[0], others[0]) + 0.3


def test_facts_tell_what_the_vectors_were_made_of(finished: Path):
    facts = json.loads((finished / MANIFEST).read_bytes())["facts"]
    expected = {"corpus": "farm", "columns": ["text"], "vocabulary": 88, "documents": 2500, "held_documents": 40,
                "words": 150_000, "words_dropped": 0, "words_trained": 300_000, "device": "cpu"}  # fmt: skip
    assert facts | expected == facts
    assert 0 < facts["words_trained_after_subsampling"] < 300_000


def test_the_log_has_the_true_mean_loss_and_it_falls(finished: Path):
    records = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert len(records) >= 2 * STRETCHES
    assert [r["tokens"] for r in records] == sorted(r["tokens"] for r in records)
    means = [
        sum(r["loss"] * r["noise_words"] for r in group) / sum(r["noise_words"] for r in group)
        for _, one in itertools.groupby(records, key=lambda r: r["epoch"])
        if (group := list(one))
    ]
    assert len(means) == 2
    assert means[1] < means[0] < 1


def test_the_report_has_perplexity_normaliser_neighbours_and_a_map(finished: Path):
    report = json.loads((finished / "report.json").read_bytes())
    assert report["stage"] == "embed"
    scores = report["scores"]
    assert scores["perplexity"]["value"] < 0.9 * scores["perplexity_unigram"]["value"]
    for name in ("perplexity", "perplexity_not_thinned"):
        assert 5 < scores[name]["value"] < 88
        assert scores[name]["n"] == scores[f"{name}_unigram"]["n"]
    assert report["counts"]["words_with_a_vector"] == 88
    page = (finished / "report.html").read_text("utf-8")
    for shown in (
        "Loss per noise word",
        "mean of log Z",
        "Nearest neighbours",
        "Map of the commonest words",
        f">{MACHINES[0]}<",
    ):
        assert shown in page


def test_the_same_command_again_does_nothing(run, text: Path, finished: Path):
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir() if path.name != ".lock"}
    outcome = run(*words(text, finished))
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"{finished} holds this very run, finished; nothing to do.\n"
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir() if path.name != ".lock"} == before


def test_another_run_is_refused_with_what_differs_until_it_replaces(run, text: Path, finished: Path, tmp_path: Path):
    folder = shutil.copytree(finished, tmp_path / "m")
    outcome = run(*words(text, folder, seed=7, window=2))
    said = "`out` must hold no other run (--replace puts the new one in its place), but is that of "
    assert outcome.code == 2
    assert outcome.sentences == [f"{said}seed 1 instead of 7, window 5 instead of 2 ({folder})."]
    assert vectors(folder) == vectors(finished)
    assert run(*words(text, folder, seed=7), "--replace").code == 0
    assert vectors(folder) != vectors(finished)
    assert len(list(folder.glob("vectors-*"))) == 1


def test_a_stopped_run_goes_on_to_the_same_vectors_and_the_same_log(text: Path, stopped: Path, finished: Path):
    taken = []
    train_embeddings(small(text, stopped), watch=lambda e: taken.append(e.step) if e.kind == "resumed" else None)
    assert 150_000 < taken[0] < 300_000
    assert vectors(stopped) == vectors(finished)
    assert not (stopped / "resume").exists()
    mine, theirs = (
        [json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (stopped, finished)
    )
    assert [(r["tokens"], r["loss"], r["noise_words"]) for r in mine] == [
        (r["tokens"], r["loss"], r["noise_words"]) for r in theirs
    ]


def test_a_stopped_run_is_not_taken_over_by_another(run, text: Path, stopped: Path):
    outcome = run(*words(text, stopped, seed=9))
    assert outcome.code == 2
    assert "seed 1 instead of 9" in outcome.sentences[0]
    assert (state_folder(stopped) / "state.pt").exists()


def test_no_resume_starts_anew_and_ends_the_same(text: Path, stopped: Path, finished: Path):
    events = []
    train_embeddings(small(text, stopped, resume=False), watch=lambda event: events.append(event.kind))
    assert "resumed" not in events
    assert vectors(stopped) == vectors(finished)


def test_a_damaged_state_is_refused_and_damaged_ids_are_made_anew(run, text: Path, stopped: Path, finished: Path):
    state = state_folder(stopped) / "state.pt"
    content = state.read_bytes()
    state.write_bytes(content[:-100])
    outcome = run(*words(text, stopped))
    said = "must be a resume state as nlpseq wrote it (--no-resume starts anew), but is damaged."
    assert (outcome.code, outcome.sentences) == (2, [f"`{state}` {said}"])
    state.write_bytes(content)
    (state.parent / "text.train.ids").write_bytes(b"nothing")
    assert run(*words(text, stopped)).code == 0
    assert vectors(stopped) == vectors(finished)


def test_two_trainings_in_one_folder(run, text: Path, tmp_path: Path):
    with lock(tmp_path / "m"):
        outcome = run(*words(text, tmp_path / "m"))
    said = "must be trained into by one process at a time, but is in use by another."
    assert (outcome.code, outcome.sentences) == (2, [f"`{tmp_path / 'm'}` {said}"])


@pytest.mark.parametrize(
    "options", [{"architecture": "cbow"}, {"objective": "negative"}, {"dynamic_window": False, "subsample": None}]
)
def test_other_settings_train_too(text: Path, tmp_path: Path, options: dict[str, object]):
    said: list[str] = []
    config = small(text, tmp_path / "m", epochs=0.5, **options)
    found = train_embeddings(config, watch=lambda event: said.append(event.text))
    assert np.isfinite(found.vectors).all()
    scores = json.loads((tmp_path / "m" / "report.json").read_bytes())["scores"]
    assert ("perplexity" in scores) == (options.get("objective") != "negative")
    assert any(text.startswith("No scores: perplexity needs NCE") for text in said) == (not scores)


def test_the_unigram_yardstick_is_the_perplexity_of_the_words_shares(text: Path, tmp_path: Path):
    """Of a text of two words that are always beside each other: one is predicted as often as the other."""
    (tmp_path / "c").mkdir()
    for name, count in (("train", 4000), ("validation", 50)):
        (tmp_path / "c" / f"{name}.txt").write_text("one two\nthree two\n" * count)
    train_embeddings(small(tmp_path / "c", tmp_path / "m", subsample=None, min_count=1))
    scores = json.loads((tmp_path / "m" / "report.json").read_bytes())["scores"]
    shares = {"one": 1 / 4, "two": 1 / 2, "three": 1 / 4}
    pairs = ["one", "two", "three", "two"]  # what is predicted, each as often
    expected = math.exp(-sum(math.log(shares[word]) for word in pairs) / len(pairs))
    assert scores["perplexity_unigram"]["value"] == pytest.approx(expected, rel=1e-4)
    assert scores["perplexity_not_thinned_unigram"]["value"] == pytest.approx(expected, rel=1e-4)


def test_it_says_where_the_report_is_and_counts_units_where_these_are_embedded(run, trained: Path, tmp_path: Path):
    options = {"tokenizer": str(trained / "units"), "source": "en", "target": "fr"}
    outcome = run(*words(trained / "pairs.tsv", tmp_path / "m", **options))
    assert outcome.code == 0, outcome.err
    assert outcome.err.endswith(f"\nThe report is {tmp_path / 'm' / 'report.html'}.\n")
    assert re.search(r"\d units have a vector; [\d,]+ units of text in \d+ documents; [\d,]+ units of ", outcome.err)
    assert "too rare" not in outcome.err


def test_units_of_a_tokeniser_have_a_row_each_in_its_order(trained: Path, tmp_path: Path):
    options = {"tokenizer": str(trained / "units"), "source": "en", "target": "fr"}
    found = train_embeddings(small(trained / "pairs.tsv", tmp_path / "m", **options))
    tokenizer = Tokenizer.load(trained / "units")
    assert found.words == tuple(tokenizer.units(range(len(tokenizer))))
    assert found.words[0] == "<pad>"


def test_a_loss_that_is_not_finite_stops_the_run(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fit = embed.fit_words

    def diverging(run, text):
        for step in fit(run, text):
            yield step._replace(loss=step.loss * float("nan"))

    monkeypatch.setattr(embed, "fit_words", diverging)
    with pytest.raises(WorkError, match=r"`loss` must stay finite .* but is nan at word 65,\d{3}, learning rate"):
        train_embeddings(small(text, tmp_path / "m"))
    assert not (tmp_path / "m" / MANIFEST).exists()


def test_one_endless_line_is_a_corpus(run, tmp_path: Path):
    (tmp_path / "mine.txt").write_text(lines(200, 1).replace("\n", " "))
    assert run(*words(tmp_path / "mine.txt", tmp_path / "m")).code == 0
    assert json.loads((tmp_path / "m" / MANIFEST).read_bytes())["facts"]["documents"] == 1


def test_a_wrong_corpus_does_not_touch_a_finished_folder(run, text: Path, finished: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("one\ntwo\nthree\nfour\n")
    folder = shutil.copytree(finished, tmp_path / "m")
    outcome = run(*words(tmp_path / "mine.txt", folder, min_count=1), "--replace")
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert vectors(folder) == vectors(finished)
    assert Embeddings.load(folder).words == Embeddings.load(finished).words


def begin(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "nlpseq", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)  # fmt: skip


def wait_for(found, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_signal_saves_the_state_and_the_same_command_goes_on(text: Path, tmp_path: Path):
    endless = {"epochs": 10_000.0, "save_minutes": 1000}  # so that only the signal saves
    process = begin(words(text, tmp_path / "m", **endless))
    try:
        wait_for(lambda: any(log.stat().st_size for log in (tmp_path / "m").glob("resume/*/metrics.jsonl")), process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    place = re.fullmatch(
        r"nlpseq: Stopped at word ([\d,]+) of 1,500,000,000; the state is saved, the same command goes on from there\.",
        err.splitlines()[-1],
    )
    assert place
    seen = []
    with pytest.raises(Stop):
        train_embeddings(small(text, tmp_path / "m", **(endless | {"save_minutes": 0.0})), watch=watched(seen))
    assert f"{seen[0]:,}" == place[1]


def watched(seen: list[int]):
    stop = stop_after(1)

    def watch(event: loop.Event) -> None:
        seen.extend([event.step] if event.kind == "resumed" else [])
        stop(event)

    return watch


def test_an_interrupt_in_this_process_is_raised(text: Path, tmp_path: Path):
    saves = itertools.count()

    def interrupt(event: loop.Event) -> None:
        if event.kind == "saved" and next(saves) == 0:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match=r"^Stopped at word 130,560 of 300,000; the state is saved"):
        train_embeddings(small(text, tmp_path / "m"), watch=interrupt)


def test_a_killed_run_goes_on_to_the_same_vectors(run, text: Path, tmp_path: Path, finished: Path):
    process = begin(words(text, tmp_path / "m"))
    try:
        wait_for(lambda: any((tmp_path / "m").glob("resume/*/state.pt")), process)
    finally:
        process.kill()
    process.communicate()
    assert run(*words(text, tmp_path / "m")).code == 0
    assert vectors(tmp_path / "m") == vectors(finished)


@pytest.mark.gpu
def test_on_cuda_the_same_text_gives_as_good_a_model(text: Path, finished: Path, tmp_path: Path):
    train_embeddings(small(text, tmp_path / "m", device="cuda"))
    mine, theirs = (json.loads((f / "report.json").read_bytes())["scores"] for f in (tmp_path / "m", finished))
    assert mine["perplexity"]["value"] == pytest.approx(theirs["perplexity"]["value"], rel=0.1)


def test_the_part_of_a_file_that_is_not_read_is_said(run, tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"a b c d {n}x\n" for n in range(60)), "utf-8")
    words = ["embed", "train", "--corpus", tmp_path / "a.txt", "--min-count", 1, "--max-steps", 1, "--device", "cpu"]
    said = "Reading a.txt (text; train). Its test split is not read; --splits all reads every row."
    assert said in run(*words, "--out", tmp_path / "m").err
    assert "not read" not in run(*words, "--out", tmp_path / "n", "--splits", "all").err
    assert "not read" not in run(*words, "--out", tmp_path / "o", "--splits", "train,test").err
