"""Adam and plain gradient descent as the training loop has them."""

import pytest
from test_training import Quadratic, start

from nlpseq import NerConfig, SentimentConfig, UsageError, configure
from nlpseq.training import fit


class Rare(Quadratic):
    """Its weight has a gradient in one late batch alone, as the vector of a word that is seen once."""

    def loss(self, batch, done=0.0):
        error = self.model.weight[0, 0] * (len(self.seen) == 900)
        return error, error.detach(), 1


def test_a_second_moment_that_forgets_sooner_moves_what_is_rare_less_far():
    moved = {}
    for beta2 in (0.999, 0.98):
        task = Rare(rows=1000, size=1)
        before = task.model.weight.item()
        list(fit(start(task, epochs=1, learning_rate=0.01, beta2=beta2), task))
        moved[beta2] = before - task.model.weight.item()
    assert moved[0.999] > 0.2  # twenty times the learning rate, by one gradient
    assert 0 < moved[0.98] < 0.5 * moved[0.999]


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_gradient_descent_is_its_definition(momentum):
    class Slope(Quadratic):
        def loss(self, batch, done=0.0):
            error = 3.0 * self.model.weight[0, 0]
            return error, error.detach(), 1

    task = Slope(rows=4, size=1)
    before = task.model.weight.item()
    list(fit(start(task, epochs=1, optimizer="sgd", learning_rate=0.01, momentum=momentum), task))
    last = moved = 0.0
    for _ in range(4):
        last = (momentum or 0.0) * last + 3.0
        moved += 0.01 * last
    assert before - task.model.weight.item() == pytest.approx(moved, rel=1e-5)


def test_settings_of_the_other_optimiser_are_refused_and_left_out_of_recipes():
    given = {"corpus": "imdb", "out": "somewhere"}
    with pytest.raises(UsageError, match=r"`momentum` must be left out where optimizer is adam, but is 0\.9"):
        configure(NerConfig, momentum=0.9, **given)
    with pytest.raises(UsageError, match=r"`beta2` must be left out where optimizer is sgd, but is 0\.9"):
        configure(NerConfig, optimizer="sgd", beta2=0.9, **given)
    assert configure(SentimentConfig, **given).training.beta2 == 0.98  # the recipe's
    config = configure(SentimentConfig, optimizer="sgd", learning_rate=1.0, **given)
    assert config.training.beta2 == 0.999
    assert config.training.optimizer == "sgd"


def test_a_rate_of_the_other_optimiser_is_refused():
    given = {"corpus": "imdb", "out": "somewhere"}
    with pytest.raises(
        UsageError, match=r"`learning_rate` must be from 0\.01 to 1,000 where optimizer is sgd, but is 0"
    ):
        configure(NerConfig, optimizer="sgd", **given)
    with pytest.raises(
        UsageError, match=r"`learning_rate` must be from 1e-09 to 10 where optimizer is adam, but is 20"
    ):
        configure(NerConfig, learning_rate=20, **given)
