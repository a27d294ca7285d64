import io
import math
import os
import signal

import numpy as np
import pytest
import torch

from nlpseq.batches import Ragged, RaggedWriter, load_ragged
from nlpseq.errors import UsageError, WorkError
from nlpseq.nn.nce import BAND
from nlpseq.settings import EmbeddingConfig
from nlpseq.word_draws import _together, block_shape, chances, draw, keep_probability, stretch_tokens
from nlpseq.word_training import begin_words, fit_words, held_out
from nlpseq.word_work import Job, blocks_of, crew

WORDS, CPU = 50, torch.device("cpu")
FEW = {"embed_size": 8, "block": 64, "window": 3, "epochs": 3.0}


def chain(tokens, seed=0):
    """A text of documents of a hundred words in which every word has likelier followers, and its counts."""
    dice = np.random.default_rng(seed)
    steps = dice.dirichlet(np.full(WORDS, 0.3), WORDS).cumsum(1)
    ids = np.zeros((tokens // 100, 100), np.int32)
    for i in range(1, 100):
        ids[:, i] = (steps[ids[:, i - 1]] < dice.random((len(ids), 1))).sum(1).clip(max=WORDS - 1)
    return Ragged(ids.ravel(), np.arange(0, tokens + 1, 100)), np.bincount(ids.ravel(), minlength=WORDS)


def begun(text, counts, **settings):
    return begin_words(counts, EmbeddingConfig(**settings), seed=7, device=CPU, tokens=len(text.ids))


@pytest.fixture(scope="module")
def small():
    return chain(5000)


@pytest.fixture
def short(monkeypatch):
    """Stretches so short that a small text has many, of 256 tokens in blocks of two passages and two groups."""
    monkeypatch.setattr("nlpseq.word_draws._GROUP", {"skipgram": 32, "cbow": 32})
    monkeypatch.setattr("nlpseq.word_draws._WINDOWS", 10)
    monkeypatch.setattr("nlpseq.word_draws._STRETCH", 256 + 32)
    monkeypatch.setattr("nlpseq.word_draws._BLOCKS", 4)


def trained(text, counts, **settings):
    run = begun(text, counts, **settings)
    return run, list(fit_words(run, text))


def test_it_is_noise_contrastive_estimation():
    """With fifty dimensions for fifty words, probabilities are those of the counts, and sum to one by themselves."""
    text, counts = chain(20_000)
    run, _ = trained(
        text, counts, embed_size=50, window=1, dynamic_window=False, subsample=None, epochs=40, learning_rate=0.03,
        final_rate=0.0, block=64, shared_noise=256, noise=25,
    )  # fmt: skip
    documents = text.ids.reshape(-1, 100)
    pairs = np.zeros((WORDS, WORDS))
    np.add.at(pairs, (documents[:, :-1], documents[:, 1:]), 1)
    pairs += pairs.T
    counted = np.log(np.maximum(pairs, 1) / pairs.sum(1, keepdims=True))
    model = (run.inputs @ run.outputs.T + run.bias).double().numpy()
    frequent = pairs >= 100
    assert frequent.sum() > 20
    assert np.abs(model - counted)[frequent].max() < 0.1
    found = held_out(run, text, subsample=False)
    assert abs(found.log_z_mean) < 0.02
    assert found.log_z_deviation < 0.05
    assert found.perplexity == pytest.approx(np.exp(-(pairs * counted).sum() / pairs.sum()), rel=0.03)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
@pytest.mark.parametrize("objective", ["nce", "negative"])
@pytest.mark.usefixtures("short")
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(small, architecture, objective):
    settings = FEW | {"architecture": architecture, "objective": objective}
    whole, steps = trained(*small, **settings)
    assert len(steps) == 60
    for stop in (1, 20, 33):  # in the midst of an epoch, at its end, in the next one
        first = begun(*small, **settings)
        for _, _ in zip(range(stop), fit_words(first, small[0]), strict=False):
            pass
        file = io.BytesIO()
        torch.save(first.state(), file)
        second = begun(*small, **settings)
        second.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        rest = list(fit_words(second, small[0]))
        assert len(rest) == 60 - stop
        assert torch.equal(second.table, whole.table)
        assert (second.step, second.tokens, second.effective) == (whole.step, whole.tokens, whole.effective)
        assert rest[-1].loss.equal(steps[-1].loss)


@pytest.mark.usefixtures("short")
def test_records_say_how_far_it_is(small):
    run, steps = trained(*small, **FEW)
    assert [step.tokens for step in steps[:2]] == [256, 512]
    assert [i for i, step in enumerate(steps) if step.epoch_ended] == [19, 39, 59]
    assert [step.epoch for step in steps] == [0] * 20 + [1] * 20 + [2] * 20
    assert run.done
    assert run.tokens == run.total == 15_000
    assert run.effective == steps[-1].effective < 15_000  # subsampling
    rates = [step.rate for step in steps]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.0245
    assert rates[-1] < 0.0006


def test_the_loss_is_a_mean_over_noise_words(small):
    """Before anything is learnt, negative sampling's every pair costs log 2, and so does each of its noise words."""
    _, (step,) = trained(*small, objective="negative", noise=5, max_steps=1, **FEW)
    assert float(step.loss) / step.noise_words == pytest.approx(math.log(2) * 6 / 5, rel=1e-3)


@pytest.mark.usefixtures("short")
def test_the_loss_of_many_blocks_is_the_sum_over_them_and_so_are_their_noise_words(small, monkeypatch):
    monkeypatch.setattr("nlpseq.word_work._MEASURED", 1)
    text, counts = small
    run, steps = trained(text, counts, **FEW | {"epochs": 1.0, "learning_rate": 1e-12, "final_rate": 0.0})
    loss = sum(float(step.loss) for step in steps)
    pairs = 0
    for start in range(0, len(text.ids), stretch_tokens(run.shape)):
        stop = min(start + stretch_tokens(run.shape), len(text.ids))
        drawn = draw(text, start, stop, shape=run.shape, odds=run.odds, config=run.config, random=[1, 7, 0, start])
        pairs += drawn.blocks.near.sum().item()
    assert sum(step.noise_words for step in steps) == 5 * pairs
    by_chance = loss / pairs  # inputs hardly matter yet: every pair costs the same but for the words' shares
    first = steps[0]
    assert by_chance == pytest.approx(float(first.loss) / first.noise_words * 5, rel=0.05)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
@pytest.mark.parametrize("thinned", [True, False])
def test_what_is_held_out_is_judged_as_the_full_softmax_says(small, architecture, thinned):
    settings = FEW | {"architecture": architecture, "subsample": 0.01}
    run, _ = trained(*small, **settings)
    length = 2 * run.shape.tokens
    text = Ragged(small[0].ids[:length], np.minimum(small[0].offsets, length))
    odds = run.odds if thinned else run.odds._replace(keep=np.ones(WORDS, np.float32))
    drawn = draw(text, 0, length, shape=run.shape, odds=odds, config=run.config, random=[2, 7, 0])
    log_z, log_p = [], []
    for block in blocks_of(drawn, CPU):
        for token in range(run.shape.tokens):
            beside = block.near[token].nonzero().flatten() + token
            if not len(beside):
                continue
            own = block.rows[token + run.shape.window]
            x = run.inputs[block.rows[beside]].mean(0) if run.shape.cbow else run.inputs[own]
            logits = run.outputs @ x + run.bias
            log_z.append(logits.logsumexp(0))
            log_p += [logits[word] - log_z[-1] for word in ([own] if run.shape.cbow else block.rows[beside])]
    found = held_out(run, text, subsample=thinned)
    assert found.pairs == len(log_p)
    assert found.log_z_mean == pytest.approx(torch.stack(log_z).mean().item(), abs=1e-5)
    assert found.log_z_deviation == pytest.approx(torch.stack(log_z).std(correction=0).item(), abs=1e-5)
    assert found.perplexity == pytest.approx((-torch.stack(log_p).mean()).exp().item(), rel=1e-5)
    other = held_out(run, text, subsample=not thinned)
    assert other.pairs != found.pairs


def test_held_out_contexts_come_from_all_over_the_text(small, monkeypatch):
    run, _ = trained(*small, **FEW)
    places = []
    monkeypatch.setattr("nlpseq.word_training._CONTEXTS", 4 * run.shape.tokens)
    monkeypatch.setattr("nlpseq.word_training.draw", lambda *a, **k: places.append(a[1:3]) or draw(*a, **k))
    held_out(run, small[0], subsample=True)
    length = 4 * run.shape.tokens
    assert places == [(s, s + length) for s in np.linspace(0, 5000 - length, 4).astype(int).tolist()]


@pytest.mark.usefixtures("short")
def test_it_ends_after_so_many_blocks_or_part_of_an_epoch(small):
    run, steps = trained(*small, max_steps=7, **FEW)
    assert (run.step, run.done, steps[-1].step) == (7, True, 7)
    assert run.effective <= 7 * 64
    assert run.effective < run.tokens == steps[-1].tokens < 1280  # trained on, of the five stretches drawn for
    run, _ = trained(*small, **FEW | {"epochs": 1e-4})
    assert run.step > 0  # never nothing
    run, steps = trained(*small, **FEW | {"epochs": 0.5})
    assert (run.tokens, steps[-1].epoch_ended) == (2500, False)


def test_inputs_start_small_outputs_at_nothing_and_the_bias_at_the_words_share(small):
    run = begun(*small, **FEW)
    assert 0.06 < run.inputs.abs().max() <= 1 / 16
    assert not run.outputs.any()
    thinned = small[1] * keep_probability(small[1], 1e-3)
    torch.testing.assert_close(run.bias.exp(), torch.from_numpy(thinned / thinned.sum()).float())
    found = held_out(run, small[0], subsample=True)
    assert abs(found.log_z_mean) < 1e-5  # normalised from the start


def test_the_cap_bounds_what_a_step_changes(small):
    run = begun(*small, **FEW | {"cap": 1e-3, "max_steps": 1})
    before = run.table.clone()
    list(fit_words(run, small[0]))
    halves = (run.table - before).view(WORDS, 2, -1).norm(dim=2)
    assert halves[:, 1].max() == pytest.approx(1e-3, rel=1e-2)


def test_with_the_cap_large_blocks_of_few_words_do_not_run_away():
    text, counts = chain(20_000)
    free, _ = trained(text, counts, embed_size=16, block=2048, learning_rate=0.1, cap=1e9)
    capped, _ = trained(text, counts, embed_size=16, block=2048, learning_rate=0.1)
    assert not free.table.norm() < 1000
    assert capped.table.norm() < 100


def test_keep_probabilities_are_word2vecs():
    counts = np.array([900, 90, 9, 1, 0])
    keep = keep_probability(counts, 0.01)
    assert keep[0] == pytest.approx((math.sqrt(0.9 / 0.01) + 1) * 0.01 / 0.9)
    assert keep[1:4].tolist() == [pytest.approx((math.sqrt(0.09 / 0.01) + 1) * 0.01 / 0.09), 1.0, 1.0]
    assert keep_probability(counts, None).tolist() == [1.0] * 5


def test_noise_is_drawn_from_exactly_the_distribution_that_is_corrected_for():
    counts = np.array([100_000, 1000, 0, 10, 1])
    odds = chances(counts, EmbeddingConfig())
    np.testing.assert_allclose(np.bincount(odds.slots, minlength=5) / len(odds.slots), odds.noise, rtol=1e-12)
    power = counts**0.75
    np.testing.assert_allclose(odds.noise, power / power.sum(), rtol=0.01)
    assert odds.noise[2] == 0


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
@pytest.mark.parametrize(
    ("block", "window"),
    [(16, 1), (100, 1), (100, 5), (257, 5), (512, 5), (1000, 8), (600, 15), (64, 1000), (1024, 1000)],
)
def test_blocks_are_whole_bands_groups_and_passages(architecture, block, window):
    shape = block_shape(EmbeddingConfig(architecture=architecture, block=block, window=window), 104)
    step = max(block, 2 * window)
    assert step <= shape.tokens < step + (shape.passage if shape.passage < shape.tokens else shape.group)
    assert shape.group < step + 16
    assert (shape.tokens % shape.group, shape.group % BAND) == (0, 0)
    asked = 5 * (1 if shape.cbow else window + 1) * (1 if shape.cbow else 1.5)
    assert asked - 1 < shape.shared < asked + 8
    assert (shape.tokens % shape.passage, shape.passage % shape.group) == (0, 0)
    assert shape.passage == shape.tokens or shape.passage >= max(100, 25 * window)
    assert shape.tokens <= stretch_tokens(shape) <= max(1 << 16, shape.tokens)
    blocks = -(-stretch_tokens(shape) // shape.tokens)
    assert blocks == 1 or blocks * shape.tokens * (2 * window + 1) <= 1 << 25


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 5, 0]])
def test_a_text_of_fewer_than_two_words_is_refused(counts):
    with pytest.raises(UsageError, match="`text` must hold at least two words"):
        chances(np.array(counts), EmbeddingConfig())


