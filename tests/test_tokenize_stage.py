"""The tokenize stage: what it reads, what it leaves, and what it does when it is run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nlpseq.stages.tokenize
from nlpseq import Tokenizer, UsageError, configure, train_tokenizer
from nlpseq.errors import ArtefactError, CorpusError, WorkError
from nlpseq.settings import TokenizeConfig

TEXTS = [f"The {a} {b} over the {c} dog, {n} times." for n in range(4)
         for a in ("quick", "small", "red") for b in ("jumps", "looks") for c in ("lazy", "old", "big")]  # fmt: skip


def train(corpus: Path, out: Path, **options: object) -> Tokenizer:
    notes: list[str] = []
    tokenizer = train_tokenizer(
        configure(TokenizeConfig, corpus=str(corpus), out=str(out), **options), watch=lambda e: notes.append(e.text)
    )
    train.notes = notes  # type: ignore[attr-defined]
    return tokenizer


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "mine.txt").write_text("".join(f"{text}\n" for text in TEXTS), "utf-8")
    return tmp_path / "mine.txt"


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_bytes())


@pytest.mark.parametrize(("units", "size"), [("word", 100), ("unigram", 60), ("bpe", 60)])
def test_lines_of_text_in_each_kind_of_units(lines: Path, tmp_path: Path, units: str, size: int):
    tokenizer = train(lines, tmp_path / "m", units=units, vocab_size=size)
    loaded = Tokenizer.load(tmp_path / "m")
    text = "The small dog looks over the red dog, 3 times."
    assert len(loaded) == len(tokenizer) <= size
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.decode(loaded.encode(text)) == text.replace("3", "[NUM]")
    facts = manifest(tmp_path / "m")["facts"]
    assert facts["columns"] == ["text"]
    assert facts["coverage"].keys() == {"train", "validation", "test"}
    assert sum(one["rows"] for one in facts["coverage"].values()) == len(TEXTS)


def test_a_pair_of_columns(trained: Path):
    said = manifest(trained / "units")
    assert said["facts"]["columns"] == ["en", "fr"]
    assert said["facts"]["coverage"]["train"]["unknown"] == 0
    tokens = Tokenizer.load(trained / "units").tokens
    assert "[UNK]" not in tokens("the child") + tokens("l'enfant")


def table(folder: Path, *rows: str) -> Path:
    (folder / "mine.tsv").write_text("".join(f"{row}\n" for row in rows), "utf-8")
    return folder / "mine.tsv"


def test_a_text_column_beside_others(tmp_path: Path):
    path = table(tmp_path, "label\ttext\tbody", *(f"good\t{text}\tother words {n}" for n, text in enumerate(TEXTS)))
    assert "words" not in train(path, tmp_path / "default", units="word").tokens("quick")
    assert manifest(tmp_path / "default")["facts"]["columns"] == ["text"]
    named = train(path, tmp_path / "named", units="word", text="body")
    assert named.unknown(named.encode("other words quick")) == 1


def test_a_single_column_needs_no_name(tmp_path: Path):
    train(table(tmp_path, "utterance", *TEXTS), tmp_path / "m", units="word")
    assert manifest(tmp_path / "m")["facts"]["columns"] == ["utterance"]


def test_the_vocabulary_comes_from_train_alone(tmp_path: Path):
    (tmp_path / "c").mkdir()
    for split, word in (("train", "apple"), ("validation", "pear"), ("test", "plum")):
        (tmp_path / "c" / f"{split}.txt").write_text(f"an {word}\n" * 3)
    tokenizer = train(tmp_path / "c", tmp_path / "m", units="word")
    assert [tokenizer.unknown(tokenizer.encode(f"an {w}")) for w in ("apple", "pear", "plum")] == [0, 1, 1]
    shares = {name: one["unknown"] for name, one in manifest(tmp_path / "m")["facts"]["coverage"].items()}
    assert shares == {"train": 0, "validation": 3, "test": 3}
    assert "test: 3 rows, 6 tokens, [UNK] 50.00 %" in train.notes


def test_a_folder_that_cannot_be_finished_keeps_its_report_and_takes_the_next_run(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train(lines, tmp_path / "m", units="word")
    before = (tmp_path / "m" / "report.json").read_bytes()

    def full(*arguments: object, **options: object) -> None:
        raise WorkError("full")

    with monkeypatch.context() as patch:
        patch.setattr(nlpseq.stages.tokenize, "save", full)
        for folder in ("m", "new"):
            with pytest.raises(WorkError, match="full"):
                train(lines, tmp_path / folder, units="word", lowercase=True, replace=folder == "m")
    assert (tmp_path / "m" / "report.json").read_bytes() == before
    train(lines, tmp_path / "new", units="word", lowercase=True)
    assert not (tmp_path / "new" / "resume").exists()


def test_the_report_has_coverage_and_samples(lines: Path, tmp_path: Path):
    train(lines, tmp_path / "m", units="word")
    report = json.loads((tmp_path / "m" / "report.json").read_bytes())
    assert {"stage", "corpus", "split", "scores", "seconds", "machine", "versions"} <= report.keys()
    assert report["stage"] == "tokenize"
    assert report["counts"]["unknown_percent_train"] == 0.0
    page = (tmp_path / "m" / "report.html").read_text("utf-8")
    assert all(word in page for word in ("Coverage", "validation", "quick"))


def test_the_same_run_again_does_nothing_and_another_is_refused_until_it_replaces(lines: Path, tmp_path: Path):
    train(lines, tmp_path / "m", units="word")
    before = (tmp_path / "m" / "manifest.json").stat().st_mtime_ns
    train(lines, tmp_path / "m", units="word")
    assert train.notes == [f"{tmp_path / 'm'} holds this very run, finished; nothing to do."]
    assert (tmp_path / "m" / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(ArtefactError, match=r"no other run \(--replace .* is that of lowercase False instead of True"):
        train(lines, tmp_path / "m", units="word", lowercase=True)
    assert train(lines, tmp_path / "m", units="word", lowercase=True, replace=True).tokens("The") == ["the"]
    assert Tokenizer.load(tmp_path / "m").config.lowercase is True


def test_a_damaged_folder_is_not_said_to_be_finished(lines: Path, tmp_path: Path):
    train(lines, tmp_path / "m", units="word")
    (tokenizer,) = (tmp_path / "m").glob("tokenizer-*.json")
    tokenizer.write_bytes(tokenizer.read_bytes()[:-1])
    config = configure(TokenizeConfig, corpus=str(lines), out=str(tmp_path / "m"), units="word")
    notes: list[str] = []
    with pytest.raises(ArtefactError, match="must have"):
        train_tokenizer(config, watch=lambda event: notes.append(event.text))
    assert notes == []


def test_a_changed_corpus_is_another_run(lines: Path, tmp_path: Path):
    train(lines, tmp_path / "m", units="word")
    with open(lines, "a") as file:
        file.write("One more line.\n")
    with pytest.raises(ArtefactError, match=r"but is that of another text of the corpus"):
        train(lines, tmp_path / "m", units="word")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The training split of a corpus that has a name and no card."""
    monkeypatch.setenv("NLPSEQ_CORPORA", str(tmp_path / "mirror"))
    (tmp_path / "mirror" / "mine").mkdir(parents=True)
    return tmp_path / "mirror" / "mine" / "train.parquet"


