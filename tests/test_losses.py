import pytest
import torch
from torch.nn import functional as F

from nlpseq import losses
from nlpseq.losses import linear_cross_entropy

N, E, V = 37, 8, 11


def made():
    torch.manual_seed(2)
    features, weight, bias = torch.randn(N, E), torch.randn(V, E), torch.randn(V)
    return [t.requires_grad_() for t in (features, weight, bias)], torch.randint(0, V, (N,))


def plainly(inputs, targets, smoothing):
    logits = F.linear(*inputs)
    return (
        F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing),
        F.cross_entropy(logits, targets, reduction="sum"),
    )


SIZES = [(1, 1), (3 * V, 3 * V), (3 * V, 12 * V + 1), (5 * V + 2, 11 * V), (37 * V, 37 * V), (1 << 20, 1 << 20)]


@pytest.fixture(params=SIZES, ids=lambda sizes: "of".join(map(str, sizes)))
def chunk(request, monkeypatch):
    monkeypatch.setattr(losses, "_ELEMENTS", {"cpu": request.param})


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.usefixtures("chunk")
def test_values_and_gradients_are_those_of_torch(smoothing):
    inputs, targets = made()
    loss, plain = linear_cross_entropy(*inputs, targets, smoothing=smoothing)
    expected, plain_expected = plainly(inputs, targets, smoothing)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(plain, plain_expected)
    for ours, theirs in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_scaled_by_what_follows():
    inputs, targets = made()
    once = torch.autograd.grad(linear_cross_entropy(*inputs, targets, smoothing=0.1)[0], inputs)
    scaled = torch.autograd.grad(-2.5 * linear_cross_entropy(*inputs, targets, smoothing=0.1)[0], inputs)
    for a, b in zip(once, scaled, strict=True):
        torch.testing.assert_close(-2.5 * a, b)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_small_step_changes_the_loss_by_what_the_gradient_says(smoothing):
    inputs, targets = made()
    gradients = torch.autograd.grad(linear_cross_entropy(*inputs, targets, smoothing=smoothing)[0], inputs)
    for i, gradient in enumerate(gradients):
        there = [t.detach().clone() for t in inputs]
        back = [t.detach().clone() for t in inputs]
        size = 0.02 / gradient.norm()
        there[i] += size * gradient
        back[i] -= size * gradient
        sums = [linear_cross_entropy(*side, targets, smoothing=smoothing)[0] for side in (there, back)]
        torch.testing.assert_close(sums[0] - sums[1], 2 * size * gradient.square().sum(), rtol=5e-3, atol=1e-4)


def test_the_gradient_passes_through_the_layers_before():
    inputs, targets = made()
    start = torch.randn(N, E, requires_grad=True)
    ours = torch.autograd.grad(linear_cross_entropy(start.tanh(), *inputs[1:], targets)[0], start)[0]
    theirs = torch.autograd.grad(plainly([start.tanh(), *inputs[1:]], targets, 0.0)[0], start)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_plain_sum_carries_no_gradient():
    inputs, targets = made()
    loss, plain = linear_cross_entropy(*inputs, targets, smoothing=0.1)
    assert loss.requires_grad
    assert not plain.requires_grad
    assert loss.dtype == plain.dtype == torch.float32


def test_a_frozen_input_changes_nothing_for_the_others():
    inputs, targets = made()
    whole = torch.autograd.grad(linear_cross_entropy(*inputs, targets)[0], inputs)
    frozen = [inputs[0], inputs[1].detach(), inputs[2]]
    loss = linear_cross_entropy(*frozen, targets)[0]
    loss.backward()
    assert torch.equal(inputs[0].grad, whole[0])
    assert torch.equal(inputs[2].grad, whole[2])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_validation_does_not_pay_for_gradients(mode, monkeypatch):
    inputs, targets = made()
    expected = linear_cross_entropy(*inputs, targets)[0].item()
    monkeypatch.setattr(losses, "_subtract_wanted", None)
    with mode():
        assert linear_cross_entropy(*inputs, targets)[0].item() == expected


@pytest.mark.usefixtures("chunk")
def test_without_rows_all_is_zero():
    inputs, _ = made()
    inputs[0] = torch.empty(0, E, requires_grad=True)
    loss, plain = linear_cross_entropy(*inputs, torch.empty(0, dtype=torch.int64), smoothing=0.1)
    assert (loss.item(), plain.item()) == (0.0, 0.0)
    features, weight, bias = torch.autograd.grad(loss, inputs)
    assert features.shape == (0, E)
    assert not weight.any()
    assert not bias.any()


def test_autocast_is_near_float32_and_gradients_keep_their_types():
    inputs, targets = made()
    with torch.autocast("cpu", torch.bfloat16):
        loss, plain = linear_cross_entropy(*inputs, targets, smoothing=0.1)
    expected, plain_expected = plainly(inputs, targets, 0.1)
    torch.testing.assert_close(loss, expected, rtol=0.01, atol=0)
    torch.testing.assert_close(plain, plain_expected, rtol=0.01, atol=0)
    assert loss.item() != expected.item()  # else the products were not in bfloat16
    for ours, theirs in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs), strict=True):
        assert ours.dtype == torch.float32
        assert ((ours - theirs).norm() / theirs.norm()).item() < 0.02


def test_features_of_autocast_keep_their_type():
    inputs, targets = made()
    half = inputs[0].detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = linear_cross_entropy(half, *inputs[1:], targets)
    assert torch.autograd.grad(loss, half)[0].dtype == torch.bfloat16


def test_huge_logits_stay_finite():
    features = torch.full((2, 4), 1e4, requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.5]]).expand(3, 4)
    loss, _ = linear_cross_entropy(features, weight, torch.zeros(3), torch.tensor([0, 0]))
    assert loss.item() == 0.0
    assert torch.isfinite(torch.autograd.grad(loss, features)[0]).all()