def windows(text, config, start=0, stop=None):
    """The neighbours of every kept token, as lists of words, and the token's own word."""
    shape, counts = block_shape(config, 16), np.bincount(text.ids)
    drawn = draw(
        text, start, stop or len(text.ids), shape=shape, odds=chances(counts, config), config=config, random=[5]
    )
    found = []
    for rows, near in zip(drawn.blocks.rows, drawn.blocks.near, strict=True):
        for i in range(shape.tokens):
            found.append((int(rows[i + shape.window]), rows[i + near[i].nonzero().flatten()].tolist()))
    return found[: drawn.kept]


def test_windows_never_cross_documents_and_span_blocks():
    text = Ragged(np.arange(100, dtype=np.int32), np.array([0, 0, 3, 3, 4, 100]))
    config = EmbeddingConfig(window=2, dynamic_window=False, subsample=None, block=16)
    expected = []
    for first, last in ((0, 3), (3, 4), (4, 100)):
        for i in range(first, last):
            expected.append((i, [j for j in range(max(first, i - 2), min(last, i + 3)) if j != i]))
    assert windows(text, config) == expected
    assert windows(text, config, 2, 50)[0] == (2, [])  # a stretch is an end too
    assert windows(text, config, 2, 50)[-1] == (49, [47, 48])


