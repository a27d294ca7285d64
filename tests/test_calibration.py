import math

import pytest
import torch

from nlpseq.calibration import expected_calibration_error, fit_temperature, reliability


def drawn(temperature, number=40_000, classes=4):
    """Logits, and targets drawn by the softmax of them divided by a temperature."""
    generator = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(number, classes, generator=generator)
    targets = torch.multinomial(torch.softmax(logits / temperature, 1), 1, generator=generator)[:, 0]
    return logits, targets


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_is_the_one_that_targets_were_drawn_by(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_where_the_likelihood_is_highest():
    logits, targets = drawn(1.7, 5000)
    found = fit_temperature(logits, targets)

    def loss(temperature):
        return float(torch.nn.functional.cross_entropy(logits.double() / temperature, targets))

    assert loss(found) < min(loss(found * 1.02), loss(found / 1.02))


@pytest.mark.parametrize("classes", [2, 20, 200])
def test_a_handful_of_examples_does_not_spoil_what_was_calibrated(classes):
    logits, targets = drawn(1.0, classes=classes)
    confidence, best = torch.softmax(logits / fit_temperature(logits[:20], targets[:20]), 1).max(1)
    assert expected_calibration_error(confidence, best == targets) < 0.15


def test_a_temperature_stays_finite_where_all_is_right_or_all_is_wrong():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # a mean confidence of 5/6: two examples that are right, and half of an imagined one
    assert fit_temperature(logits, torch.tensor([0, 1])) == pytest.approx(1 / math.log(5))
    assert fit_temperature(logits, torch.tensor([1, 0])) == pytest.approx(100, rel=0.02)
    assert math.isfinite(fit_temperature(logits * 0, torch.tensor([1, 0])))


def test_the_temperature_stays_1_where_another_would_not_lower_the_loss():
    logits = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    assert fit_temperature(logits, torch.tensor([0, 1])) == 1.0
    assert fit_temperature(1e9 * logits, torch.tensor([0, 1])) == 1.0


def test_the_calibration_error_is_that_of_its_definition():
    confidence = torch.tensor([0.55, 0.58, 0.95, 0.99, 0.99])
    right = torch.tensor([True, False, True, True, False])
    # bins of a tenth: (0.5, 0.6] has two, half right; (0.9, 1] has three, two right
    expected = (abs(0.55 + 0.58 - 1) + abs(0.95 + 0.99 + 0.99 - 2)) / 5
    assert expected_calibration_error(confidence, right, 10) == pytest.approx(expected)
    assert expected_calibration_error(torch.tensor([1.0, 0.0]), torch.tensor([True, False])) == 0
    assert expected_calibration_error(torch.tensor([]), torch.tensor([])) == 0


def test_dividing_by_the_temperature_mends_the_error():
    logits, targets = drawn(2.5)

    def error(temperature):
        confidence, found = torch.softmax(logits / temperature, 1).max(1)
        return expected_calibration_error(confidence, found == targets)

    assert error(1.0) > 0.1
    assert error(fit_temperature(logits, targets)) < 0.01


def test_the_plot_has_a_point_for_each_bin_that_holds_something():
    confidence = torch.tensor([0.55, 0.58, 0.95])
    chart = reliability(confidence, torch.tensor([True, False, True]), 10)
    measured, perfect = chart.series
    assert measured.x == pytest.approx([0.565, 0.95])
    assert measured.y == pytest.approx([0.5, 1.0])
    assert perfect.x == perfect.y
    assert "3 examples" in chart.note
    assert reliability(torch.tensor([]), torch.tensor([])).series[0].x == []
