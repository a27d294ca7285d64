"""The lm stage in its folder: finished, stopped and resumed to the bit, refused; its commands; its report."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import state_folder

from nlpseq import LanguageModel, LMConfig, configure, train_lm
from nlpseq.artefact import MANIFEST
from nlpseq.errors import UsageError, WorkError
from nlpseq.language_model import STAGE, Held
from nlpseq.lm_gradients import _capped
from nlpseq.stages.lm import evaluate_language_model
from nlpseq.vocab import EOS, UNK

VERSE = "the moon is up, the sea is wide;\nthe wind is high, the boats abide.\n"
SMALL = {"device": "cpu", "threads": 1, "precision": "fp32",
         "cell": "lstm", "hidden_size": 12, "embed_size": 8, "layers": 1,
         "batch_tokens": 64, "steps": 16, "max_steps": 24, "evaluate_steps": 6, "save_minutes": 0.0, "warmup_steps": 2,
         "sample_length": 20, "prompts": "the |a", "gradients": False, "learning_rate": 0.01}  # fmt: skip


@pytest.fixture(scope="module")
def verses(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("verses") / "verses.txt"
    path.write_text("".join(f"{n}. {VERSE}" for n in range(120)))
    return path


def small(corpus: Path, out: Path, **options: object) -> LMConfig:
    return configure(LMConfig, corpus=str(corpus), out=str(out), **(SMALL | options))


def words(corpus: Path, out: Path, **options: object) -> list[str]:
    pairs = [(f"--{n.replace('_', '-')}", str(v)) for n, v in (SMALL | options).items() if not isinstance(v, bool)]
    given = [word for pair in pairs for word in pair]
    return ["lm", "train", "--corpus", str(corpus), "--out", str(out), "--no-gradients", *given]


def weights(folder: Path) -> str:
    return json.loads((folder / MANIFEST).read_bytes())["files"]["weights.safetensors"]["sha256"]


class Stop(Exception):
    """A kill, as far as a test in the same process can have one."""


def stop_at(step: int):
    def watch(event) -> None:
        if event.kind == "saved" and event.step >= step:
            raise Stop

    return watch


@pytest.fixture(scope="module")
def finished(verses, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "m"
    train_lm(small(verses, folder))
    return folder


def test_a_finished_folder_has_the_model_its_report_and_its_samples(finished):
    names = sorted(re.sub(r"-[0-9a-f]{12}\.", ".", path.name) for path in finished.iterdir())
    kept = ["manifest.json", "metrics.jsonl", "report.html", "report.json", "samples.jsonl", "units.json"]
    assert names == [".lock", *kept, "weights.safetensors"]
    facts = json.loads((finished / MANIFEST).read_bytes())["facts"]
    assert (facts["corpus"], facts["unit"], facts["steps"]) == ("verses.txt", "character", 24)
    assert facts["parameters"] == sum(p.numel() for p in LanguageModel.load(finished).model.parameters())


def test_a_stopped_run_goes_on_to_the_same_weights_and_samples(verses, finished, tmp_path):
    with pytest.raises(Stop):
        train_lm(small(verses, tmp_path / "m"), watch=stop_at(10))
    state = state_folder(tmp_path / "m")
    assert torch.load(state / "state.pt", weights_only=True)["carried"].shape == (4, 2, 12)
    with open(state / "samples.jsonl", "a") as file:  # of a step that the run will come to again
        file.write('{"step": 18, "loss": 9.0, "texts": ["x", "y"]}\nbroken\n')
    steps = []
    train_lm(small(verses, tmp_path / "m"), watch=lambda e: steps.append(e.step) if e.kind == "resumed" else None)
    assert steps == [10]
    assert weights(tmp_path / "m") == weights(finished)
    assert (tmp_path / "m" / "samples.jsonl").read_text() == (finished / "samples.jsonl").read_text()


def test_samples_are_kept_in_order_and_change_nothing(verses, finished, tmp_path):
    drawn = [json.loads(line) for line in (finished / "samples.jsonl").read_text().splitlines()]
    assert [one["step"] for one in drawn] == [6, 12, 18, 24]
    assert all(first.startswith("the ") and second.startswith("a") for first, second in (one["texts"] for one in drawn))
    shown = (finished / "report.html").read_text().partition("What the model writes as it learns")[2]
    places = [shown.index(f"{one['loss']:.3f}") for one in drawn]
    assert places == sorted(set(places))
    train_lm(small(verses, tmp_path / "m", sample_length=0, prompts=None))
    assert weights(tmp_path / "m") == weights(finished)


def test_no_samples_of_an_earlier_try_are_left(verses, finished, tmp_path):
    with pytest.raises(Stop):
        train_lm(small(verses, tmp_path / "m"), watch=stop_at(10))
    (state_folder(tmp_path / "m") / "state.pt").unlink()
    train_lm(small(verses, tmp_path / "m"))
    assert (tmp_path / "m" / "samples.jsonl").read_text() == (finished / "samples.jsonl").read_text()


def test_the_report_has_the_scores_with_their_signatures(finished):
    report = json.loads((finished / "report.json").read_text())
    assert (report["stage"], report["split"]) == (STAGE, "test")
    names = ["nats_per_character", "bits_per_character", "perplexity", "nats_per_character_cold"]
    assert list(report["scores"]) == names
    loss = report["scores"]["nats_per_character"]
    assert loss["signature"].startswith("unit:character|vocabulary:")
    assert "one pass, 1 stream, state carried" in loss["signature"]
    assert "windows of 256 from a cold start" in report["scores"]["nats_per_character_cold"]["signature"]
    assert loss["n"] == report["counts"]["characters"]
    assert "What the model writes as it learns" in (finished / "report.html").read_text()


def test_evaluating_gives_the_score_of_the_training_and_of_several_splits(verses, finished, tmp_path):
    own = json.loads((finished / "report.json").read_text())["scores"]["nats_per_character"]["value"]
    report = evaluate_language_model(finished, str(verses), device="cpu", out=tmp_path / "r")
    assert report.scores["nats_per_character"].value == pytest.approx(own)
    assert "nats_per_character_dynamic" not in report.scores
    both = evaluate_language_model(finished, str(verses), split="validation,test", dynamic=0.1, out=tmp_path / "r")
    assert both.scores["nats_per_character_dynamic"].value < both.scores["nats_per_character"].value
    assert both.scores["nats_per_character"].n > report.scores["nats_per_character"].n
    assert "document ends:0" in both.scores["nats_per_character"].signature


@pytest.mark.parametrize(
    "settings",
    [
        {"units": "word", "objective": "nce", "noise": 20, "layers": 2, "residual": True, "feed_forward": 9},
        {"units": "byte", "cell": "rnn", "batching": "windows", "stride": 5, "tied": False, "residual": True},
        {"units": "bpe", "vocab_size": 60, "validation": "held-out", "test": "held-out", "held_out": 0.2},
    ],
    ids=lambda settings: settings["units"],
)
def test_other_units_objectives_and_batches_train_and_come_back(verses, tmp_path, settings):
    live = train_lm(small(verses, tmp_path / "m", max_steps=4, evaluate_steps=4, **settings))
    again = LanguageModel.load(tmp_path / "m")
    assert again.sample("the ", length=9, past_end=True) == live.sample("the ", length=9, past_end=True)
    report = json.loads((tmp_path / "m" / "report.json").read_text())
    noun = {"word": "word", "byte": "byte", "bpe": "subword"}[settings["units"]]
    assert f"nats_per_{noun}" in report["scores"]
    page = (tmp_path / "m" / "report.html").read_text()
    for shown in ("log Z", "its own loss", "Loss of the full softmax"):
        assert (shown in page) == ("objective" in settings)
    made = f"unit:{noun}" + (f" ({settings['units']}, lowercase:no, [NUM]:yes" if noun != "byte" else "|vocabulary")
    assert report["scores"]["perplexity"]["signature"].startswith(made)
    if noun != "byte":  # the numbers of the verses are lost
        assert "bits_per_character" not in report["scores"]
    else:
        assert report["scores"]["bits_per_character"]["n"] == report["counts"]["characters_of_text"]


def test_units_of_a_trained_tokeniser(trained, verses, tmp_path):
    options = {"tokenizer": str(trained / "units"), "max_steps": 1, "evaluate_steps": 1}
    live = train_lm(small(verses, tmp_path / "m", **options))
    assert live.units.noun == "word"
    assert live.facts["validation"]["unknown"] > 0


def test_a_model_learns_the_verses(verses, tmp_path):
    options = {"max_steps": 150, "evaluate_steps": 150, "hidden_size": 48, "embed_size": 32, "learning_rate": 0.02}
    live = train_lm(small(verses, tmp_path / "m", **options, dropout=0.0, output_dropout=0.0, test="validation,test"))
    report = json.loads((tmp_path / "m" / "report.json").read_text())
    assert "document ends:0" in report["scores"]["nats_per_character"]["signature"]  # one text, cut
    assert report["scores"]["nats_per_character"]["value"] < 0.45
    assert "the moon is up, the sea is wide;\n" in live.sample("1. the moon", temperature=0, length=120)[0]
    good, bad = live.score(["the moon is up", "moon up the is"])
    assert good.nats > bad.nats + 5


def test_the_figure_of_gradients_is_in_the_report_where_it_is_asked_for(verses, tmp_path, monkeypatch):
    monkeypatch.setattr("nlpseq.lm_gradients._UPDATES", 2)
    train_lm(small(verses, tmp_path / "m", max_steps=1, evaluate_steps=1, gradients=True))
    page = (tmp_path / "m" / "report.html").read_text()
    assert "Gradient through time" in page
    assert all(cell in page for cell in ("simple", "LSTM", "GRU"))


def test_python_is_judged_by_its_lines_beside_a_trigrams(tmp_path, monkeypatch):
    for number in range(30):
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / f"m{number}.py").write_text(f"def f{number}(x):\n    return x + {number}\n\n\n" * 9)
    monkeypatch.setattr("nlpseq.lm_report._WRITTEN", (2, 60))
    train_lm(small(tmp_path / "code", tmp_path / "m", max_steps=2, evaluate_steps=2))
    scores = json.loads((tmp_path / "m" / "report.json").read_text())["scores"]
    assert scores["python_lines_real"]["value"] == 100
    assert 0 <= scores["python_lines"]["value"] < 60
    assert scores["python_lines_trigram"]["n"] > 2
    assert "by:ast" in scores["python_lines"]["signature"]


def test_the_commands_write_score_and_warn(run, finished, verses, tmp_path):
    outcome = run("lm", "sample", "--model", finished, "--prompt", "the ☃", "--length", 30, "--seed", 3, "--past-end")
    assert outcome.code == 0
    assert outcome.out.startswith("the ☃")
    assert outcome.err == ("warning: 1 character of the prompt never seen in training, read as [UNK]\n")
    again = run(
        "lm", "sample", "--model", finished, "--prompt", "the ☃", "--length", 30, "--seed", 3, "--past-end", "--json"
    )
    assert json.loads(again.out)["text"] + "\n" == outcome.out
    several = run("lm", "sample", "--model", finished, "--count", 3, "--length", 5, "--temperature", 0, "--top-k", 3)
    assert several.out.count("--- ") == 3
    ranked = run("lm", "evaluate", "--model", finished, "--text", "the", "--text", "qqq")
    assert [line.split("  ")[-1] for line in ranked.out.splitlines()] == ["the", "qqq"]
    assert ranked.err == "warning: 3 characters never seen in training, read as [UNK]: qqq\n"
    plain = run("lm", "evaluate", "--model", finished, "--text", "the", "--json")
    assert len(json.loads(plain.out)["units"]) == 3
    scored = run("lm", "evaluate", "--model", finished, "--corpus", verses, "--split", "test", "--out", tmp_path / "r")
    assert scored.out.startswith("nats_per_character ")
    assert (tmp_path / "r" / "report.html").exists()


def test_a_finished_run_is_not_done_again_and_another_is_refused(run, verses, finished):
    outcome = run(*words(verses, finished))
    assert (outcome.code, outcome.err) == (0, f"{finished} holds this very run, finished; nothing to do.\n")
    outcome = run(*words(verses, finished, seed=5))
    assert outcome.code == 2
    assert "seed 1 instead of 5" in outcome.sentences[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stride": 2}, "`stride` must be left out where batching is streams, but is 2."),
        ({"noise": 2}, "`noise` must be left out where objective is softmax, but is 2."),
        ({"vocab_size": 99}, "`vocab_size` must be left out where units is char, but is 99."),
        ({"units": "byte", "min_count": 2}, "`min_count` must be left out where units is byte, but is 2."),
        ({"units": "word", "tokenizer": "t"}, "must be left out where tokenizer is given, which has its own"),
        ({"batch_tokens": 4}, "`batch_tokens` must be at least the 16 units of a stream's step (--steps), but is 4."),
        ({"feed_forward": 9}, "`feed_forward` must be left out without residual, but is 9."),
        ({"units": "letter"}, '`units` must be one of char, byte, word, bpe, unigram, but is "letter" (option'),
        ({"splits": "tran"}, "`tran` must be a split of verses.txt (train, validation, test, all)"),
        ({"test": "tset"}, "did you mean `test`?"),
        ({"validation": "held-otu"}, "`held-otu` must be a split of verses.txt"),
        ({"tokenizer": "/nowhere"}, "`/nowhere` must be the folder of a finished model, but is no folder."),
        ({"text": "body"}, "`text` must be left out for files of text, which have no columns"),
    ],
)
def test_settings_that_cannot_be(run, verses, tmp_path, options, said):
    outcome = run(*words(verses, tmp_path / "m", **options))
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert said in outcome.sentences[0]
    assert not (tmp_path / "m" / MANIFEST).exists()


@pytest.mark.parametrize(
    "options", [{"splits": "all"}, {"splits": "train,test", "test": "test"}, {"validation": "all"}]
)
def test_what_is_trained_on_is_not_scored(run, verses, tmp_path, options):
    outcome = run(*words(verses, tmp_path / "m", **options))
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert "`splits` must be none of those that are scored (" in outcome.sentences[0]


def test_a_split_called_train_can_be_held_for_validation(tmp_path):
    (tmp_path / "v").mkdir()
    for name in ("train", "validation", "test"):
        (tmp_path / "v" / f"{name}.txt").write_text(f"{name}. {VERSE}" * (40 if name == "train" else 9))
    live = train_lm(
        small(tmp_path / "v", tmp_path / "m", max_steps=1, splits="test", validation="train", test="validation")
    )
    assert live.facts["validation"]["characters"] > 4 * live.facts["train"]["characters"]


def test_text_that_was_held_out_can_be_scored_again(run, verses, finished, tmp_path):
    options = {"max_steps": 2, "evaluate_steps": 2, "validation": "held-out", "test": "held-out", "held_out": 0.2}
    train_lm(small(verses, tmp_path / "m", **options))
    own = json.loads((tmp_path / "m" / "report.json").read_text())["scores"]["nats_per_character"]
    again = evaluate_language_model(tmp_path / "m", str(verses), split="held-out", device="cpu")
    score = again.scores["nats_per_character"]
    assert (score.value, score.n) == (pytest.approx(own["value"]), own["n"])
    outcome = run("lm", "evaluate", "--model", finished, "--corpus", verses, "--split", "held-out")
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert "`held-out` must be asked for where the model was trained on verses.txt" in outcome.sentences[0]


def test_a_loss_that_is_not_finite_is_said_before_anything_is_drawn(verses, tmp_path, monkeypatch):
    monkeypatch.setattr("nlpseq.stages.lm.held_out", lambda *_, **__: Held(float("nan"), 1, 0))
    monkeypatch.setattr("nlpseq.stages.lm._Diary.draw", lambda _: pytest.fail("drawn"))
    with pytest.raises(WorkError, match="`loss` must stay finite on validation"):
        train_lm(small(verses, tmp_path / "m", max_steps=1, evaluate_steps=1))


def test_prompts_with_unseen_characters_are_warned_of_once(verses, tmp_path):
    said = []
    options = {"max_steps": 2, "evaluate_steps": 1, "prompts": "the \u2603|\u2603"}
    train_lm(small(verses, tmp_path / "m", **options), watch=lambda e: said.append(e.text))
    assert said.count("warning: 2 characters of the prompts never seen in training, read as [UNK]") == 1
    assert sum("prompts" in text.replace(str(tmp_path), "") for text in said) == 1


def test_speed_is_said_of_the_units(verses, tmp_path):
    counted = set()
    options = {"max_steps": 1, "evaluate_steps": 1}
    train_lm(
        small(verses, tmp_path / "m", **options), watch=lambda e: counted.add(e.counted) if e.kind == "step" else None
    )
    assert counted == {"character"}


def test_rare_units_are_not_in_the_figure_of_gradients(monkeypatch):
    monkeypatch.setattr("nlpseq.lm_gradients._VOCABULARY", 8)
    assert _capped(np.array([6, 9, 9, 9, 7, 7, EOS, 10], np.int32)).tolist() == [UNK, 6, 6, 6, 7, 7, EOS, UNK]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "`a.txt` must hold text, but is empty"),
        (b"caf\xe9 " * 99, "must be UTF-8 text, but is not (byte 0xe9; a model of --units byte reads any file)"),
        (b"abc", "must have at least two units of text"),
    ],
)
def test_texts_that_cannot_be_read(run, tmp_path, content, said):
    (tmp_path / "a.txt").write_bytes(content)
    outcome = run(*words(tmp_path / "a.txt", tmp_path / "m"))
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert said in outcome.sentences[0]


def test_an_option_leaves_idle_what_the_recipe_says_for_other_units(tmp_path):
    config = configure(LMConfig, corpus="imdb", out="o", units="char")
    assert (config.data.vocab_size, config.data.lowercase) == (8000, False)
    assert configure(LMConfig, corpus="imdb", out="o").data.vocab_size == 30_000
    with pytest.raises(UsageError, match="`lowercase` must be left out where units is char"):
        configure(LMConfig, corpus="imdb", out="o", units="char", lowercase=True)
    recipe = tmp_path / "r.toml"
    recipe.write_text('units = "char"\nvocab_size = 99\n')
    with pytest.raises(UsageError, match="`vocab_size` must be left out where units is char"):
        configure(LMConfig, recipe=recipe, corpus="imdb", out="o")


def test_what_nobody_meant_to_type(run, finished, trained, verses, tmp_path):
    for command, said in (
        (("sample", "--model", tmp_path), "must be the folder of a finished model"),
        (("sample", "--model", trained / "units"), "must be a model of the stage `lm`, but is one of `tokenize`."),
        (("sample", "--model", finished, "--temperature", "-1"), "`temperature` must be a number from 0 to 100"),
        (("sample", "--model", finished, "--top-p", "2", "--count", 2), "`top_p` must be a number from 1e-06 to 1"),
        (("sample", "--model", finished, "--prompt", "b\udcff"), '`text` must be UTF-8 text, but is "b\\udcff".'),
        (("evaluate", "--model", finished, "--text", "b\udcff"), '`text` must be UTF-8 text, but is "b\\udcff".'),
        (("evaluate", "--model", finished, "--text", "b", "--dynamic", 1), "`dynamic` must be left out with --text"),
        (("evaluate", "--model", finished), "`corpus` must be given, or else text, but is absent (option --corpus)."),
        (("evaluate", "--model", finished, "--corpus", verses, "--split", "no"), "`no` must be a split of verses.txt"),
        (("evaluate", "--model", finished, "--corpus", "phrasebok"), "did you mean `phrasebook`?"),
        (("evaluate", "--model", finished, "--text", "a", "--corpus", verses), "`corpus` must be left out with --text"),
    ):
        outcome = run("lm", *command)
        assert (outcome.code, len(outcome.sentences)) == (2, 1), command
        assert said in outcome.sentences[0]
        assert outcome.out == ""


def test_damaged_files_are_named_and_other_weights_refused(run, finished, tmp_path):
    folder = Path(shutil.copytree(finished, tmp_path / "m"))
    for role in ("units", "weights"):
        path = next(folder.glob(f"{role}-*"))
        content = path.read_bytes()
        path.write_bytes(content[:-3] + b"\0\0\0")
        outcome = run("lm", "sample", "--model", folder)
        assert (outcome.code, len(outcome.sentences)) == (2, 1)
        assert outcome.sentences[0].startswith(f"`{path.name}` must have the SHA-256")
        path.write_bytes(content)


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one_and_a_stopped_pair_goes_on(verses, finished, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731", "-m",
               "nlpseq"]  # fmt: skip
    options = {"dropout": 0.0, "layer_dropout": 0.0, "output_dropout": 0.0}
    train_lm(small(verses, tmp_path / "one", **options))
    given = words(verses, tmp_path / "two", **options)
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (LanguageModel.load(tmp_path / name).model.state_dict() for name in ("one", "two"))
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=1e-5, rtol=1e-3)
    given = words(verses, tmp_path / "stopped", **options, save_minutes=1000)
    process = subprocess.Popen([*command, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = None
    while process.poll() is None and not (log and log.exists() and log.stat().st_size):
        log = state_folder(tmp_path / "stopped") / "metrics.jsonl"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "stopped") == weights(tmp_path / "two")
