"""Bad input: each is one clear sentence on standard error and exit code 2, and nothing is written or lost."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest

from nlpseq import artefact
from nlpseq.artefact import MANIFEST
from nlpseq.errors import sentence

WORD_UNITS = ("--units", "word", "--device", "cpu")


class Touch:
    """Unpickling it makes a file: what a malicious model would do, and more."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_the_pickle_is_indeed_malicious(tmp_path: Path):
    pickle.loads(pickle.dumps(Touch(tmp_path / "made"))).close()
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trnslate", "No such command 'trnslate'. Did you mean 'translate'?"),
        ("translate trian", "No such command 'trian'. Did you mean 'train'?"),
        ("translate train --sead 3", "--seed"),
        ("translate run", "Missing option '--model'."),
        ("translate run --model m --batch-size 0 a", "Invalid value for '--batch-size': 0 is not in the range"),
        ("translate run --model nope a", "`nope` must be the folder of a finished model, but is no folder."),
        ("corpora show phrasbook", "did you mean `phrasebook`?"),
        ("corpora show phrasebok.tsv", "`phrasebok.tsv` must be a file, a folder of files, or the prefix"),
        ("corpora fetch phrasbook", "did you mean `phrasebook`?"),
        ("translate train --corpus phrasbook --out m", "did you mean `phrasebook`?"),
        ("tokenize train --corpus imdbb --out m", "did you mean `imdb`?"),
        ("translate train --corpus c --out m --recipe no.toml", '`recipe` must be a file that can be read, but is "no'),
        (
            "translate train --corpus c --out m --device tpu",
            '`device` must be auto, cpu, cuda or cuda:N, but is "tpu".',
        ),
        ("translate train --corpus c --out m --device cuda:x", "`device` must be auto, cpu, cuda or cuda:N, but is"),
        ("translate train --corpus c --out m --device cuda:²", "`device` must be auto, cpu, cuda or cuda:N, but is"),
        (
            "translate train --corpus c --out m --device cuda:99",
            "`device` must be a device that is here, but is cuda:99, and ",
        ),
        ("translate train --out m", "`corpus` must be given, but is absent (option --corpus)."),
        (f"translate train --corpus c --out m --seed {'9' * 400}", "`seed` must be a whole number from 0 to"),
    ],
)
def test_what_nobody_meant_to_type(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str):
    monkeypatch.chdir(tmp_path)
    outcome = run(*words.split())
    assert outcome.code == 2
    assert outcome.out == ""
    assert len(outcome.sentences) == 1
    assert said in outcome.sentences[0]


def test_all_faults_of_a_command_come_at_once(run, tmp_path: Path):
    (tmp_path / "r.toml").write_text("sead = 3\nlayers = 0\n")
    outcome = run(
        "translate", "train", "--recipe", tmp_path / "r.toml", "--units", "bpee", "--tied", "--dropout", "1.5"
    )
    assert outcome.code == 2
    assert [one.split("`")[1] for one in outcome.sentences] == ["sead", "layers", "units", "dropout"]
    assert "did you mean `seed`? (" in outcome.sentences[0]
    assert "key `layers`)" in outcome.sentences[1]
    assert "(option --units)" in outcome.sentences[2]


PAIRS = "".join(f"word{n} a\tmot{n} b\n" for n in range(30)).encode()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", b"", "`a.tsv` must hold text, but is empty"),
        ("a.tsv", b"\x7fELF\x02\x01\x00\x00" * 9, "`a.tsv` must be UTF-8 text, but is binary or UTF-16"),
        ("a.tsv", ("en\tfr\n" + PAIRS.decode()).encode("utf-16"), "`a.tsv` must be UTF-8 text, but is UTF-16"),
        ("a.tsv", b"en\tfr\n" + PAIRS + b"caf\xe9\tx\n", "must be UTF-8 text, but is not (byte 0xe9, perhaps Latin-1)"),
        ("a.tsv", b"en\tfr\n" + PAIRS + b"only one\n", "must have 2 columns in every line, but has 1"),
        ("a.tsv", b"en\tfr\n" + PAIRS[:24], "must have at least 3 different rows to be cut"),
        ("a.tsv", b"en\ten\n" + PAIRS, "`en` must be the name of one column, but is that of 2"),
        ("a.tsv", b"en\n" + b"x\n" * 30, "`target` must be a column of a.tsv (en), but is absent."),
        ("a.csv", b"en,fr\n" + PAIRS.replace(b"\t", b",") + b'"a,b\n', "`a.csv` must be CSV with standard quoting"),
        ("a.jsonl", b"[1]\n" + PAIRS, "`a.jsonl` must hold one JSON object per line, but does not"),
        ("a.parquet", PAIRS, "`a.parquet` must be a whole Parquet file"),
        ("a.tsv.gz", gzip.compress(b"en\tfr\n" + PAIRS)[:-20], "`a.tsv.gz` must be a"),
        ("a.docx", PAIRS, "must end in one of"),
        ("a.txt", PAIRS, "`target` must be a column of a.txt (text), but is absent."),
    ],
)
@pytest.mark.parametrize("stage", ["translate", "corpora"])
def test_files_that_cannot_be_read(run, tmp_path: Path, stage: str, name: str, content: bytes, said: str):
    (tmp_path / name).write_bytes(content)
    if stage == "translate":
        outcome = run("translate", "train", "--corpus", tmp_path / name, "--out", tmp_path / "m", *WORD_UNITS)
        assert outcome.code == 2
        assert not (tmp_path / "m" / MANIFEST).exists()
        assert len(outcome.sentences) == 1
        assert said in outcome.sentences[0]
    elif "target" not in said:  # any columns can be shown
        outcome = run("corpora", "show", tmp_path / name)
        assert outcome.code == 2
        assert said in outcome.out + "\n".join(outcome.sentences)


