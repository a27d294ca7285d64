"""Batches of a text: streams that go on where they were, windows, and noise-contrastive estimation."""

import numpy as np
import pytest
import torch
from conftest import never_waits

from nlpseq.errors import UsageError
from nlpseq.lm_task import StreamTask, WindowTask, noise_of, task_of
from nlpseq.losses import linear_cross_entropy, noise_contrastive
from nlpseq.nn.lm import LMDropout, LMShape, RecurrentLM
from nlpseq.settings import NoiseConfig, TrainingConfig
from nlpseq.training import World, begin, fit, together

CPU = torch.device("cpu")


def network(size=60, **drops):
    torch.manual_seed(0)
    return RecurrentLM(LMShape(size, 8, 12, cell="gru", tied=False), LMDropout(**drops)).eval()


def batches(task, epoch):
    plan = task.plan(epoch)
    return [task.batch(plan.batch(number)) for number in range(len(plan))]


@pytest.mark.parametrize(("size", "rows", "steps"), [(103, 4, 5), (100, 4, 5), (7, 4, 5), (3, 1, 10)])
def test_each_row_goes_on_where_it_was(size, rows, steps):
    task = StreamTask(network(), np.arange(size, dtype=np.int32) % 60, rows, steps, seed=1)
    found = batches(task, 0)
    assert len({len(batch.fed) for batch in found}) == 1
    fed = torch.cat([batch.fed for batch in found], 1)
    targets = torch.cat([batch.targets.view(batch.fed.shape) for batch in found], 1)
    assert torch.equal(fed[:, 1:], targets[:, :-1])
    assert fed.shape[1] == len(found) * steps


def test_an_epoch_reads_nothing_twice_and_the_next_one_is_cut_elsewhere():
    task = StreamTask(network(), np.arange(60, dtype=np.int32), 4, 5, seed=1)
    for epoch in range(3):
        fed = torch.cat([batch.fed.flatten() for batch in batches(task, epoch)])
        assert sorted(fed.tolist()) == list(range(60))
    firsts = {int(batches(task, epoch)[0].fed[0, 0]) for epoch in range(6)}
    assert len(firsts) > 3
    left_out = StreamTask(network(), np.arange(59, dtype=np.int32), 4, 5, seed=1)
    fed = torch.cat([batch.fed.flatten() for batch in batches(left_out, 0)])
    assert len(fed) == 40
    assert len(set(fed.tolist())) == 40


def test_the_carried_state_is_that_of_one_long_pass():
    model = network()
    task = StreamTask(model, np.arange(60, dtype=np.int32), 2, 5, seed=1)
    found = batches(task, 0)
    total = sum(float(task.loss(batch)[1].detach()) for batch in found)
    with torch.no_grad():
        features, _ = model(torch.cat([batch.fed for batch in found], 1))
        targets = torch.cat([batch.targets.view(2, -1) for batch in found], 1)
        output = model.output
        loss, _ = linear_cross_entropy(features.flatten(0, 1), output.weight, output.bias, targets.flatten())
    assert total == pytest.approx(float(loss), rel=1e-5)
    assert not task.carried.requires_grad


def test_fit_carries_within_an_epoch_and_starts_the_next_from_nothing():
    task = StreamTask(network(), np.arange(60, dtype=np.int32), 2, 5, seed=1)
    starts = []
    loss = task.loss
    task.loss = lambda batch, done=0.0: (starts.append(task.carried is None), loss(batch, done))[1]
    config = TrainingConfig(precision="fp32", epochs=2.0)
    run = begin(task.model, config, seed=1, device=CPU, world=World(), batches=len(task.plan(0)))
    for _ in fit(run, task):
        pass
    assert starts == ([True] + [False] * 5) * 2


def test_a_run_that_is_taken_up_carries_on():
    def start():
        task = StreamTask(network(output=0.3), np.arange(60, dtype=np.int32), 2, 5, seed=1)
        config = TrainingConfig(precision="fp32", epochs=3.0, accumulate=2)
        return task, begin(task.model, config, seed=1, device=CPU, world=World(), batches=len(task.plan(0)))

    task, run = start()
    states = [run.state()["model"]["output.weight"].clone() for _ in fit(run, task)]
    task, run = start()
    steps = fit(run, task)
    for _ in range(4):
        next(steps)
    state = run.state()
    assert state["carried"].abs().sum() > 0
    task, again = start()
    again.restore(state)
    for _ in fit(again, task):
        pass
    assert torch.equal(again.state()["model"]["output.weight"], states[-1])
    task, wrong = start()
    wrong.restore({name: value for name, value in state.items() if name != "carried"})
    for _ in fit(wrong, task):
        pass
    assert not torch.equal(wrong.state()["model"]["output.weight"], states[-1])  # so the state matters


def test_what_the_rows_of_two_processes_carry_is_saved_as_one_and_parted_again(monkeypatch):
    whole = torch.arange(10.0).view(5, 2)

    def gather(parts, own):
        assert torch.equal(own, whole[1::2])
        parts[:] = [whole[0::2], whole[1::2]]

    def start(rank, size):
        model, config = network(), TrainingConfig(precision="fp32")
        return begin(model, config, seed=1, device=CPU, world=World(rank, size), batches=3)

    monkeypatch.setattr("nlpseq.training.distributed.all_gather_object", gather)
    run = start(1, 2)
    run.carried = whole[1::2]
    with together(run):
        state = run.state()
    assert torch.equal(state["carried"], whole)
    assert torch.equal(run.carried, whole[1::2])
    for rank, size in ((0, 2), (1, 2), (0, 1), (2, 3)):
        again = start(rank, size)
        again.restore(state)
        assert torch.equal(again.carried, whole[rank::size])


