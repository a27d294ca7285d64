"""The sentiment stage in its folder and on the command line: finished, stopped, resumed, refused, and bad input."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from conftest import state_folder

from nlpseq import SentimentClassifier, SentimentConfig, WorkError, configure, loop, train_sentiment
from nlpseq.artefact import MANIFEST
from nlpseq.stages import sentiment as stage
from nlpseq.stages.sentiment import SentimentTask
from nlpseq.vocab import NUM, UNK

SMALL = {"hidden_size": 8, "embed_size": 8, "device": "cpu", "threads": 1, "batch_tokens": 160, "save_minutes": 0.0,
         "max_steps": 90, "learning_rate": 2e-2, "warmup_steps": 5, "dropout": 0.1, "metric": "accuracy"}  # fmt: skip
FEELINGS = {"bad": ("dull", "awful", "poor"), "good": ("great", "lovely", "superb"), "so-so": ("fine", "okay", "fair")}


def rows(number: int, seed: int = 1) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    found = []
    for n in range(number):
        label = draw.choice(list(FEELINGS))
        thing = draw.choice(("film", "book", "meal", "song"))
        tail = " indeed" * draw.randint(0, 12)
        found.append((f"the {thing} of {n} is {draw.choice(FEELINGS[label])}{tail}.<br />4/10", label))
    return found


def write(path: Path, found: list[tuple[str, str]], header: str = "text,label") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(header + "\n" + "".join(f'"{text}",{label}\n' for text, label in found), "utf-8")
    return path


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three hundred rows."""
    return write(tmp_path_factory.mktemp("mine") / "mine.csv", rows(300))


def small(corpus: Path, out: Path, **options: object) -> SentimentConfig:
    return configure(SentimentConfig, corpus=str(corpus), out=str(out), **(SMALL | options))


def words(corpus: object, out: Path, **options: object) -> list[str]:
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in (SMALL | options).items()]
    return ["sentiment", "train", "--corpus", str(corpus), "--out", str(out), *itertools.chain(*pairs)]


def weights(folder: Path) -> str:
    return json.loads((folder / MANIFEST).read_bytes())["files"]["weights.safetensors"]["sha256"]


class Stop(Exception):
    """A kill, as far as a test in the same process can have one."""


def stop_at(step: int):
    def watch(event: loop.Event) -> None:
        if event.kind == "saved" and event.step >= step:
            raise Stop

    return watch