def test_all_faults_of_a_corpus_come_before_any_training(run, tmp_path: Path):
    (tmp_path / "a.tsv").write_bytes(b"en\tfr\n" + PAIRS + b"one\nb\xffd\tx\n1\t2\t3\n")
    outcome = run("translate", "train", "--corpus", tmp_path / "a.tsv", "--out", tmp_path / "m", *WORD_UNITS)
    assert outcome.code == 2
    assert [one.rpartition(", line ")[2] for one in outcome.sentences] == ["32).", "33).", "34)."]


def test_parallel_files_with_unequal_numbers_of_lines(run, tmp_path: Path):
    (tmp_path / "mine.en").write_text("a b\n" * 3 + "c\nd\ne\n")
    (tmp_path / "mine.fr").write_text("a b\n" * 3 + "c\nd\n")
    outcome = run("translate", "train", "--corpus", tmp_path / "mine", "--out", tmp_path / "m", *WORD_UNITS)
    assert outcome.code == 2
    assert len(outcome.sentences) == 1
    said = "must have the same number of lines in each file, but mine.en has 6 and mine.fr has 5"
    assert said in outcome.sentences[0]


def test_a_line_of_a_million_characters_is_left_out_and_counted(run, tmp_path: Path):
    (tmp_path / "a.tsv").write_bytes(b"en\tfr\n" + PAIRS + b"huge " * 200_000 + b"\tx\n")
    words = ("--max-steps", 1, "--hidden-size", 4, "--embed-size", 4, "--threads", 1)
    outcome = run("translate", "train", "--corpus", tmp_path / "a.tsv", "--out", tmp_path / "m", *WORD_UNITS, *words)
    assert (outcome.code, outcome.sentences) == (0, [])
    assert "0 empty and 1 long" in outcome.err


def test_a_corpus_without_validation(run, tmp_path: Path):
    (tmp_path / "c").mkdir()
    for name in ("train", "test"):
        (tmp_path / "c" / f"{name}.tsv").write_bytes(b"en\tfr\n" + PAIRS)
    outcome = run("translate", "train", "--corpus", tmp_path / "c", "--out", tmp_path / "m", *WORD_UNITS)
    assert (outcome.code, outcome.sentences) == (
        2, ["`validation` must be a split of c (train, test), but is not there (c)."]
    )  # fmt: skip


def test_a_corpus_whose_pairs_are_all_empty_or_all_too_long(run, tmp_path: Path):
    (tmp_path / "a.tsv").write_bytes(b"en\tfr\n" + PAIRS)
    (tmp_path / "b.tsv").write_bytes(b"en\tfr\n" + PAIRS.replace(b"\tmot", b" \t").replace(b" b\n", b"\n"))
    common = ("--out", tmp_path / "m", *WORD_UNITS)
    outcome = run("translate", "train", "--corpus", tmp_path / "a.tsv", "--max-length", 1, *common)
    said = "must have at least one pair with text on both sides of at most 1 tokens, but is without one (a.tsv)."
    assert (outcome.code, outcome.sentences) == (2, [f"`train` {said}"])
    (tmp_path / "c").mkdir()
    for name in ("train", "validation"):
        (tmp_path / "c" / f"{name}.tsv").write_bytes(b"en\tfr\n" + (PAIRS if name == "train" else b" \t \n" * 5))
    outcome = run("translate", "train", "--corpus", tmp_path / "c", *common)
    assert outcome.code == 2
    assert outcome.sentences[0].startswith("`validation` must have at least one pair with text on both sides, but is")


