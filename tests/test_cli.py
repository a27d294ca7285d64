"""The command line: help, precedence, pipes, output forms, exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nlpseq.config import settings_of
from nlpseq.settings import TokenizeConfig, TranslateConfig

NLPSEQ = [sys.executable, "-m", "nlpseq"]
GROUPS = {"corpora": "list show fetch", "tokenize": "train encode decode", "translate": "train run evaluate"}


def test_help_of_every_group_names_its_commands(run):
    assert all(group in run("--help").out for group in GROUPS)
    for group, commands in GROUPS.items():
        outcome = run(group, "-h")
        assert outcome.code == 0
        assert all(f"\n  {command} " in outcome.out for command in commands.split())


@pytest.mark.parametrize("cls", [TokenizeConfig, TranslateConfig])
def test_help_of_train_shows_default_range_and_unit_of_every_setting(run, cls):
    outcome = run(cls.stage, "train", "--help")
    text = " ".join(outcome.out.split())
    assert outcome.code == 0
    for item in settings_of(cls):
        option = f"--{item.name.replace('_', '-')}"
        after = text.partition(f" {option} ")[2].removeprefix(f"/ --{item.opposite or f'no-{option[2:]}'} ")
        if item.name in ("corpus", "out"):
            assert "[required]" in after.partition("  --")[0], option
            continue
        default = "absent" if item.default is None else str(item.default)
        default = default.lower() if item.kind is bool else default
        absence = '; "" for none' if item.optional and item.default is not None else ""
        entry, ending, _ = after.partition(f"default {default}{absence}]")
        assert ending, option
        assert " --" not in entry, option
        if item.kind in (int, float):
            assert f"{item.low:,g}".replace(",", "") in entry.replace(",", ""), option
            assert (item.unit or "") in entry, option
        for choice in item.choices or ():
            assert choice in entry, option


@pytest.mark.parametrize("command", ["tokenize encode", "tokenize decode", "translate run", "translate evaluate"])
def test_help_of_the_other_commands_shows_defaults(run, command):
    outcome = run(*command.split(), "--help")
    assert outcome.code == 0
    assert "--model DIR" in outcome.out
    assert re.search(r"\[(default: |required)", outcome.out)


def test_version_and_no_command(run):
    assert re.fullmatch(r"nlpseq \d+\.\d+\.\d+\n", run("--version").out)
    for words in ([], ["translate"]):
        outcome = run(*words)
        assert outcome.code == 2
        assert outcome.out.startswith("Usage: nlpseq")


def test_options_override_the_recipe_and_the_recipe_the_defaults(run, trained, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('layers = 2\nhidden_size = 8\nmax_steps = 1\nunits = "word"\n["pairs.tsv"]\nhidden_size = 9\n')
    shutil.copy(trained / "pairs.tsv", tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        words = ("--corpus", "pairs.tsv", "--recipe", recipe, "--embed-size", 4, "--max-steps", 2, "--no-numbers")
        assert run("translate", "train", *words, "--out", "m", "--device", "cpu").code == 0
    settings = json.loads((tmp_path / "m" / "manifest.json").read_bytes())["settings"]
    found = {name: settings[name] for name in ("layers", "hidden_size", "embed_size", "max_steps", "numbers", "links")}
    assert found == {
        "layers": 2, "hidden_size": 9, "embed_size": 4, "max_steps": 2, "numbers": False, "links": True
    }  # fmt: skip


TEXTS = ["the cat eats bread", "", "my friend sees 2 cars", "🙂🙂", " ", "zzz qqq"]


def test_one_line_in_one_line_out_in_order_whatever_the_group(run, trained):
    stdin = "".join(f"{text}\n" for text in TEXTS).encode()
    model = ("--model", trained / "model", "--device", "cpu")
    whole = run("translate", "run", *model, stdin=stdin)
    assert whole.code == 0
    lines = whole.out.split("\n")
    assert len(lines) == len(TEXTS) + 1
    assert lines[1] == lines[4] == ""
    assert all(lines[place] for place in (0, 2, 3, 5))
    assert run("translate", "run", *model, "--batch-size", 1, stdin=stdin).out == whole.out
    assert run("translate", "run", *model, *TEXTS).out == whole.out
    assert run("translate", "run", *model, stdin=stdin.removesuffix(b"\n").replace(b"\n", b"\r\n")).out == whole.out
    said = whole.err.splitlines()
    lost = r"line \d+: \d+ of the (source|translation)'s numbers and links (missing in|with no value in) the \w+"
    assert all(re.fullmatch(rf"{lost}|line \d+: \d+ of the source's units unknown to the model", line) for line in said)
    assert any(line.startswith("line 6: ") and line.endswith("unknown to the model") for line in said)


def test_json_has_score_tokens_and_counts(run, trained):
    outcome = run("translate", "run", "--model", trained / "model", "--device", "cpu", "--json", *TEXTS)
    records = [json.loads(line) for line in outcome.out.splitlines()]
    keys = ["text", "score", "tokens", "restored", "dropped", "unused", "unknown", "cut"]
    assert [list(record) for record in records] == [keys] * len(TEXTS)
    assert records[1] == {
        "text": "",
        "score": 0.0,
        "tokens": [],
        "restored": 0,
        "dropped": 0,
        "unused": 0,
        "unknown": 0,
        "cut": False,
    }
    assert records[0]["score"] < 0
    assert records[5]["unknown"] == 2


def test_a_sentence_of_ten_thousand_words_is_cut_and_that_is_said(run, trained):
    long = b"bread " * 10_000 + b"\n\n"
    outcome = run("translate", "run", "--model", trained / "model", "--device", "cpu", stdin=long)
    assert outcome.code == 0
    assert outcome.out.count("\n") == 2
    assert outcome.err == "line 1: longer than 1,000 tokens, what follows them was not read\n"


def test_encode_and_decode_are_each_other_s_reverse(run, trained):
    for folder in ("units", "model"):
        encoded = run("tokenize", "encode", "--model", trained / folder, stdin=b"the cat eats bread\n\na bird\n")
        lines = encoded.out.splitlines()
        assert len(lines) == 3
        assert all(re.fullmatch(r"[\d ]*", line) for line in lines)
        decoded = run("tokenize", "decode", "--model", trained / folder, stdin=encoded.out.encode())
        assert decoded.out == "the cat eats bread\n\na bird\n"


def test_encode_shows_pieces_and_the_values_behind_placeholders(run, trained):
    text = "my friend has 27 cars"
    model = ("--model", trained / "units")
    assert run("tokenize", "encode", *model, "--pieces", text).out == "my friend has [NUM] cars\n"
    record = json.loads(run("tokenize", "encode", *model, "--json", text).out)
    assert list(record) == ["ids", "tokens", "values"]
    assert [record["values"][0][key] for key in ("text", "start", "end")] == ["27", 14, 16]
    ids = " ".join(map(str, record["ids"]))
    assert json.loads(run("tokenize", "decode", *model, "--json", ids).out) == {"text": "my friend has [NUM] cars"}


def test_corpora_list_and_show(run, trained):
    listed = run("corpora", "list")
    assert listed.code == 0
    assert re.search(r"^phrasebook +translation +\S", listed.out, re.MULTILINE)
    shown = run("corpora", "show", trained / "pairs.tsv")
    assert shown.err.endswith("a training cuts it by those that it reads.\n")
    assert shown.code == 0
    assert "0 error(s)" in shown.out


def test_corpora_show_gives_all_faults_and_exit_code_2(run, tmp_path):
    (tmp_path / "bad.tsv").write_bytes(b"en\tfr\na\tb\nc\nd\te\tf\ng\t\xff\nh\ti\nj\tk\nl\tm\n")
    outcome = run("corpora", "show", tmp_path / "bad.tsv")
    assert outcome.code == 2
    assert "3 error(s)" in outcome.out
    for fault in ("has 1 (", "has 3 (", "must be UTF-8 text, but is not (byte 0xff"):
        assert fault in outcome.out
    assert outcome.err == ""


def test_corpora_show_refuses_what_training_refuses(run, tmp_path):
    (tmp_path / "pairs.tsv").write_text("en\tfr\n" + "".join(f"a {n}\tb {n}\n" for n in range(9)))
    assert run("corpora", "show", tmp_path / "pairs.tsv", "--source", "en", "--target", "fr").code == 0
    outcome = run("corpora", "show", tmp_path / "pairs.tsv", "--source", "en", "--target", "en")
    assert outcome.code == 2
    assert "`target` must be another column than the source" in outcome.err


def test_evaluate_prints_scores_with_signatures_and_writes_the_report(run, trained, model, tmp_path):
    words = ("--model", model, "--corpus", trained / "pairs.tsv", "--device", "cpu")
    outcome = run("translate", "evaluate", *words, "--against", trained / "model", "--out", tmp_path / "report")
    assert outcome.code == 0
    assert re.search(r"^bleu +\d+\.\d\d  \[\d+\.\d\d, \d+\.\d\d\]  n=3  nrefs:1\|bs:1000\|.*version:", outcome.out)
    assert re.search(r"^against the other translator: bleu .*difference 0\.00 .*p 1\.000", outcome.out, re.MULTILINE)
    report = json.loads((tmp_path / "report" / "report.json").read_bytes())
    assert {"stage", "corpus", "split", "scores", "seconds", "machine", "versions"} <= report.keys()
    assert (report["stage"], report["split"]) == ("translate", "test")
    assert {"bleu", "chrf", "exact"} <= report["scores"].keys()
    for score in report["scores"].values():
        assert list(score) == ["value", "low", "high", "n", "signature"]
    assert (tmp_path / "report" / "report.html").read_text("utf-8").startswith("<!")


def test_evaluate_leaves_the_report_of_the_training_alone(run, trained, model):
    before = {name: (model / name).read_bytes() for name in ("report.json", "report.html", "metrics.jsonl")}
    words = ("--model", model, "--corpus", trained / "pairs.tsv", "--device", "cpu", "--split", "validation")
    outcome = run("translate", "evaluate", *words)
    assert outcome.code == 0
    assert {name: (model / name).read_bytes() for name in before} == before
    folder = model / "evaluate-pairs.tsv-validation"
    assert json.loads((folder / "report.json").read_bytes())["split"] == "validation"
    assert f"The report is {folder / 'report.html'}." in outcome.err


@pytest.mark.parametrize("stage", ["lm", "ner", "sentiment", "translate"])
def test_evaluate_refuses_a_folder_with_a_report_of_somebody_else_s_before_it_looks_for_the_model(run, tmp_path, stage):
    (tmp_path / "report.json").write_text("mine")
    outcome = run(stage, "evaluate", "--model", tmp_path / "nope", "--corpus", "nope", "--out", tmp_path)
    assert (outcome.code, outcome.out, len(outcome.sentences)) == (2, "", 1)
    assert outcome.sentences[0].startswith("`out` must be a folder without files that a report would take the place of")
    assert (tmp_path / "report.json").read_text() == "mine"


@pytest.mark.parametrize("stage", ["tokenize", "translate"])
def test_check_finds_what_is_wrong_with_the_settings_and_does_nothing_else(run, tmp_path, stage):
    words = (stage, "train", "--corpus", "phrasebook", "--out", tmp_path / "m", "--check")
    assert run(*words) == (0, "The settings hold; nothing was read or trained.\n", "")
    outcome = run(*words, "--vocab-size", "few")
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--device=cpu", "--threads=1", "--seed=3", "--no-resume"])
def test_tokenize_train_refuses_what_could_do_nothing_there(run, tmp_path, option):
    outcome = run("tokenize", "train", "--corpus", "phrasebook", "--out", tmp_path / "m", option)
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert "No such option" in outcome.sentences[0]


def test_a_tensorboard_that_is_not_installed_is_said_before_any_work(run, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("nlpseq.progress.find_spec", lambda name: None)
    words = ("translate", "train", "--corpus", trained / "pairs.tsv", "--out", tmp_path / "m", "--tensorboard")
    said = "must have its package (pip install 'nlpseq[tensorboard]'), but is not installed (option --tensorboard)."
    outcome = run(*words)
    assert (outcome.code, outcome.sentences) == (2, [f"`tensorboard` {said}"])
    assert list(tmp_path.iterdir()) == []


def test_a_model_folder_needs_nothing_else(run, trained, tmp_path):
    """Another folder, a name that is not UTF-8, no corpus, no home."""
    moved = Path(shutil.copytree(trained / "model", os.fsdecode(os.fsencode(tmp_path) + b"/m\xff")))
    for path in moved.iterdir():
        if path.name in (".lock", "metrics.jsonl", "report.json", "report.html"):
            path.unlink()
    words = [*NLPSEQ, "translate", "run", "--model", moved.name, "the cat eats bread"]
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": "/nonexistent"}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == run("translate", "run", "--model", trained / "model", "the cat eats bread").out != ""


def pipe(command: str, trained: Path) -> subprocess.CompletedProcess[str]:
    line = command.replace("NLPSEQ", f"'{sys.executable}' -m nlpseq").replace("UNITS", f"'{trained / 'units'}'")
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)


def test_a_reader_that_has_had_enough_ends_the_work_quietly(trained):
    """The lines go out as they are made, so the writer meets the closed pipe."""
    writer = "{ NLPSEQ tokenize encode --model UNITS; echo rc $? >&2; }"
    done = pipe(f"yes 'the cat' | head -20000 | {writer} | head -1", trained)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == "rc 0\n"


def test_an_output_that_takes_nothing_is_a_sentence(trained):
    done = pipe("NLPSEQ tokenize encode --model UNITS 'the cat' > /dev/full; NLPSEQ -h > /dev/full", trained)
    assert done.returncode == 1
    assert done.stderr == 2 * "nlpseq: `standard output or disk` must be usable, but is No space left on device.\n"


def test_closed_standard_streams(trained):
    done = pipe("NLPSEQ tokenize encode --model UNITS <&-", trained)
    assert (done.returncode, done.stderr) == (
        2, "nlpseq: `standard input` must be open where no text is given, but is closed.\n"
    )  # fmt: skip
    assert pipe("NLPSEQ tokenize encode --model UNITS 'the cat' >&-", trained).stderr == ""


def test_an_output_that_is_not_utf_8(trained):
    done = pipe("PYTHONIOENCODING=latin-1 NLPSEQ tokenize encode --pieces --model UNITS '日'", trained)
    assert (done.returncode, done.stderr) == (
        1, 'nlpseq: `standard output` must take UTF-8 text, but is "latin-1".\n'
    )  # fmt: skip


def test_a_text_that_is_the_name_of_a_file_is_said(run, trained, tmp_path, monkeypatch):
    model = ("--model", trained / "model", "--device", "cpu")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("the cat\n")
    outcome = run("translate", "run", *model, "in.txt")
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 1)
    said = "in.txt is a file, but is taken for a text: `< in.txt` would read its lines."
    assert outcome.err.splitlines()[0] == said
    assert said not in run("translate", "run", *model, "the cat").err
    for text in ("我" * 150, "a/" * 4000):  # too long for a name, and for a path
        assert run("translate", "run", *model, text).code == 0


def test_columns_without_a_language_are_said_where_numbers_have_forms(run, tmp_path):
    rows = "".join(f"I see {n} cars\tje vois {n} voitures\n" for n in range(40))
    said = "No language is known by the name `English` and `French`, as by en, fr, de: numbers keep the source's form."
    size = ("--hidden-size", 4, "--embed-size", 4, "--max-steps", 1, "--units", "word", "--device", "cpu")
    for source, target, further, told in (
        ("English", "French", (), True),
        ("English", "French", ("--no-numbers",), False),
        ("en", "fr", (), False),
    ):
        (tmp_path / "c.tsv").write_text(f"{source}\t{target}\n{rows}")
        pair = ("--source", source, "--target", target, "--corpus", tmp_path / "c.tsv", "--out", tmp_path / "m")
        outcome = run("translate", "train", *pair, *size, *further, "--replace")
        assert outcome.code == 0, outcome.err
        assert (said in outcome.err.splitlines()) == told


def test_ctrl_c_while_the_program_is_still_being_imported_is_no_traceback(tmp_path):
    code = (
        "import sys\n"
        "class Slip:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Slip())\n"
        "from nlpseq.__main__ import main\n"
        "main()\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (found.returncode, found.stderr, found.stdout) == (130, "nlpseq: Interrupted.\n", "")