def write_parquet(path: Path, texts: list[str]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)


def test_a_named_corpus_whose_mirror_has_changed_is_another_run(mirror: Path, tmp_path: Path):
    write_parquet(mirror, TEXTS)
    train(Path("mine"), tmp_path / "m", units="word")
    train(Path("mine"), tmp_path / "m", units="word")
    assert "finished; nothing to do" in train.notes[0]
    write_parquet(mirror, TEXTS[1:])
    with pytest.raises(ArtefactError, match=r"but is that of another text of the corpus"):
        train(Path("mine"), tmp_path / "m", units="word")


def test_a_wrong_column_is_told_and_then_does_not_stand_in_the_way(tmp_path: Path):
    path = table(tmp_path, "label\ttext", *(f"good\t{text}" for text in TEXTS))
    with pytest.raises(CorpusError, match=r"`txt` must be .*label, text.*did you mean `text`\?"):
        train(path, tmp_path / "m", units="word", text="txt")
    assert not (tmp_path / "m").exists()
    assert len(train(path, tmp_path / "m", units="word", text="text")) > 10


def test_a_vocabulary_that_is_too_small_for_the_characters(lines: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"`vocab_size` must be at least the number of .* but is 16"):
        train(lines, tmp_path / "m", vocab_size=16)
    assert not (tmp_path / "m" / "manifest.json").exists()


@pytest.mark.parametrize("units", ["word", "unigram"])
def test_a_corpus_without_any_word(tmp_path: Path, units: str):
    path = table(tmp_path, "text", *(" " * n for n in range(1, 9)))
    (tmp_path / "c").mkdir()
    path.rename(tmp_path / "c" / "train.tsv")
    (tmp_path / "c" / "test.tsv").write_text("text\nwords\n")  # so nothing is cut
    with pytest.raises(CorpusError, match=r"`train` must have text to learn (sub)?words from, but is empty"):
        train(tmp_path / "c", tmp_path / "m", units=units)


def test_the_command_says_what_it_learns_and_gives_nothing_on_standard_output(run, lines: Path, tmp_path: Path):
    outcome = run("tokenize", "train", "--corpus", lines, "--out", tmp_path / "m", "--units", "word")
    assert (outcome.code, outcome.out) == (0, "")
    assert "Learning word units from mine.txt (text)." in outcome.err


def test_bad_lines_are_named(tmp_path: Path):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"one line\nanother \xff line\n" + "".join(f"{t}\n" for t in TEXTS).encode())
    with pytest.raises(CorpusError, match=r"`mine\.txt` must be UTF-8 text, but is not \(byte 0xff.* line 2\)"):
        train(path, tmp_path / "m", units="word")