@pytest.mark.parametrize("target", ["en", "eng", "de"])
def test_columns_that_are_not_there(run, trained: Path, tmp_path: Path, target: str):
    words = ("--corpus", trained / "pairs.tsv", "--source", "en", "--target", target, "--out", tmp_path / "m")
    outcome = run("translate", "train", *words, *WORD_UNITS)
    assert outcome.code == 2
    assert len(outcome.sentences) == 1
    said = {"en": "`target` must be another column than the source", "eng": "did you mean `en`?", "de": "`de` must be"}
    assert said[target] in outcome.sentences[0]


def test_tokenisers_that_are_none(run, trained: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    words = ("translate", "train", "--corpus", trained / "pairs.tsv", "--out", tmp_path / "m", *WORD_UNITS)
    finished = "must be the folder of a finished model, but is "
    for name, found in (("no", "no folder"), ("empty", "a folder without manifest.json (unfinished?)")):
        outcome = run(*words, "--tokenizer", tmp_path / name)
        assert (outcome.code, outcome.sentences) == (2, [f"`{tmp_path / name}` {finished}{found}."])
    artefact.save(tmp_path / "empty", "lm", settings={}, files={"weights.safetensors": b""}, facts={})
    outcome = run(*words, "--tokenizer", tmp_path / "empty")
    assert outcome.sentences == [f"`{tmp_path / 'empty'}` must hold a tokeniser, but is without one."]


@pytest.mark.parametrize("command", ["translate run", "tokenize encode", "tokenize decode"])
def test_standard_input_that_is_not_utf_8_is_named_by_its_line(run, trained: Path, command: str):
    outcome = run(*command.split(), "--model", trained / "model", "--batch-size", 1, stdin=b"4 5\nb\xffd\n6\n")
    assert (outcome.code, outcome.sentences) == (
        2, ["`line 2` must be UTF-8 text, but is not (byte 0xff) (standard input)."]
    )  # fmt: skip
    assert outcome.out.count("\n") == 1
    outcome = run(*command.split(), "--model", trained / "model", "b\udcffd")
    assert (outcome.code, outcome.sentences) == (2, ['`text` must be UTF-8 text, but is "b\\udcffd".'])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("4 five", 'be whole numbers separated by spaces, but is "4 five".'),
        ("4.0", 'be whole numbers separated by spaces, but is "4.0".'),
        ("-1", 'be below the size of the vocabulary, 39, but is "-1".'),
        ("39", 'be below the size of the vocabulary, 39, but is "39".'),
        ("9" * 5000, f'be whole numbers separated by spaces, but is "{"9" * 80}".'),
    ],
)
def test_ids_that_are_none(run, trained: Path, line: str, said: str):
    outcome = run("tokenize", "decode", "--model", trained / "model", stdin=line.encode())
    assert (outcome.code, outcome.sentences) == (2, [f"`ids` must {said}"])


@pytest.mark.parametrize("command", ["translate run", "translate evaluate", "tokenize encode"])
def test_a_model_of_another_stage_or_a_newer_version(run, trained: Path, model: Path, command: str):
    corpus = ("--corpus", trained / "pairs.tsv") if "evaluate" in command else ("text",)
    if "translate" in command:
        outcome = run(*command.split(), "--model", trained / "units", *corpus)
        said = "must be a model of the stage `translate`, but is one of `tokenize`."
        assert (outcome.code, outcome.sentences) == (2, [f"`{trained / 'units'}` {said}"])
    manifest = json.loads((model / MANIFEST).read_bytes()) | {"format": 2, "nlpseq": "7.0.0"}
    (model / MANIFEST).write_text(json.dumps(manifest))
    outcome = run(*command.split(), "--model", model, *corpus)
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert "must have a format of at most 1 (this is nlpseq 0." in outcome.sentences[0]
    assert "but is 2, written by nlpseq 7.0.0" in outcome.sentences[0]


ROLES = ["manifest.json", "tokenizer.json", "weights.safetensors"]


def place(model: Path, role: str) -> Path:
    return next(path for path in model.glob("*.*") if path.name.startswith((role, f"{role.partition('.')[0]}-")))


