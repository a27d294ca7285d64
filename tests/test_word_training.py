import io
import math
import os
import signal

import numpy as np
import pytest
import torch

from nlpseq.batches import Ragged, RaggedWriter, load_ragged
from nlpseq.errors import UsageError, WorkError
from nlpseq.settings import EmbeddingConfig
from nlpseq.word_draws import draw, keep_probability, stretch_tokens
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