@pytest.fixture(scope="module")
def finished(mine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "m"
    train_sentiment(small(mine, folder))
    return folder


@pytest.mark.parametrize(("steps", "said"), [(None, True), (5, False)])
def test_few_steps_are_said_unless_they_were_asked_for(mine: Path, tmp_path: Path, steps: int | None, said: bool):
    notes: list[str] = []
    few = small(mine, tmp_path / "m", max_steps=steps, epochs=1, batch_tokens=2000)
    train_sentiment(few, watch=lambda event: notes.append(event.text))
    assert any("a smaller --batch-tokens" in note for note in notes) == said


def test_a_finished_folder_has_the_model_its_report_and_its_log_and_nothing_else(finished: Path):
    names = sorted(re.sub(r"-[0-9a-f]{12}\.", ".", path.name) for path in finished.iterdir())
    own = ["manifest.json", "metrics.jsonl", "report.html", "report.json", "tokenizer.json", "weights.safetensors"]
    assert names == [".lock", *own]
    scores = json.loads((finished / "report.json").read_bytes())["scores"]
    assert scores["accuracy"]["value"] > 90
    assert set(scores) == {"accuracy", "ece", "ece_uncalibrated", "accuracy_commonest_label", "accuracy_bag_of_words"}
    facts = json.loads((finished / MANIFEST).read_bytes())["facts"]
    assert (facts["classes"], facts["columns"], facts["steps"]) == (["bad", "good", "so-so"], ["text", "label"], 90)
    assert facts["train"]["rows"] == 270
    assert 0.01 < facts["temperature"] < 100


def test_numbers_stay_unless_asked(mine: Path, finished: Path, tmp_path: Path):
    assert len(SentimentClassifier.load(finished).tokenizer.encode("4/10 3/10")) == 2
    assert SentimentClassifier.load(finished).tokenizer.encode("4/10 7/10")[1] == UNK
    found = train_sentiment(small(mine, tmp_path / "m", numbers=True, max_steps=1))
    assert found.tokenizer.encode("4/10 7/10") == [NUM, NUM]


def test_a_stopped_run_goes_on_to_the_same_weights(mine: Path, finished: Path, tmp_path: Path):
    with pytest.raises(Stop):
        train_sentiment(small(mine, tmp_path / "m"), watch=stop_at(20))
    assert (state_folder(tmp_path / "m") / "state.pt").exists()
    seen: list[str] = []
    train_sentiment(small(mine, tmp_path / "m"), watch=lambda event: seen.append(event.kind))
    assert "resumed" in seen
    assert weights(tmp_path / "m") == weights(finished)


def test_the_same_command_again_does_nothing_and_another_is_refused(run, mine: Path, finished: Path):
    outcome = run(*words(mine, finished))
    assert (outcome.code, outcome.err) == (0, f"{finished} holds this very run, finished; nothing to do.\n")
    outcome = run(*words(mine, finished, seed=3))
    assert outcome.code == 2
    assert "seed 1 instead of 3" in outcome.sentences[0]


def test_a_damaged_folder_is_not_said_to_be_finished(run, mine: Path, finished: Path, tmp_path: Path):
    shutil.copytree(finished, tmp_path / "m")
    (weights,) = (tmp_path / "m").glob("weights-*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    outcome = run(*words(mine, tmp_path / "m"))
    assert (outcome.code, "nothing to do" in outcome.err, len(outcome.sentences)) == (2, False, 1)


def test_progress_counts_texts(mine: Path, tmp_path: Path):
    seen: set[str] = set()
    train_sentiment(small(mine, tmp_path / "m", max_steps=2), watch=lambda e: seen.update({e.counted} & {"text"}))
    assert seen == {"text"}


def test_predict_gives_a_line_for_each_line(run, finished: Path):
    outcome = run("sentiment", "predict", "--model", finished, stdin=b"the film is superb\n\nthe meal is awful<br>\n")
    lines = outcome.out.split("\n")
    assert [line.split("\t")[0] for line in lines] == ["good", "", "bad", ""]
    assert re.fullmatch(r"good\t[01]\.\d{4}", lines[0])
    assert outcome.err == "line 2: no token in it, so no label\n"
    outcome = run("sentiment", "predict", "--model", finished, "--explain", "the film is superb")
    assert re.fullmatch(r"good\t[01]\.\d{4}\tsuperb \+\d\.\d\d( \S+ [+-]\d\.\d\d){3}\n", outcome.out)
    found = json.loads(run("sentiment", "predict", "--model", finished, "--json", "the film is superb").out)
    assert set(found) == {"label", "probability", "probabilities", "tokens", "read", "unknown"}
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    found = json.loads(run("sentiment", "predict", "--model", finished, "--json", "--explain", "superb").out)
    assert found["words"][0][0] == "superb"


def test_predict_reads_a_thousand_lines_at_once_unless_asked(run, finished: Path, monkeypatch: pytest.MonkeyPatch):
    sizes, fully = [], SentimentClassifier.predict_fully
    monkeypatch.setattr(
        SentimentClassifier, "predict_fully", lambda self, t, **k: sizes.append(len(t)) or fully(self, t, **k)
    )
    lines = b"superb\n" * 1100
    plain = run("sentiment", "predict", "--model", finished, stdin=lines)
    assert sizes == [1024, 76]
    assert run("sentiment", "predict", "--model", finished, "--batch-size", 1000, stdin=lines).out == plain.out
    assert sizes[2:] == [1000, 100]


def test_a_text_of_a_megabyte_is_answered(run, finished: Path):
    outcome = run("sentiment", "predict", "--model", finished, "--json", stdin=b"dull " * 200_000 + b"superb\n")
    found = json.loads(outcome.out)
    assert (outcome.code, found["tokens"], found["read"], found["unknown"]) == (0, 200_001, 400, 0)
    assert outcome.err == "longer than is read (--max-tokens of the training), so read in part: 1 of 1 texts\n"


def test_unknown_words_are_told_at_the_end(run, finished: Path):
    outcome = run("sentiment", "predict", "--model", finished, "dull", "xyzzy dull plugh", "superb")
    assert outcome.err == "with units unknown to the model (--json counts them): 1 of 3 texts\n"
    found = run("sentiment", "predict", "--model", finished, "--json", "xyzzy dull plugh").out
    assert json.loads(found)["unknown"] == 2


def test_vectors_of_which_none_fits_are_refused(run, mine: Path, tmp_path: Path):
    (tmp_path / "v.txt").write_text("schön 1 2 3 4\nhaus 4 3 2 1\n")
    outcome = run(*words(mine, tmp_path / "m", embeddings=tmp_path / "v.txt", embed_size=4, max_steps=2))
    must = "must have a vector for a unit of the training text at least (words or subwords, lowercase or not)"
    assert outcome.code == 2
    assert len(outcome.sentences) == 1
    assert outcome.sentences[0].startswith(f"`embeddings` {must}, but is without one for all ")
    assert not (tmp_path / "m" / MANIFEST).exists()


def test_evaluate_scores_any_corpus_with_these_labels(run, finished: Path, tmp_path: Path):
    other = write(tmp_path / "other.csv", rows(40, 5), "body,mark")
    asked = ("sentiment", "evaluate", "--model", finished, "--corpus", other, "--split", "all")
    outcome = run(*asked, "--text", "body", "--label", "mark", "--out", tmp_path / "r")
    assert outcome.code == 0, outcome.err
    assert re.search(r"^accuracy +\d+\.\d\d  \[.*\]  n=40  scale:percent", outcome.out, re.MULTILINE)
    assert (tmp_path / "r" / "report.html").exists()
    assert "bag_of_words" not in outcome.out  # which would have been learnt from the very texts
    assert "Coverage" not in (tmp_path / "r" / "report.html").read_text("utf-8")
    outcome = run(*asked)
    assert (outcome.code, outcome.sentences) == (
        2, [f"`text` must be one of the columns body, mark, but is none of them ({other}, line 1); no header line? "
            "Then columns go by number: 1, 2, …"]
    )  # fmt: skip


def test_a_file_of_the_same_name_is_not_the_corpus_of_the_training(run, mine: Path, finished: Path, tmp_path: Path):
    asked = ("sentiment", "evaluate", "--model", finished, "--out", tmp_path / "r", "--corpus")
    for corpus, own in ((write(tmp_path / mine.name, rows(90, 5)), False), (mine, True)):
        outcome = run(*asked, corpus)
        assert outcome.code == 0, outcome.err
        assert ("Coverage" in (tmp_path / "r" / "report.html").read_text("utf-8")) is own


BASE = "".join(f"the film of {n} is great,good\nthe film of {n} is dull,bad\n" for n in range(40))


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("text,mark\n" + BASE, (), "`label` must be a column of a.csv (text, mark), but is absent: give"),
        ("text,label\n" + BASE, ("--label", "lable"), 'a column of a.csv (text, label), but is "lable"; did you mean'),
        ("text,label\n" + BASE, ("--text", "label"), '`label` must be another column than the text, but is "label".'),
        ("text,label\n" + BASE.replace("bad", "good"), (), 'must have at least two values in train, but is "good"'),
        ("text,label\n" + BASE.replace("bad", "").replace("good", ""), (), "but is without one (a.csv)."),
        ("text,label\n" + BASE, ("--mask-per", "row"), "must be given with --recurrent-dropout, but is alone"),
        ("text,label\n" + BASE, ("--conv-pool", "2"), "`conv_pool` must be given with --conv, but is alone"),
        ("text,label\n" + BASE, ("--layer-dropout", "0.1"), "must be given with two --layers or more, but is alone"),
        ("text,label\n" + BASE, ("--tokenizer", "t", "--units", "bpe"), "`units` must be left out where tokenizer is"),
        ("text,label\n" + BASE, ("--freeze",), "`freeze` must be given with --embeddings, but is alone"),
        ("text,label\n" + BASE + "one,two,three\n", (), "`a.csv` must have 2 columns in every line, but has 3"),
        ("", (), "`a.csv` must hold text, but is empty"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(run, tmp_path: Path, content: str, options, said: str):
    (tmp_path / "a.csv").write_text(content)
    outcome = run(*words(tmp_path / "a.csv", tmp_path / "m"), *options)
    assert outcome.code == 2
    assert len(outcome.sentences) == 1
    assert said in outcome.sentences[0]
    assert not (tmp_path / "m" / MANIFEST).exists()


def test_labels_that_train_does_not_have_are_said_with_their_line(run, tmp_path: Path, finished: Path):
    for name in ("train", "validation"):
        write(tmp_path / "c" / f"{name}.csv", [*rows(60), *([("odd", "odd")] if name == "validation" else [])])
    outcome = run(*words(tmp_path / "c", tmp_path / "m"))
    place = f"({tmp_path / 'c' / 'validation.csv'}, line 62)"
    assert (outcome.code, outcome.sentences) == (
        2, [f'`label` must be one of the classes of train (bad, good, so-so), but is "odd" {place}.']
    )  # fmt: skip
    outcome = run("sentiment", "evaluate", "--model", finished, "--corpus", tmp_path / "c", "--split", "validation")
    assert (outcome.code, outcome.sentences) == (
        2, [f'`label` must be one of the classes of the model (bad, good, so-so), but is "odd" {place}.']
    )  # fmt: skip


def test_what_cannot_be_scored_is_said_before_the_training(run, tmp_path: Path):
    write(tmp_path / "c" / "train.csv", rows(60))
    write(tmp_path / "c" / "test.csv", [*rows(9), ("odd", "odd")])
    outcome = run(*words(tmp_path / "c", tmp_path / "m"))
    assert (outcome.code, len(outcome.sentences)) == (2, 1), outcome.err
    assert 'but is "odd"' in outcome.sentences[0]
    assert "step" not in outcome.err
    (tmp_path / "c" / "test.csv").write_text("text,id\nthe film is superb,1\n")
    outcome = run(*words(tmp_path / "c", tmp_path / "m", max_steps=1))
    assert outcome.code == 0, outcome.err
    assert "warning: test has no text with a label, so validation is what is reported.\n" in outcome.err
    assert json.loads((tmp_path / "m" / "report.json").read_bytes())["split"] == "validation"


def test_a_class_with_one_row_does_not_stop_a_file_of_ones_own(run, tmp_path: Path):
    path = write(tmp_path / "a.csv", [*rows(100), *((f"once {n}", f"rare {n}") for n in range(40))])
    outcome = run(*words(path, tmp_path / "m", max_steps=1))
    assert outcome.code == 0, outcome.err
    assert re.search(r"warning: test: \d+ rows have a label that train does not have and are left out\.", outcome.err)
    outcome = run("sentiment", "evaluate", "--model", tmp_path / "m", "--corpus", path)
    assert outcome.code == 0, outcome.err


def test_labels_may_be_numbers_and_texts_empty_or_without_label(run, tmp_path: Path):
    numbers = {"bad": "1", "good": "5", "so-so": "3"}
    found = [(text, numbers[label]) for text, label in rows(80)] + [
        ("", "1"),
        ("no label", ""),
        ("dull " * 200_000, "1"),
    ]
    path = write(tmp_path / "a.csv", found)
    outcome = run(*words(path, tmp_path / "m", max_steps=1))
    assert outcome.code == 0, outcome.err
    assert SentimentClassifier.load(tmp_path / "m").classes == ["1", "3", "5"]
    outcome = run("sentiment", "evaluate", "--model", tmp_path / "m", "--corpus", path, "--split", "all")
    assert "empty: 1\nunlabelled: 1\n" in outcome.out


def test_it_starts_from_vectors_of_its_size(run, mine: Path, tmp_path: Path):
    vectors = tmp_path / "v.txt"
    vectors.write_text("superb 1 2 3 4\ndull 4 3 2 1\n4/10 0 0 1 1\n")
    outcome = run(*words(mine, tmp_path / "m", embeddings=vectors))
    fits = "(`--embed-size 4` would fit)"
    assert (outcome.code, outcome.sentences) == (
        2, [f"`embed_size` must be 4, the size of the vectors of {vectors} {fits}, but is 8."]
    )  # fmt: skip
    outcome = run(*words(mine, tmp_path / "m", embeddings=vectors, embed_size=4, max_steps=2), "--freeze")
    assert outcome.code == 0, outcome.err
    told = r"^The vocabulary has (\d+) units\.$[^$]*^warning: only 3 of \1 units \(\d\.\d %\) have a given vector \(are"
    assert re.search(told, outcome.err, re.MULTILINE)
    model = SentimentClassifier.load(tmp_path / "m")
    rows = model.model.embedding.weight[model.tokenizer.encode("superb dull")]
    assert (rows[0] / rows[1]).tolist() == pytest.approx([1 / 4, 2 / 3, 3 / 2, 4])


def test_a_tokeniser_of_ones_own_is_taken(run, mine: Path, finished: Path, tmp_path: Path):
    outcome = run(*words(mine, tmp_path / "m", tokenizer=finished, max_steps=1))
    assert outcome.code == 0, outcome.err
    assert len(SentimentClassifier.load(tmp_path / "m").tokenizer) == len(SentimentClassifier.load(finished).tokenizer)
    outcome = run(*words(mine, tmp_path / "m2", tokenizer=tmp_path / "none"))
    assert (outcome.code, len(outcome.sentences)) == (2, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "peephole", "pooling": "last"},
        {"cell": "gru", "layers": 2, "recurrent_dropout": 0.2, "mask_per": "row"},
        {"cell": "rnn", "recurrent_dropout": 0.2, "pooling": "mean", "label_smoothing": 0.1, "ema": 0.9},
        {"conv": 6, "conv_pool": 2, "units": "bpe", "vocab_size": 80, "adversarial": 0.1},
    ],
    ids=str,
)
def test_other_settings_train_too(mine: Path, tmp_path: Path, options: dict[str, object]):
    found = train_sentiment(small(mine, tmp_path / "m", max_steps=3, **options))
    assert found.predict(["the film is superb"])[0] in found.classes


def test_a_model_keeps_the_temperature_that_its_validation_asks_for(mine, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(stage, "fit_temperature", lambda logits, targets: seen.append((logits, targets)) or 3.25)
    found = train_sentiment(small(mine, tmp_path / "m", max_steps=2))
    assert found.facts["temperature"] == 3.25
    assert seen[0][0].shape == (15, 3)
    assert len(seen[0][1]) == 15


@pytest.mark.parametrize("asked", [{"label_smoothing": 0.3}, {"adversarial": 0.3}], ids=str)
def test_the_loss_is_what_was_asked_for(mine, tmp_path, monkeypatch, asked):
    seen, loss = [], SentimentTask.loss

    def kept(self, batch, done=0.0):
        seen.append(loss(self, batch, done))
        return seen[-1]

    monkeypatch.setattr(SentimentTask, "loss", kept)
    train_sentiment(small(mine, tmp_path / "m", max_steps=1, **asked))
    descended, plain, _ = seen[0]
    assert abs(float(descended.detach()) - float(plain.detach())) > 1e-4


def test_a_loss_that_is_not_finite_stops_the_run(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task = SentimentTask.loss

    def diverging(self, batch, done=0.0):
        loss, plain, count = task(self, batch, done)
        return loss, plain * float("nan"), count

    monkeypatch.setattr(SentimentTask, "loss", diverging)
    with pytest.raises(WorkError, match="`loss` must stay finite"):
        train_sentiment(small(mine, tmp_path / "m"))
    assert not (tmp_path / "m" / MANIFEST).exists()


def test_a_wrong_corpus_does_not_touch_a_finished_folder(run, finished: Path, tmp_path: Path):
    folder = shutil.copytree(finished, tmp_path / "m")
    path = write(tmp_path / "one.csv", [(text, "good") for text, _ in rows(30)])
    assert run(*words(path, folder), "--replace").code == 2
    assert weights(folder) == weights(finished)
    assert SentimentClassifier.load(folder).predict(["superb"]) == ["good"]
