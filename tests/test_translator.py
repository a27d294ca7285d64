import random
from collections import defaultdict
from typing import NamedTuple

import pytest
import safetensors.torch
import torch

from nlpseq import TranslateConfig, configure
from nlpseq.artefact import save
from nlpseq.config import to_plain
from nlpseq.errors import ArtefactError, UsageError
from nlpseq.nn.seq2seq import DecoderState
from nlpseq.search import greedy
from nlpseq.settings import TokenizerConfig
from nlpseq.tokenizer import Tokenizer
from nlpseq.translator import LONGEST, ROWS, STAGE, Translator, blocks, build_model, padded
from nlpseq.vocab import EOS, GO, NUM

WORDS = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in ("", "p", "st", "rla")]
KINDS = [
    {},
    {"cell": "lstm", "layers": 2},
    {"bidirectional": True},
    {"cell": "lstm", "bidirectional": True, "context": "once", "source_order": "forward"},
    {"cell": "rnn", "tied": False},
]


def made(units="word", **settings):
    """A translator with random weights: its margins are tiny, so that a changed rounding changes what it writes."""
    sizes = {"embed_size": 48, "hidden_size": 64, "length_ratio": 0.5, "length_extra": 5}
    config = configure(TranslateConfig, corpus="mine", out="out", units=units, vocab_size=200, **sizes | settings)
    texts = [" ".join([*WORDS, "[NUM]", "[URL]"])] * 2
    tokenizer = Tokenizer.train(texts, TokenizerConfig(units=units, vocab_size=200))
    torch.manual_seed(4)
    model = build_model(config, len(tokenizer))
    for name, weight in model.named_parameters():
        weight.data *= 3.0 if "encoder" in name or "source" in name else 1.0  # else all sentences end as one
    model.output.bias.data[EOS] += 0.1  # so that some rows end before their limit
    return Translator(model, tokenizer, config=config, facts={"source": "en", "target": "fr"})


def sentences(number, longest=60):
    draw = random.Random(7)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(number)]


def in_groups(texts, size):
    return [texts[i : i + size] for i in range(0, len(texts), size)]


def shuffled(texts):
    return random.Random(8).sample(texts, len(texts))


@pytest.fixture(scope="module")
def translator():
    return made()


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_neighbours_never_change_a_translation(settings):
    translator, texts = made(**settings), sentences(150)
    whole = dict(zip(texts, translator.translate_fully(texts), strict=True))
    assert len({found.text for found in whole.values()}) > 100
    mixed = shuffled(texts)
    for size, some in ((1, mixed[:25]), (7, mixed[:70]), (64, mixed), (150, mixed)):
        for group in in_groups(some, size):
            assert translator.translate_fully(group) == [whole[text] for text in group]


class Logits:
    """Runs `greedy` for the translator and keeps the logits of each sentence: its source's ids to a list of bytes."""

    def __init__(self, translator, monkeypatch):
        self.kept, self.translator = defaultdict(list), translator
        search = translator._search
        monkeypatch.setattr(translator, "_search", lambda sources: self.see(sources) or search(sources))
        monkeypatch.setattr("nlpseq.translator.greedy", self.greedy)

    def see(self, sources):
        groups = blocks([min(len(source), LONGEST) for source in sources])
        self.sources = [tuple(sources[n]) for group in groups for n in group]

    def greedy(self, step, state, limits, **options):
        """Decode with the number of the sentence and of its step as further parts of the state."""
        runs = [{} for _ in limits]

        class Numbered(NamedTuple):
            recurrent: torch.Tensor
            context: torch.Tensor
            sentence: torch.Tensor
            count: torch.Tensor

        def recorded(tokens, state):
            logits, after = step(tokens, DecoderState(*state[:2]))
            for sentence, count, row in zip(state.sentence.tolist(), state.count.tolist(), logits.numpy(), strict=True):
                runs[sentence].setdefault(count, row.tobytes())  # a row that has ended goes on idly
            return logits.clone(), Numbered(*after, state.sentence, state.count + 1)

        numbers = torch.arange(len(limits))
        found = greedy(recorded, Numbered(*state, numbers, numbers * 0), limits, **options)
        for source, limit, run, tokens in zip(self.sources, limits, runs, found.tokens, strict=True):
            own = min(limit, len(tokens) + 1)
            self.kept[source].append(b"".join(run[count] for count in range(own)))
        return found