def test_windows_are_drawn_evenly_for_every_token():
    text = Ragged(np.arange(3000, dtype=np.int32), np.array([0, 3000]))
    sizes = [len(near) // 2 for _, near in windows(text, EmbeddingConfig(window=4, subsample=None, block=128))[4:-4]]
    shares = np.bincount(sizes, minlength=5) / len(sizes)
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1:], 0.25, atol=0.03)


@pytest.mark.parametrize("most", [10, 2**25, 2**26, 2**30])
def test_the_rows_of_a_word_are_brought_together_however_many_words_there_are(most):
    rows = np.random.default_rng(1).choice([0, 1, most // 2, most - 1], (2, 40)).astype(np.int32)
    words, order, starts, distinct = _together(rows)
    first = 0
    for line, places, count in zip(rows, order, distinct, strict=True):
        assert sorted(places) == list(range(40))
        here = slice(first, first + count)
        assert words[here].tolist() == sorted(set(line.tolist()))
        for word, own in zip(words[here], np.split(line[places], starts[here][1:]), strict=True):
            assert set(own.tolist()) == {word}
        first += count
    assert first == len(words) == len(starts)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_a_block_has_passages_from_all_over_the_stretch_and_loses_few_pairs(architecture):
    tokens, window = 20_000, 5
    text = Ragged(np.arange(tokens, dtype=np.int32), np.array([0, tokens]))  # a word is its place
    config = EmbeddingConfig(architecture=architecture, subsample=None, dynamic_window=False, window=window)
    shape, odds = block_shape(config, 104), chances(np.ones(tokens, np.int64), config)
    assert shape.tokens > shape.passage == (128 if shape.cbow else 256)
    found = []
    for seed in (1, 2):
        pairs, here = set(), []
        for block in blocks_of(draw(text, 0, tokens, shape=shape, odds=odds, config=config, random=[seed]), CPU):
            token, place = block.near.nonzero().T
            own = block.rows[shape.window + token]
            pairs |= set(zip(own.tolist(), block.rows[token + place].tolist(), strict=True))
            places = own.unique()
            assert len(places) == (block.weight > 0).sum()
            starts = places[places.diff(prepend=torch.tensor([-9])) > 1]
            assert shape.tokens // shape.passage // 2 < len(starts) <= shape.tokens // shape.passage
            assert (starts.diff() > 1000).all()
            here.append(places)
        assert torch.equal(torch.cat(here).sort().values, torch.arange(tokens))
        assert all(0 < abs(a - b) <= window for a, b in pairs)
        assert len(pairs) > 0.97 * 2 * window * tokens
        found.append(pairs)
    assert len(found[0] | found[1]) == 2 * window * tokens - window * (window + 1)  # other cuts in another epoch


@pytest.mark.usefixtures("short")
def test_several_workers_learn_as_one_does(small, tmp_path, monkeypatch):
    monkeypatch.setattr("nlpseq.word_training._EACH", 8)
    writer = RaggedWriter(tmp_path / "text")
    writer.write(np.split(small[0].ids, 50))
    writer.close()
    text, counts = load_ragged(tmp_path / "text"), small[1]  # memory-mapped
    alone, _ = trained(text, counts, **FEW)
    run, steps = trained(text, counts, workers=2, **FEW)
    assert (run.step, run.tokens, run.effective) == (alone.step, alone.tokens, alone.effective)
    assert [step.epoch_ended for step in steps] == [False, True] * 3
    assert float(torch.cosine_similarity(run.outputs.flatten(), alone.outputs.flatten(), dim=0)) > 0.9


@pytest.mark.usefixtures("short")
def test_several_workers_never_do_more_blocks_than_allowed(small, monkeypatch):
    monkeypatch.setattr("nlpseq.word_training._EACH", 4)
    run, _ = trained(*small, workers=2, max_steps=33, subsample=None, **FEW)
    assert run.step == 33


@pytest.mark.usefixtures("short")
def test_what_was_done_of_a_stretch_that_is_cut_short_counts(small):
    run, (step,) = trained(*small, max_steps=2, subsample=None, **FEW)
    assert step.step == 2
    assert run.effective == run.tokens < 256


@pytest.mark.parametrize(("architecture", "rate", "tokens"), [("skipgram", 0.025, 1024), ("cbow", 0.05, 2048)])
def test_rate_and_block_suit_the_architecture_unless_they_are_given(architecture, rate, tokens):
    config = EmbeddingConfig(architecture=architecture)
    assert (config.first_rate, config.step_tokens) == (rate, tokens)
    config = EmbeddingConfig(architecture=architecture, learning_rate=0.1, block=64)
    assert (config.first_rate, config.step_tokens) == (0.1, 64)


def test_a_text_of_one_block_is_left_as_it_stands():
    config, text = EmbeddingConfig(subsample=None), Ragged(np.arange(900, dtype=np.int32), np.array([0, 900]))
    shape, odds = block_shape(config, 104), chances(np.ones(900, np.int64), config)
    drawn = draw(text, 0, 900, shape=shape, odds=odds, config=config, random=[1])
    assert shape.passage < shape.tokens
    assert drawn.blocks.rows[:, shape.window : shape.window + 900].tolist() == [list(range(900))]


@pytest.mark.usefixtures("short")
def test_a_worker_that_dies_ends_the_work(small):
    run = begun(*small, workers=2, **FEW | {"epochs": 1000})
    steps = fit_words(run, small[0])
    next(steps)
    victim = next(child for child in torch.multiprocessing.active_children() if child.is_alive())
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(WorkError, match="`workers` must live until the training ends"):
        list(steps)
    assert not torch.multiprocessing.active_children()


def test_several_workers_need_a_cpu(small):
    run = begun(*small, workers=2, **FEW)
    job = Job(run.table.to("meta"), small[0], run.config, run.odds, run.shape, run.seed, run.total)
    with pytest.raises(UsageError, match="`workers` must be 1 on meta, but is 2"), crew(job):
        pass


@pytest.mark.gpu
def test_on_a_gpu_it_learns_the_same(small):
    run = begin_words(small[1], EmbeddingConfig(**FEW), seed=7, device=torch.device("cuda"), tokens=len(small[0].ids))
    for _ in fit_words(run, small[0]):
        pass
    alone, _ = trained(*small, **FEW)
    torch.testing.assert_close(run.table.cpu(), alone.table, rtol=1e-3, atol=1e-4)
