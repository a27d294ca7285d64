"""A trained tagger: its neighbours never change what is found, spans are the text's, confidences are probabilities."""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
from pathlib import Path

import pytest
import torch

from nlpseq import Tagger, load_corpus
from nlpseq.artefact import digest_of
from nlpseq.config import configure
from nlpseq.errors import ArtefactError, UsageError, WorkError
from nlpseq.ner_report import fit_outside_penalty, fit_span_temperature
from nlpseq.settings import NerConfig
from nlpseq.tagged import Sentence
from nlpseq.tagged_files import write_tagged
from nlpseq.tagged_ids import Lexicon
from nlpseq.tagger import LONGEST, ROWS, build_network
from nlpseq.tags import illegal_places, spans, to_tags
from nlpseq.vocab import SPECIALS, UNK

WORDS = ["Ada", "Lee", "lives", "in", "Rome", ".", "3.5", "ünïcode", "x" * 60]


def random_tagger(**settings: object) -> Tagger:
    """A tagger with random weights, large ones: trained margins would hide what neighbours do."""
    options = {"hidden_size": 24, "embed_size": 16, "character_size": 8, "character_features": 60}
    options |= {"embeddings": "v"} | settings
    config = configure(NerConfig, corpus="c", out="o", **options)
    lexicon = Lexicon(
        [*SPECIALS, "ada", "in", "rome", "lee"], [1] * 8, [*SPECIALS, *"adrileomn."], {"PER": ["Ada"], "LOC": ["Rome"]}
    )
    torch.manual_seed(5)
    model = build_network(config, lexicon)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.7)
    torch.nn.init.normal_(model.given)
    model.paces[:8] = 0.5
    return Tagger(model, lexicon, config=config, facts={"temperature": 1.3})


def drawn(number: int = 150) -> list[list[str]]:
    draw = random.Random(2)
    return [draw.choices(WORDS, k=draw.choice([1, 1, 2, 3, 5, 8, 9, 16, 17, 40])) for _ in range(number)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"characters": "lstm", "output": "legal", "layers": 2},
        {"characters": "none", "output": "softmax", "cell": "gru"},
    ],
    ids=str,
)
def test_neighbours_and_order_and_threads_and_autocast_change_nothing(settings: dict[str, object], threads: int):
    tagger = random_tagger(**settings)
    sentences = drawn()
    torch.set_num_threads(1)
    by_one = tagger.tag_tokens(sentences)
    torch.set_num_threads(threads)
    with torch.autocast("cpu", torch.bfloat16):
        assert tagger.tag_tokens(sentences) == by_one
    together = tagger.tag_tokens(sentences)
    assert together == by_one
    order = random.Random(3).sample(range(len(sentences)), len(sentences))
    shuffled = tagger.tag_tokens([sentences[place] for place in order])
    assert [shuffled[order.index(place)] for place in range(len(sentences))] == together
    for place in range(0, len(sentences), 7):
        assert tagger.tag_tokens(sentences[place : place + 1]) == together[place : place + 1]
        assert tagger.tag_tokens(sentences[place : place + ROWS["cpu"] + 1])[0] == together[place]


def test_lattices_are_no_larger_than_their_bound_and_that_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    tagger, sentences = random_tagger(), drawn()
    whole, sizes = tagger.tag_tokens(sentences), [len(group) for group, _ in tagger.lattices(sentences)]
    monkeypatch.setattr("nlpseq.tagger._SCORES", 1)  # so one step each
    assert tagger.tag_tokens(sentences) == whole
    assert max(len(group) for group, _ in tagger.lattices(sentences)) == ROWS["cpu"] < max(sizes)


def test_spans_are_those_of_the_original_text(tagged: Path):
    tagger = Tagger.load(tagged / "model", device="cpu")
    texts = [
        "  Jordan  told\treporters , that Lincoln's bank\u200b lost 2.5 % .",
        "",
        " \n",
        "Cafe\u0301 Jordan 👍🏽 left",
    ]
    for text, found in zip(texts, tagger.tag_fully(texts), strict=True):
        assert (found.text, len(found.tokens)) == (text, len(found.tags))
        for entity in found.entities:
            assert text[entity.start : entity.end] == entity.text
            assert 0 <= entity.confidence <= 1
    assert tagger.tag(["", " "]) == [[], []]