def check_logits(translator, texts, groups, monkeypatch):
    """Every logit of every sentence is the same to the bit, however the sentences come."""
    logits = Logits(translator, monkeypatch)
    whole = dict(zip(texts, translator.translate_fully(texts), strict=True))
    for size, some in groups:
        for group in in_groups(some, size):
            assert translator.translate_fully(group) == [whole[text] for text in group]
    assert len(logits.kept) == len(set(texts))
    assert max(map(len, logits.kept.values())) > len(groups)
    different = [source for source, runs in logits.kept.items() if len(set(runs)) > 1]
    assert not different


def test_logits_are_the_same_to_the_bit(translator, monkeypatch):
    texts = sentences(120)
    mixed = shuffled(texts)
    check_logits(translator, texts, [(1, mixed[:20]), (7, mixed[:70]), (120, mixed)], monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("settings", KINDS[:3], ids=str)
def test_two_thousand_sentences_in_groups_of_1_7_64_and_1000(settings, monkeypatch):
    translator, texts = made(**settings), sentences(2000)
    mixed = shuffled(texts)
    check_logits(translator, texts, [(size, mixed) for size in (1, 7, 64, 1000)], monkeypatch)


def test_an_answer_for_each_line_in_order(translator):
    texts = ["ba", "", "👍🏽 🎉", "long", "  ", "\t", "dep fa", "ba"]
    texts[3] = " ".join((WORDS * 63)[:10_000])
    found = translator.translate_fully(texts)
    assert [one.cut for one in found] == [False, False, False, True, False, False, False, False]
    assert [one.unknown for one in found] == [0, 0, 2, 0, 0, 0, 0, 0]
    for empty in (1, 4, 5):
        assert found[empty] == ("", 0.0, [], 0, 0, 0, 0, False)
    assert found[0] == found[7] == translator.translate_fully(["ba"])[0]
    assert found[3].score < 0
    assert translator.translate(texts) == [one.text for one in found]
    assert translator.translate([]) == translator.translate_fully([]) == []


def test_only_what_is_read_counts(translator):
    head = (WORDS * 63)[:LONGEST]
    read, beyond = (translator.translate_fully([" ".join(words)])[0] for words in (head, [*head, "ba", "dep"]))
    assert (read.cut, beyond.cut) == (False, True)
    assert read[:3] == beyond[:3]
    assert translator.translate_fully([" ".join(["gost", *head[1:]])])[0].score != read.score


def test_what_is_no_text_is_refused_by_its_place(translator):
    with pytest.raises(UsageError, match=r"`texts\[1\]` must be text, but is None\."):
        translator.translate(["I drink milk", None])


def test_one_text_is_no_list(translator):
    with pytest.raises(UsageError, match=r"`texts` must be a list of texts, .*, but is \"I drink milk\"\."):
        translator.translate("I drink milk")


def by_hand(translator, text):
    """The definition: encode, then feed the likeliest token back until <eos> or the limit."""
    ids = translator.tokenizer.encode(text)
    order = ids[::-1] if translator.config.model.source_order == "reversed" else ids
    state = translator.model.encode(torch.tensor([[*order, EOS]]), torch.tensor([len(ids) + 1]))
    last, score, written = GO, 0.0, []
    for _ in range(int(0.5 * len(ids)) + 5):
        logits, state = translator.model.step(torch.tensor([last]), state)
        logits[:, [0, GO]] = -torch.inf
        best, at = logits.log_softmax(1)[0].max(0)
        last, score = int(at), score + float(best)
        if last == EOS:
            break
        written.append(last)
    return translator.tokenizer.units(written), score


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_translation_is_what_the_definition_says(settings):
    translator, texts = made(**settings), sentences(12)
    translator.model.double()  # or the two ways of rounding would drift apart
    with torch.inference_mode():
        for text, found in zip(texts, translator.translate_fully(texts), strict=True):
            tokens, score = by_hand(translator, text)
            assert found.tokens == tokens
            assert found.score == pytest.approx(score, abs=1e-3)


def test_the_order_of_the_source_matters():
    forward, backward = made(source_order="forward"), made(source_order="reversed")
    there, back = "ba dep fa gost", "gost fa dep ba"
    assert forward.translate_fully([there]) == backward.translate_fully([back])
    assert forward.translate_fully([there]) != forward.translate_fully([back])


def test_numbers_are_restored_or_dropped_and_counted():
    translator = made(length_ratio=1.0, length_extra=3)
    translator.model.output.bias.data[NUM] += 50.0
    (found,) = translator.translate_fully(["ba 3.5 dep 12"])
    assert found.tokens == ["[NUM]"] * 7
    assert (found.restored, found.dropped) == (2, 5)
    assert found.text.split() == ["3,5", "12"]
    assert translator.translate_fully(["ba dep"])[0].text.split() == []


@pytest.mark.parametrize("units", ["word", "unigram", "bpe"])
def test_a_folder_holds_all_of_it(tmp_path, units):
    translator = made(units)
    weights = {k: v.contiguous() for k, v in translator.model.state_dict().items() if k != "output.weight"}
    files = {"weights.safetensors": safetensors.torch.save(weights), **translator.tokenizer.files()}
    save(tmp_path, STAGE, settings=to_plain(translator.config), files=files, facts=translator.facts)
    loaded = Translator.load(tmp_path, device="cpu")
    texts = sentences(20, 12)
    assert loaded.translate_fully(texts) == translator.translate_fully(texts)
    assert loaded.model.output.weight is loaded.model.target_embedding.weight
    near = Translator.load(tmp_path, device="cpu", precision="bf16").translate_fully(texts[:1])[0]
    assert near.score == pytest.approx(translator.translate_fully(texts[:1])[0].score, rel=0.2)
    with pytest.raises(UsageError, match=r"`precision` must be fp32 or bf16, but is \"fp16\"\."):
        Translator.load(tmp_path, precision="fp16")


@pytest.mark.parametrize(
    "damage",
    [
        lambda w: w.pop("readout.weight"),
        lambda w: w.pop("target_embedding.weight"),
        lambda w: w.update(stranger=torch.zeros(1)),
        lambda w: w.update({"output.bias": torch.zeros(3)}),
    ],
)
def test_weights_of_another_model_are_said(tmp_path, damage):
    translator = made()
    weights = {k: v.contiguous() for k, v in translator.model.state_dict().items() if k != "output.weight"}
    damage(weights)
    files = {"weights.safetensors": safetensors.torch.save(weights), **translator.tokenizer.files()}
    save(tmp_path, STAGE, settings=to_plain(translator.config), files=files, facts=translator.facts)
    with pytest.raises(ArtefactError, match="must hold weights of the shapes that its settings give, but is others"):
        Translator.load(tmp_path, device="cpu")


def test_blocks_have_one_padded_length_and_every_place_once():
    lengths = [random.Random(3).randint(1, 60) for _ in range(500)]
    groups = blocks(lengths)
    assert sorted(place for group in groups for place in group) == list(range(500))
    assert max(map(len, groups)) <= ROWS
    assert all(len({padded(lengths[place]) for place in group}) == 1 for group in groups)
    assert len(groups) <= 8 + 500 // ROWS + 1
    assert blocks([]) == []


@pytest.mark.parametrize(("length", "width"), [(0, 8), (1, 8), (7, 8), (8, 16), (15, 16), (16, 24)])
def test_padding_leaves_room_for_eos(length, width):
    assert padded(length) == width