@pytest.mark.parametrize("role", ROLES)
def test_a_damaged_file_of_a_model_is_named(run, model: Path, role: str):
    path = place(model, role)
    content = path.read_bytes()
    flipped = bytes([content[len(content) // 2] ^ 1])
    half = len(content) // 2
    for damage in (b"", content[:half], content[:half] + flipped + content[half + 1 :]):
        path.write_bytes(damage)
        outcome = run("translate", "run", "--model", model, "the cat")
        assert (outcome.code, outcome.out, len(outcome.sentences)) == (2, "", 1)
        assert outcome.sentences[0].startswith(f"`{path.name}` must ")
    path.unlink()
    outcome = run("translate", "run", "--model", model, "the cat")
    assert (outcome.code, len(outcome.sentences)) == (2, 1)


@pytest.mark.parametrize("with_its_hash", [False, True])
@pytest.mark.parametrize("role", [*ROLES, "subwords.model"])
def test_a_pickle_in_the_place_of_a_file_is_refused_and_never_executed(
    run, model: Path, tmp_path: Path, role: str, with_its_hash: bool
):
    content = pickle.dumps(Touch(tmp_path / "executed"))
    if role == "subwords.model":
        forge(model, "tokenizer.json", json.dumps({"settings": {"units": "bpe"}}).encode())
        forge(model, role, content)
    elif with_its_hash and role != MANIFEST:
        forge(model, role, content)
    else:
        place(model, role).write_bytes(content)
    outcome = run("translate", "run", "--model", model, "the cat")
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert not (tmp_path / "executed").exists()


def forge(model: Path, role: str, content: bytes) -> None:
    """Put a file in as somebody would who knows how the hashes are made."""
    manifest = json.loads((model / MANIFEST).read_bytes())
    files = {name: (model / entry["file"]).read_bytes() for name, entry in manifest["files"].items()}
    artefact.save(
        model, "translate", settings=manifest["settings"], files=files | {role: content}, facts=manifest["facts"]
    )


def test_a_pickle_in_the_place_of_the_log(run, trained: Path, model: Path, tmp_path: Path):
    (model / "metrics.jsonl").write_bytes(pickle.dumps(Touch(tmp_path / "executed")))
    outcome = run("translate", "evaluate", "--model", model, "--corpus", trained / "pairs.tsv", "--device", "cpu")
    assert outcome.code == 2
    assert "metrics.jsonl` must hold one JSON object per line" in outcome.sentences[0]
    assert not (tmp_path / "executed").exists()


def test_files_of_another_model(run, trained: Path, model: Path, tmp_path: Path):
    words = ("--corpus", trained / "pairs.tsv", "--max-steps", 1, "--hidden-size", 8, "--embed-size", 8, "--threads", 1)
    assert run("translate", "train", *words, *WORD_UNITS, "--out", tmp_path / "other").code == 0
    ours, theirs = place(model, "weights.safetensors"), place(tmp_path / "other", "weights.safetensors")
    content = ours.read_bytes()
    shutil.copy(theirs, ours)
    outcome = run("translate", "run", "--model", model, "the cat")
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert outcome.sentences[0].startswith(f"`{ours.name}` must have {len(content):,} bytes, but is ")
    ours.write_bytes(content)
    forge(model, "weights.safetensors", theirs.read_bytes())
    outcome = run("translate", "run", "--model", model, "the cat")
    assert outcome.sentences == [f"`{model}` must hold weights of the shapes that its settings give, but is others."]


def test_memory_that_does_not_suffice(run, trained: Path, monkeypatch: pytest.MonkeyPatch):
    import nlpseq.tokenizer

    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")):

        def exhausted(*arguments: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(nlpseq.tokenizer.Tokenizer, "load", exhausted)
        outcome = run("tokenize", "encode", "--model", trained / "units", "a")
        assert outcome.code == 1
        assert outcome.sentences[0].startswith("`memory` must suffice")


def test_a_fault_of_nlpseq_itself_is_not_hidden(run, monkeypatch: pytest.MonkeyPatch):
    import nlpseq.cards

    def broken() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(nlpseq.cards, "catalogue", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run("corpora", "list")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(run, trained: Path, tmp_path: Path):
    (tmp_path / "shut").mkdir(mode=0o500)
    outcome = run("translate", "train", "--corpus", trained / "pairs.tsv", "--out", tmp_path / "shut" / "m")
    said = "must be a folder that can be written, but is Permission denied."
    assert (outcome.code, outcome.sentences) == (2, [f"`{tmp_path / 'shut' / 'm'}` {said}"])


def test_an_output_that_is_a_file_or_a_foreign_folder(run, trained: Path, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("the user's")
    words = ("translate", "train", "--corpus", trained / "pairs.tsv", "--device", "cpu", "--out")
    outcome = run(*words, tmp_path / "thesis.tex")
    said = "must be a folder that can be written, but is a file."
    assert (outcome.code, outcome.sentences) == (2, [f"`{tmp_path / 'thesis.tex'}` {said}"])
    outcome = run(*words, tmp_path)
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert "one of nlpseq's (--replace takes no other), but is a folder with thesis.tex in it" in outcome.sentences[0]
    assert (tmp_path / "thesis.tex").read_text() == "the user's"


def test_a_hint_that_ends_a_sentence_is_a_question_without_a_full_stop():
    assert sentence("tags", "be a column", '"ents"; did you mean `entities`?', quote=False).endswith("`entities`?")
    assert sentence("tags", "be a column", "absent", quote=False).endswith("absent.")