def test_spans_of_tokens_are_those_of_the_tokens_with_spaces():
    tagger = random_tagger()
    for found in tagger.tag_tokens(drawn()):
        assert found.text == " ".join(found.tokens)
        for entity in found.entities:
            assert entity.text == " ".join(found.tokens[entity.first : entity.last + 1])
            assert entity.text == found.text[entity.start : entity.end]


def test_tags_are_legal_unless_softmax_takes_each_by_itself():
    for output, legal in (("crf", True), ("legal", True), ("softmax", False)):
        found = random_tagger(output=output).tag_tokens(drawn(40))
        assert all(not illegal_places(one.tags, "iobes") for one in found) == legal


@pytest.mark.parametrize("output", ["crf", "legal", "softmax"])
def test_a_confidence_is_the_share_of_the_legal_paths_that_have_the_span(output: str):
    tagger = random_tagger(output=output)
    tags, seen = tagger.lexicon.tags, 0
    for tokens in [["Ada"], ["Ada", "Lee"], ["in", "Rome", "Lee"], ["Lee", "Ada", "in"], ["Rome", "x", "Lee"]]:
        ((_, lattice),) = tagger.lattices([tokens])
        cooled = lattice.cooled(1.3)
        weights: dict[tuple[int, ...], float] = {}
        for path in itertools.product(range(len(tags)), repeat=len(tokens)):
            if illegal_places([tags[tag] for tag in path], "iobes"):
                continue
            score = float(cooled.starts[path[0]] + cooled.ends[path[-1]])
            score += sum(float(cooled.emissions[0, place, tag]) for place, tag in enumerate(path))
            score += sum(float(cooled.transitions[a, b]) for a, b in itertools.pairwise(path))
            weights[path] = math.exp(score)
        (found,) = tagger.tag_tokens([tokens])
        legal = to_tags(spans(found.tags), len(tokens), "iobes")
        for entity in found.entities:
            wanted = [tags.index(tag) for tag in legal[entity.first : entity.last + 1]]
            share = sum(w for path, w in weights.items() if list(path[entity.first : entity.last + 1]) == wanted)
            assert entity.confidence == pytest.approx(share / sum(weights.values()), abs=1e-4)
            seen += 1
    assert seen


def test_entities_are_those_that_the_tags_mark_also_of_a_sentence_in_pieces(monkeypatch):
    monkeypatch.setattr("nlpseq.tagger.LONGEST", 8)
    tagger, draw = random_tagger(output="softmax"), random.Random(8)
    for found in tagger.tag_tokens([draw.choices(WORDS, k=60) for _ in range(20)]):
        assert found.cut
        assert [(one.type, one.first, one.last + 1) for one in found.entities] == spans(found.tags)


def test_a_temperature_changes_confidences_and_no_tag():
    tagger = random_tagger()
    cold, warm = tagger.at(temperature=1.0).tag_tokens(drawn(60)), tagger.at(temperature=6.0).tag_tokens(drawn(60))
    assert [one.tags for one in cold] == [one.tags for one in warm]
    sure = [sum(entity.confidence for one in found for entity in one.entities) for found in (cold, warm)]
    assert sure[0] > sure[1] > 0


@pytest.mark.parametrize("output", ["crf", "legal", "softmax"])
def test_a_penalty_on_outside_finds_more_and_changes_no_confidence(output: str):
    tagger = random_tagger(output=output)
    found = [each.tag_tokens(drawn(60)) for each in (tagger, tagger.at(outside_penalty=3.0))]
    sure = [
        {
            (n, entity.type, entity.first, entity.last): entity.confidence
            for n, e in enumerate(each)
            for entity in e.entities
        }
        for each in found
    ]
    both = sure[0].keys() & sure[1].keys()
    assert len(sure[1]) > 1.05 * len(sure[0])
    assert len(both) > 0.5 * len(sure[0])
    assert {place: sure[0][place] for place in both} == {place: sure[1][place] for place in both}


