"""The ner stage in its folder: finished, stopped, resumed, refused; its report; and that it learns."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_TAGGER, state_folder

from nlpseq import NerConfig, Tagger, configure, loop, train_ner
from nlpseq.artefact import MANIFEST
from nlpseq.errors import ArtefactError
from nlpseq.ner_report import ner_report
from nlpseq.settings import TagConfig
from nlpseq.stages.ner import TaggingTask
from nlpseq.tagged import Sentence, Tally, open_tagged
from nlpseq.tagged_ids import build_lexicon, encode_tagged
from nlpseq.tagger import build_network
from nlpseq.tags import Span, spans


def small(corpus: Path | str, out: Path, **options: object) -> NerConfig:
    return configure(NerConfig, corpus=str(corpus), out=str(out), **(SMALL_TAGGER | {"save_minutes": 0.0} | options))


def words(corpus: Path | str, out: Path, **options: object) -> list[str]:
    given = SMALL_TAGGER | {"max_steps": 2} | options
    named = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return ["ner", "train", "--corpus", str(corpus), "--out", str(out), *named]


def weights(folder: Path) -> str:
    return json.loads((folder / MANIFEST).read_bytes())["files"]["weights.safetensors"]["sha256"]


class Stop(Exception):
    """A kill, as far as a test in the same process can have one."""


def test_a_finished_folder_has_the_model_its_report_and_its_log_and_nothing_else(tagged: Path):
    names = sorted(re.sub(r"-[0-9a-f]{12}\.", ".", path.name) for path in (tagged / "model").iterdir())
    own = ["lexicon.json", "manifest.json", "metrics.jsonl", "report.html", "report.json", "weights.safetensors"]
    assert names == [".lock", *own]


def test_facts_tell_what_the_model_was_made_of(tagged: Path):
    facts = json.loads((tagged / "model" / MANIFEST).read_bytes())["facts"]
    expected = {
        "corpus": "corpus",
        "tokens": "tokens",
        "tags": "tags",
        "scheme": "iob2",
        "types": ["LOC", "ORG", "PER"],
    }
    assert facts | expected == facts
    assert (facts["train"]["rows"], facts["validation"]["sentences"], facts["train"]["illegal"]) == (120, 40, 0)
    assert 0.2 <= facts["temperature"] <= 12
    model = Tagger.load(tagged / "model").model
    assert facts["parameters"] == sum(p.numel() for p in model.parameters())


def test_a_stopped_run_goes_on_to_the_same_weights(tagged: Path, tmp_path: Path):
    def stop(event: loop.Event) -> None:
        if event.kind == "saved" and event.step >= 4:
            raise Stop

    folder, options = tmp_path / "m", {"max_steps": 10, "evaluate_steps": 2}
    train_ner(small(tagged / "corpus", tmp_path / "whole", **options))
    with pytest.raises(Stop):
        train_ner(small(tagged / "corpus", folder, **options), watch=stop)
    assert (state_folder(folder) / "state.pt").exists()
    lexicon = next((state_folder(folder) / "lexicon").glob("lexicon-*.json"))
    content = lexicon.read_bytes()
    lexicon.write_bytes(content[:-1] + b" ")
    with pytest.raises(ArtefactError, match=r"must have the SHA-256 that manifest\.json gives"):
        train_ner(small(tagged / "corpus", folder, **options))
    lexicon.write_bytes(content)
    steps = []
    watch = lambda event: steps.append(event.step) if event.kind == "resumed" else None  # noqa: E731
    train_ner(small(tagged / "corpus", folder, **options), watch=watch)
    assert len(steps) == 1
    assert weights(folder) == weights(tmp_path / "whole")
    before = (folder / MANIFEST).stat().st_mtime_ns
    train_ner(small(tagged / "corpus", folder, **options))
    assert (folder / MANIFEST).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "options",
    [
        {"characters": "lstm", "output": "legal", "cell": "gru", "layers": 2},
        {"characters": "none", "output": "softmax", "cell": "rnn", "metric": "loss", "word_dropout": 0.0},
        {"adversarial": 0.1, "optimizer": "sgd", "learning_rate": 1.0},
    ],
    ids=str,
)
def test_other_settings_train_and_load(tagged: Path, tmp_path: Path, options: dict[str, object]):
    trained = train_ner(small(tagged / "corpus", tmp_path / "m", max_steps=2, **options))
    texts = ["Jordan beat Lincoln 3-1 on Monday."]
    assert Tagger.load(tmp_path / "m").tag_fully(texts) == trained.tag_fully(texts)


def test_adversarial_training_is_asked_for_by_its_setting(tagged: Path, tmp_path: Path):
    for share in (0.0, 0.1):
        train_ner(small(tagged / "corpus", tmp_path / str(share), max_steps=1, adversarial=share))
    assert weights(tmp_path / "0.0") != weights(tmp_path / "0.1")


@pytest.mark.parametrize(("nats", "said"), [(1.25, "O is lowered by 1.25 nats"), (-0.5, "O is raised by 0.5 nats")])
def test_a_training_says_which_way_o_is_moved(tagged: Path, tmp_path: Path, monkeypatch, nats: float, said: str):
    monkeypatch.setattr("nlpseq.stages.ner.fit_outside_penalty", lambda tagger, held: nats)
    events: list[loop.Event] = []
    trained = train_ner(small(tagged / "corpus", tmp_path / "m", max_steps=1), watch=events.append)
    assert any(said in str(event) for event in events)
    assert trained.outside_penalty == nats


def test_given_vectors_are_taken_and_those_of_unseen_words_are_kept(tagged: Path, tmp_path: Path):
    lines = ["said 1 2", "unheard -1 3", "monday 0.5 0.25"]
    (tmp_path / "v.txt").write_text("3 2\n" + "\n".join(lines) + "\n")
    common = {"max_steps": 10, "warmup_steps": 0, "embed_size": 2, "embeddings": str(tmp_path / "v.txt")}
    frozen = train_ner(small(tagged / "corpus", tmp_path / "a", freeze=True, **common))
    rows = torch.tensor([[frozen.lexicon.row(word) for word in ("Said", "Unheard", "MONDAY")]])
    expected = torch.tensor([[1.0, 2.0], [-1.0, 3.0], [0.5, 0.25]])
    torch.testing.assert_close(frozen.model.vectors(rows)[0], expected)
    assert frozen.facts["embeddings"]["further"] == 1
    untrained = train_ner(small(tagged / "corpus", tmp_path / "d", freeze=True, **(common | {"learning_rate": 1e-9})))
    for word in ("that", "never-seen"):  # without a vector, and [UNK]
        row = frozen.lexicon.row(word)
        assert frozen.model.paces[row] == 1
        assert not torch.allclose(frozen.model.words.weight[row], untrained.model.words.weight[row], atol=1e-4)
    tuned = train_ner(small(tagged / "corpus", tmp_path / "b", extra_words=0, **common))
    assert not torch.equal(tuned.model.vectors(rows[:, :1])[0], expected[:1])
    slow = train_ner(small(tagged / "corpus", tmp_path / "c", pace=0.01, **common))
    moved, hardly = ((one.model.vectors(rows[:, :1])[0, 0] - expected[0]).norm() for one in (tuned, slow))
    assert 0 < hardly < moved / 20
    assert tuned.lexicon.row("unheard") == 1  # [UNK]
    assert tuned.facts["embeddings"]["further"] == 0


def test_given_vectors_stand_in_the_model_and_in_no_saved_state(tagged: Path, tmp_path: Path):
    def stop(event: loop.Event) -> None:
        if event.kind == "saved":
            raise Stop

    (tmp_path / "v.txt").write_text("2 2\nsaid 1 2\nunheard -1 3\n")
    options = {"max_steps": 8, "evaluate_steps": 2, "embed_size": 2, "embeddings": str(tmp_path / "v.txt")}
    whole = train_ner(small(tagged / "corpus", tmp_path / "whole", **options))
    with pytest.raises(Stop):
        train_ner(small(tagged / "corpus", tmp_path / "m", **options), watch=stop)
    held = (state_folder(tmp_path / "m") / "state.pt").read_bytes()[:-32]
    state = torch.load(io.BytesIO(held), weights_only=True)
    assert "words.weight" in state["model"]
    assert "given" not in state["model"] | state["best_weights"]
    resumed = train_ner(small(tagged / "corpus", tmp_path / "m", **options))
    assert weights(tmp_path / "m") == weights(tmp_path / "whole")
    assert resumed.model.given[whole.lexicon.row("unheard")].tolist() == [-1, 3]


def test_a_batch_has_each_distinct_word_once_and_the_tags_of_its_tokens(tmp_path: Path):
    people = Sentence(["Ada", "saw", "Ada"], [Span("PER", 0, 1), Span("PER", 2, 3)])
    read = [people, Sentence(["New", "Rome"], [Span("LOC", 0, 2)])]
    lexicon = build_lexicon(read)
    data = encode_tagged(iter(read), Tally(2), lexicon=lexicon, path=tmp_path / "t", longest=9)
    config = configure(NerConfig, corpus="c", out="o", hidden_size=4, embed_size=4)
    task = TaggingTask(build_network(config, lexicon), data, 100, 1, np.zeros(len(lexicon.words), np.float32))
    batch = task.batch(np.array([1, 0]))
    assert batch.lengths.tolist() == [2, 3]
    assert len(batch.characters) == 4
    letters = [
        lexicon.characters.decode(row[:size]) for row, size in zip(batch.characters.tolist(), batch.sizes, strict=True)
    ]
    assert ["".join(letters[place]) for place in batch.spellings[1]] == ["Ada", "saw", "Ada"]
    assert lexicon.words.decode(batch.words[0, :2].tolist()) == ["new", "rome"]
    assert [lexicon.tags[tag] for tag in batch.tags[1]] == ["S-PER", "O", "S-PER"]
    again = encode_tagged(iter([]), Tally(), lexicon=lexicon, path=tmp_path / "t", longest=9)
    assert again.counts == data.counts
    (tmp_path / "t.tags.ids").write_bytes(b"\1" * 20)
    remade = encode_tagged(iter(read), Tally(2), lexicon=lexicon, path=tmp_path / "t", longest=9)
    assert remade.tags.ids.tolist() == data.tags.ids.tolist()


def test_loss_is_the_same_whatever_stands_beside_a_sentence(tmp_path: Path):
    read = [Sentence(["Ada"] * n, [Span("PER", 0, n)]) for n in (1, 3, 7)]
    lexicon = build_lexicon(read)
    data = encode_tagged(iter(read), Tally(3), lexicon=lexicon, path=tmp_path / "t", longest=9)
    for output in ("crf", "legal"):
        config = configure(NerConfig, corpus="c", out="o", hidden_size=4, embed_size=4, output=output)
        task = TaggingTask(build_network(config, lexicon).eval(), data, 99, 1, np.zeros(len(lexicon.words), np.float32))
        whole, _, tokens = task.loss(task.batch(np.array([0, 1, 2])))
        single = [task.loss(task.batch(np.array([n])))[0] for n in range(3)]
        torch.testing.assert_close(whole, torch.stack(single).sum())
        assert tokens == 11


def test_the_report_has_what_a_reader_needs(tagged: Path, run, tmp_path: Path):
    outcome = run(
        "ner", "evaluate", "--model", tagged / "model", "--corpus", tagged / "corpus", "--out", tmp_path / "r"
    )
    assert outcome.code == 0
    for name in (
        "f1 ",
        "f1_strict",
        "ece ",
        "ece_uncalibrated",
        "recall_unseen",
        "f1_commonest_tag",
        "words_per_second",
    ):
        assert name in outcome.out
    page, report = (
        (tmp_path / "r" / "report.html").read_text(),
        json.loads((tmp_path / "r" / "report.json").read_text()),
    )
    for title in (
        "Calibration",
        "Types",
        "Confusion of types",
        "Recall by what the training split has",
        "Worst sentences",
    ):
        assert title in page
    assert report["scores"]["f1"]["signature"].startswith("rules:conlleval|")
    assert report["counts"]["sentences"] == 40
    trained = json.loads((tagged / "model" / "report.json").read_text())
    assert trained["scores"] == report["scores"]


def test_unseen_entities_have_a_word_that_train_lacks(tagged: Path, run, tmp_path: Path):
    tagger = Tagger.load(tagged / "model")
    first, second = sorted({name for names in tagger.lexicon.entities.values() for name in names if " " not in name})[
        :2
    ]
    assert tagger.lexicon.saw(first.upper())
    rows = [f"{first} B-PER\n{second} I-PER\n", f"{first} B-PER\nZyxw I-PER\n", f"{first} B-PER\n"] * 2
    (tmp_path / "a.conll").write_text("\n".join(rows))
    run("ner", "evaluate", "--model", tagged / "model", "--corpus", tmp_path / "a.conll", "--split", "all",
        "--out", tmp_path / "r")  # fmt: skip
    scores = json.loads((tmp_path / "r" / "report.json").read_text())["scores"]
    assert (scores["recall_unseen_whole"]["n"], scores["recall_unseen"]["n"]) == (4, 2)


def test_a_tagger_that_finds_nothing_has_no_calibration_error(tagged: Path):
    tagger = Tagger.load(tagged / "model", device="cpu")
    with torch.no_grad():
        tagger.model.output.bias[0] += 1e3
    source = open_tagged(str(tagged / "corpus"), TagConfig())
    held = [Sentence(["Ada", "left"], [Span("PER", 0, 1)])]
    report = ner_report(tagger, source, "test", read=lambda name, tally: iter(held))
    assert report.scores["f1"].value == 0
    assert not {"ece", "ece_uncalibrated"} & report.scores.keys()


def test_steps_are_counted_in_tokens(tagged: Path, tmp_path: Path):
    events: list[loop.Event] = []
    train_ner(small(tagged / "corpus", tmp_path / "m", max_steps=1), watch=events.append)
    assert {event.counted for event in events if event.kind == "step"} == {"token"}


def test_an_unknown_tag_at_evaluation_is_one_sentence(tagged: Path, run, tmp_path: Path):
    (tmp_path / "a.conll").write_text("Ada B-MISC\n\nb O\n\nc O\n")
    common = ("ner", "evaluate", "--model", tagged / "model", "--corpus", tmp_path / "a.conll", "--split", "all",
              "--out", tmp_path / "r")  # fmt: skip
    outcome = run(*common)
    said = '`tags` must be of the types of the training (LOC, ORG, PER), but is "MISC" (a.conll, all; --illegal repair'
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert outcome.sentences[0].startswith(said)
    (tmp_path / "a.conll").write_text("Ada I-PER\nx B-PER\n\nb O\n\nc I-LOC\nd I-PER\n")
    outcome = run(*common, "--scheme", "iob2")
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert "not so in 3 place(s), the first: I-PER behind the start of a sentence" in outcome.sentences[0]
    outcome = run(*common, "--scheme", "iob2", "--illegal", "repair")
    assert (outcome.code, outcome.sentences) == (0, [])
    assert "illegal_repaired: 3" in outcome.out


def test_an_evaluation_reads_as_the_training_did_unless_it_is_told_otherwise(run, tmp_path: Path):
    path = tmp_path / "a.conll"
    path.write_text("".join(f"B-PER x Ada{n}\nI-LOC x Rome\nO x left\n\n" for n in range(9)))
    options = {"tokens": 3, "tags": 1, "scheme": "iob2", "illegal": "repair"}
    assert run(*words(path, tmp_path / "m", **options)).code == 0
    common = ("ner", "evaluate", "--model", tmp_path / "m", "--corpus", path, "--split", "all")
    outcome = run(*common)
    assert (outcome.code, outcome.sentences) == (0, [])
    assert "illegal_repaired: 9" in outcome.out
    assert "not so in 9 place(s), the first: I-LOC behind B-PER" in run(*common, "--illegal", "refuse").sentences[0]
    assert 'one is "x"' in run(*common, "--tags", 2).sentences[0]


def test_faults_of_a_corpus_are_sentences_and_leave_nothing_behind(run, tmp_path: Path):
    good = "".join(f"Ada{n} B-PER\nleft O\n\n" for n in range(9))
    cases = {
        "a B-X\nb\n": "must have 2 columns in every line, but has 1",
        "a O\n\nb O\n\nc O\n": "`train` must have at least one entity, but is without one",
        "a B-X\nb O\n": "must have at least 3 different rows",
        "a X\n\n" + good: 'must be O, or B-, I-, E- or S- with a type, but one is "X"',
        "a I-X\nb B-Y\nc I-Z\n\n" + good: "must be legal IOB2",
        "": "must hold text, but is empty",
    }
    for text, said in cases.items():
        (tmp_path / "a.conll").write_text(text)
        outcome = run(*words(tmp_path / "a.conll", tmp_path / "m"))
        assert (outcome.code, len(outcome.sentences)) == (2, 1), text
        assert said in outcome.sentences[0]
        assert not (tmp_path / "m").exists()


def test_a_type_that_train_lacks_is_missed_where_nlpseq_cut_the_file_or_is_asked_to_repair(run, tmp_path: Path):
    good = "".join(f"Ada{n} B-PER\nleft O\n\n" for n in range(60))
    (tmp_path / "a.conll").write_text("a B-Y\nb O\nc O\n\n" + good)  # which its hash puts into test
    outcome = run(*words(tmp_path / "a.conll", tmp_path / "m"))
    assert (outcome.code, outcome.sentences) == (0, [])
    assert "test: 1 entities of types that train lacks, counted as missed" in outcome.err
    common = ("ner", "evaluate", "--model", tmp_path / "m", "--corpus", tmp_path / "a.conll")
    assert "entities_of_other_types: 1" in run(*common, "--split", "test").out
    said = (
        '`tags` must be of the types of the training (PER), but is "Y" '
        "(a.conll, all; --illegal repair counts such entities as missed)."
    )
    assert run(*common, "--split", "all").sentences == [said]
    assert "entities_of_other_types: 1" in run(*common, "--split", "all", "--illegal", "repair").out
    (tmp_path / "c").mkdir()
    for name, text in (("train", good), ("validation", good), ("test", good + "a B-Y\n")):
        (tmp_path / "c" / f"{name}.conll").write_text(text)
    assert '"Y" (c, test; ' in run(*words(tmp_path / "c", tmp_path / "n")).sentences[0]
    assert run(*words(tmp_path / "c", tmp_path / "n", illegal="repair")).code == 0


def test_empty_sentences_long_ones_and_endless_words_are_counted_and_nothing_is_lost(run, tmp_path: Path):
    (tmp_path / "c").mkdir()
    row = {"tokens": ["Ada", "left"], "tags": ["B-PER", "O"]}
    rows = [row, {"tokens": [], "tags": []}, {"tokens": ["a", "."] * 30 + ["b" * 10_000], "tags": ["O"] * 61}]
    for name in ("train", "validation"):
        (tmp_path / "c" / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    outcome = run(*words(tmp_path / "c", tmp_path / "m", max_length=20))
    assert (outcome.code, outcome.sentences) == (0, [])
    assert "train: 5 sentences, 1 empty left out, 1 cut into pieces; 63 tokens, 1 entities" in outcome.err
    assert "illegal" not in outcome.err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--freeze", "`freeze` must be given with --embeddings, but is alone (option --freeze)."),
        ("--pace 0.5", "`pace` must be given with --embeddings, but is alone (option --pace)."),
        (
            "--characters none --character-dropout 0.5",
            "`character_dropout` must be left out where characters is none, but is given (option --character-dropout).",
        ),
        ("--extra-words 3", "`extra_words` must be given with --embeddings, but is alone (option --extra-words)."),
        ("--output hmm", '`output` must be one of crf, legal, softmax, but is "hmm" (option --output).'),
    ],
)
def test_settings_that_cannot_be(run, tmp_path: Path, option: str, said: str):
    outcome = run("ner", "train", "--corpus", "newswire", "--out", tmp_path / "m", *option.split())
    assert (outcome.code, outcome.sentences) == (2, [said])


@pytest.mark.parametrize("characters", ["cnn", "none"])
def test_context_is_learnt_and_characters_save_unseen_names(tmp_path: Path, characters: str):
    """Only the word before tells the type of a name, and only its letters that an unseen one is a name."""
    draw = np.random.default_rng(4)

    def rows(number: int) -> list[dict[str, list[str]]]:
        made = []
        for _ in range(number):
            name = "".join(draw.choice(list("aeioubdgklmnrst"), 6)).capitalize()
            cue, kind = [("in", "LOC"), ("said", "PER")][draw.integers(2)]
            name, kind = (name, kind) if draw.random() < 0.5 else (name.lower(), "O")
            made.append(
                {"tokens": ["then", cue, name, "left"], "tags": ["O", "O", "O" if kind == "O" else f"B-{kind}", "O"]}
            )
        return made

    (tmp_path / "c").mkdir()
    for name, number in (("train", 400), ("validation", 50), ("test", 100)):
        (tmp_path / "c" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(number)))
    options = {
        "max_steps": 120,
        "learning_rate": 0.02,
        "word_dropout": 9.0,
        "warmup_steps": 10,
        "dropout": 0.1,
        "layer_dropout": 0.1,
    }
    options |= {"characters": characters, "evaluate_steps": 120}
    trained = train_ner(small(tmp_path / "c", tmp_path / "m", **options))
    held = [json.loads(line) for line in (tmp_path / "c" / "test.jsonl").read_text().splitlines()]
    found = trained.tag_tokens([row["tokens"] for row in held])
    right = sum(spans(one.tags) == spans(row["tags"]) for one, row in zip(found, held, strict=True))
    assert right < 70 if characters == "none" else right > 90, right
