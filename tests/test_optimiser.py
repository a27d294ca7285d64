"""Adam as the training loop has it."""

from test_training import Quadratic, start

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