@pytest.mark.parametrize("output", ["crf", "softmax"])
@pytest.mark.parametrize("penalty", [-0.5, 0.0, 1.5])
def test_the_penalty_on_outside_is_the_one_with_the_highest_f1(penalty: float, output: str):
    tagger = random_tagger(output=output)
    held = [
        Sentence(one.tokens, spans(one.tags))
        for one in tagger.at(outside_penalty=penalty).tag_tokens([*drawn(), WORDS * LONGEST])
    ]
    assert fit_outside_penalty(tagger, held) == penalty


def test_one_sentence_asks_for_no_penalty_on_outside():
    """Of two imagined entities more the penalty would have to be right, or one name would choose it."""
    tagger = random_tagger()
    plain, eager = (each.tag_tokens(drawn(60)) for each in (tagger, tagger.at(outside_penalty=1.0)))
    other = next(two for one, two in zip(plain, eager, strict=True) if len(two.entities) == len(one.entities) + 1)
    assert fit_outside_penalty(tagger, [Sentence(other.tokens, spans(other.tags))]) == 0.0
    assert fit_outside_penalty(tagger, []) == 0.0


def test_a_saved_penalty_is_that_of_the_tagger_that_is_loaded(tagged: Path, tmp_path: Path):
    folder = shutil.copytree(tagged / "model", tmp_path / "m")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["facts"]["outside_penalty"] = -50.0
    (folder / "manifest.json").write_text(json.dumps(manifest | {"sha256": digest_of(manifest)}))
    sentences = drawn(20)
    counts = [
        sum(len(one.entities) for one in Tagger.load(path).tag_tokens(sentences)) for path in (tagged / "model", folder)
    ]
    assert counts[0] > counts[1] == 0


def test_a_handful_of_right_answers_makes_no_certainty():
    """Without imagined answers the lowest temperature that is searched, 0.2, would be the likeliest."""
    tagger = random_tagger()
    held = [Sentence(one.tokens, spans(one.tags)) for one in tagger.tag_tokens(drawn(5))]
    assert 10 < sum(len(one.entities) for one in held) < 40
    assert fit_span_temperature(tagger, held) > 0.3
    assert fit_span_temperature(tagger, []) == 1.0


def test_an_endless_sentence_and_an_endless_word_are_read_and_nothing_is_lost():
    tagger = random_tagger()
    tokens = ["Ada", "in"] * LONGEST + ["y" * 10_000]
    (found,) = tagger.tag_tokens([tokens])
    assert found.cut
    assert (len(found.tags), found.tokens) == (len(tokens), tokens)
    assert [entity.last - entity.first + 1 for entity in found.entities] == [
        one.end - one.start for one in spans(found.tags)
    ]
    assert not tagger.tag_tokens([["Ada"]])[0].cut


def test_a_word_is_looked_up_as_it_stands_then_in_lowercase_then_as_a_number():
    words = [*SPECIALS, "Rome", "rome", "ada"]
    lexicon = Lexicon(words, [1] * len(words), SPECIALS, {})
    found = [
        lexicon.words.words[lexicon.row(token)] for token in ("Rome", "ROME", "Ada", "1,000", "http://a.org", "zzz")
    ]
    assert found == ["Rome", "rome", "ada", "[NUM]", "[URL]", "[UNK]"]
    assert {lexicon.row(token) for token in SPECIALS} == {UNK}  # typed ones are words as any other
    assert len(lexicon.spelling("y" * 10_000)) == 41
    assert lexicon.spelling("Cafe\u0301") == lexicon.spelling("Caf\u00e9")


def test_texts_must_be_lists():
    tagger = random_tagger()
    with pytest.raises(UsageError, match="`texts` must be a list of texts"):
        tagger.tag("Ada")
    with pytest.raises(UsageError, match="`sentences` must be lists of tokens"):
        tagger.tag_tokens(["Ada"])
    with pytest.raises(UsageError, match="`sentences` must be lists of tokens that are not empty"):
        tagger.tag_tokens([["Ada", ""]])