def test_a_process_without_rows_takes_part_in_saving(monkeypatch):
    """Or the others would wait for it for ever: fewer streams than processes."""
    calls = []

    def gather(parts, own):
        calls.append(own)
        parts[:] = [torch.ones(1, 2), None]

    monkeypatch.setattr("nlpseq.training.distributed.all_gather_object", gather)
    run = begin(network(), TrainingConfig(precision="fp32"), seed=1, device=CPU, world=World(1, 2), batches=3)
    with together(run):
        assert torch.equal(run.state()["carried"], torch.ones(1, 2))
    assert calls == [None]
    assert run.carried is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("objective", ["softmax", "nce"])
def test_a_step_never_waits_for_the_device(objective):
    noise = noise_of(np.full(60, 9), NoiseConfig(objective=objective))
    device = torch.device("cuda", 0)
    noise = None if noise is None else noise.to(device)
    task = StreamTask(network(output=0.2), np.arange(600, dtype=np.int32) % 60, 4, 5, seed=1, noise=noise)
    config = TrainingConfig(epochs=2.0)
    steps = fit(begin(task.model, config, seed=1, device=device, world=World(), batches=len(task.plan(0))), task)
    never_waits(steps)


def test_windows_overlap_and_each_predicts_the_unit_behind_it():
    task = WindowTask(network(), np.arange(50, dtype=np.int32), 4, 6, 3, seed=1)
    found = batches(task, 0)
    starts = torch.cat([batch.fed[:, 0] for batch in found])
    assert sorted(starts.tolist()) == list(range(0, 44, 3))
    for batch in found:
        assert torch.equal(batch.targets, batch.fed[:, 0] + 6)
        assert task.loss(batch)[2] == len(batch.fed)
    assert starts.tolist() != torch.cat([batch.fed[:, 0] for batch in batches(task, 1)]).tolist()
    assert [len(batch.fed) for batch in found] == [4, 4, 4, 3]
    ids = np.arange(50, dtype=np.int32)
    common = {"rows": 4, "steps": 6, "seed": 1, "noise": None}
    assert isinstance(task_of(network(), ids, stride=3, **common), WindowTask)
    assert isinstance(task_of(network(), ids, stride=None, **common), StreamTask)


def test_the_noise_is_that_of_the_counts():
    counts = np.array([0, 0, 0, 5, 10, 0, 80, 5])
    noise = noise_of(counts, NoiseConfig(objective="nce", noise=20, noise_power=1.0))
    share = torch.bincount(noise.slots, minlength=8) / len(noise.slots)
    torch.testing.assert_close(share, torch.tensor(counts / 100, dtype=torch.float32), atol=1e-3, rtol=0)
    assert float(noise.log_noise[6]) == pytest.approx(np.log(20 * 0.8), abs=1e-3)
    assert noise_of(counts, NoiseConfig()) is None
    with pytest.raises(UsageError, match="at least two"):
        noise_of(np.array([0, 4]), NoiseConfig(objective="nce"))


def test_noise_contrastive_is_the_sum_of_its_two_questions():
    torch.manual_seed(1)
    features, weight, bias = torch.randn(5, 4), torch.randn(9, 4, requires_grad=True), torch.randn(9)
    targets, noise, log_noise = torch.tensor([0, 3, 3, 8, 1]), torch.tensor([2, 2, 7]), torch.randn(9)
    found = noise_contrastive(features, weight, bias, targets, noise=noise, log_noise=log_noise)
    expected = torch.zeros(())
    for row, target in zip(features, targets.tolist(), strict=True):
        delta = row @ weight.T + bias - log_noise
        expected = expected - torch.log(torch.sigmoid(delta[target]))
        for word in noise.tolist():
            expected = expected - torch.log(1 - torch.sigmoid(delta[word]))
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, [weight])
    assert gradient[[4, 5, 6]].abs().sum() == 0
    assert gradient[2].abs().sum() > 0


def test_noise_contrastive_estimation_learns_a_normalised_model():
    """Without features, the scores are biases: they must come to be the log-probabilities of the words."""
    torch.manual_seed(1)
    share = torch.tensor([0.5, 0.3, 0.15, 0.05])
    bias = torch.zeros(4, requires_grad=True)
    log_noise = torch.full((4,), np.log(64 * 0.25))
    optimizer = torch.optim.Adam([bias], lr=0.02)
    for _ in range(300):
        targets = torch.multinomial(share, 256, replacement=True)
        noise = torch.randint(4, (64,))
        features, weight = torch.zeros(256, 1), torch.zeros(4, 1)
        loss = noise_contrastive(features, weight, bias, targets, noise=noise, log_noise=log_noise)
        optimizer.zero_grad()
        (loss / 256).backward()
        optimizer.step()
    torch.testing.assert_close(bias.detach().exp(), share, atol=0.04, rtol=0)