def test_what_a_format_cannot_hold_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path):
    tagger = random_tagger()
    with pytest.raises(WorkError, match="`token` must be without tab and line break to stand in CoNLL columns"):
        write_tagged(tmp_path / "a.conll", tagger.tag_tokens([["Ada", "a\tb"]]), "iob2")
    with pytest.raises(WorkError, match=r"a\.parquet` must be written whole, but is .*surrogates"):
        write_tagged(tmp_path / "a.parquet", tagger.tag_tokens([["Ada", "\ud83d"]]), "iob2")
    assert not list(tmp_path.iterdir())


def test_a_model_without_its_lexicon_or_with_other_weights_is_refused(tagged: Path, tmp_path: Path):
    import shutil

    from nlpseq import artefact

    stored = artefact.load(tagged / "model", "ner")
    for files, said in (
        ({"weights.safetensors": stored.files["weights.safetensors"]}, "must hold a lexicon"),
        (stored.files | {"lexicon.json": b"[]"}, "must hold a lexicon"),
        (stored.files | {"weights.safetensors": b"no"}, "must hold weights of the shapes"),
    ):
        folder = tmp_path / "m"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        artefact.save(folder, "ner", settings=stored.settings, files=files, facts=stored.facts)
        with pytest.raises(ArtefactError, match=said):
            Tagger.load(folder)


def test_what_is_written_reads_back(tagged: Path, run, tmp_path: Path):
    rows = [row["tokens"] for row in load_corpus(tagged / "corpus").split("test")][:12]
    text = "\n".join(" ".join(tokens) for tokens in rows).encode()
    found = Tagger.load(tagged / "model", device="cpu").tag_tokens(rows)
    expected = [spans(one.tags) for one in found]
    from nlpseq.settings import TagConfig
    from nlpseq.tagged import Tally, open_tagged, sentences

    for name, scheme in (("a.conll", "iob1"), ("b.parquet", "iobes"), ("c.jsonl", "iob2")):
        words = ("ner", "tag", "--model", tagged / "model", "--tokenised", "--scheme", scheme, "--out", tmp_path / name)
        outcome = run(*words, stdin=text)
        assert (outcome.code, outcome.out) == (0, "")
        source = open_tagged(str(tmp_path / name), TagConfig())
        read = list(sentences(source, source.corpus.split("all"), scheme, repair=False, tally=Tally()))
        assert [one.entities for one in read] == expected
        assert run(*words, stdin=text).sentences == [
            f'`out` must be a new file (--replace puts another in its place), but is "{tmp_path / name}".'
        ]
        assert run(*words, "--replace", stdin=text).code == 0


def test_the_command_prints_a_line_for_each_line(tagged: Path, run):
    text = b"Jordan told reporters that she would leave Lincoln Bank.\n\nGo\n"
    model = ("ner", "tag", "--model", tagged / "model", "--device", "cpu")
    plain, as_json, conll = (run(*model, *words, stdin=text) for words in ((), ("--json",), ("--conll",)))
    assert [outcome.code for outcome in (plain, as_json, conll)] == [0, 0, 0]
    lines = [json.loads(line) for line in as_json.out.splitlines()]
    assert [line["text"].encode() for line in lines] == text.splitlines()
    assert plain.out.splitlines() == [
        "  ".join(f"{one['type']} {one['text']}" for one in line["entities"]) for line in lines
    ]
    assert [line.split("\t")[0] for line in conll.out.splitlines()] == [
        *["Jordan", "told", "reporters", "that", "she", "would", "leave", "Lincoln", "Bank", "."], "", "", "Go", ""
    ]  # fmt: skip
    assert run(*model, "--batch-size", 1, stdin=text).out == plain.out
    said = "`--json, --conll and --out` must be given one at a time, but is given together."
    assert run(*model, "--json", "--conll", "a").sentences == [said]
    said = '`scheme` must be left out without --conll or --out, but is "iobes" (option --scheme).'
    assert run(*model, "--scheme", "iobes", "a").sentences == [said]
    schemes = {name: run(*model, "--scheme", name, "--conll", stdin=text).out for name in ("iob2", "iobes")}
    assert schemes["iob2"] == conll.out != schemes["iobes"]
    assert "must be in a folder that is there" in run(*model, "--out", "no/a.conll", "a").sentences[0]
    assert "must end in one of .conll .jsonl .parquet" in run(*model, "--out", "a.txt", "a").sentences[0]
