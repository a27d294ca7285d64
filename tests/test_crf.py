"""The chain against brute force over all paths: sums, gradients, best paths, probabilities of spans."""

from __future__ import annotations

import itertools

import pytest
import torch

from nlpseq.nn.crf import IMPOSSIBLE, Chain, Lattice, best_paths, log_partition, path_scores, sums

B, T, Y = 5, 5, 4


@pytest.fixture(params=[False, True], ids=["free", "with forbidden moves"])
def lattice(request) -> Lattice:
    torch.manual_seed(3)
    allowed = torch.rand(Y + 1, Y + 1) < 0.7 if request.param else torch.ones(Y + 1, Y + 1, dtype=torch.bool)
    allowed[0], allowed[:, 0] = True, True  # tag 0 goes with all, so that there is always a path
    chain = Chain(allowed, trained=True)
    torch.nn.init.normal_(chain.scores)
    made = chain.lattice(torch.randn(B, T, Y) * 2, torch.tensor([5, 1, 3, 4, 2]))
    return Lattice(*(part.detach().double().requires_grad_() for part in made[:4]), made.lengths)


def paths(lattice: Lattice, row: int):
    """Every path of a row with its score, one score after the other."""
    length = int(lattice.lengths[row])
    for path in itertools.product(range(Y), repeat=length):
        score = lattice.starts[path[0]] + lattice.ends[path[-1]]
        for t, tag in enumerate(path):
            score = score + lattice.emissions[row, t, tag]
        for before, tag in itertools.pairwise(path):
            score = score + lattice.transitions[before, tag]
        yield path, score


def brute_force(lattice: Lattice) -> torch.Tensor:
    return torch.stack([torch.stack([s for _, s in paths(lattice, row)]).logsumexp(0) for row in range(B)])


def test_the_sum_over_all_paths_and_its_gradients(lattice: Lattice):
    scores = lattice[:4]
    weights = torch.randn(B).double()  # so that rows cannot be mixed up
    expected = brute_force(lattice)
    found = log_partition(lattice)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad((total * weights).sum(), scores) for total in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)


def test_the_score_of_a_path(lattice: Lattice):
    for row in range(B):
        for path, score in itertools.islice(paths(lattice, row), 40):
            padded = torch.zeros(B, T, dtype=torch.int64)
            padded[row, : len(path)] = torch.tensor(path)
            torch.testing.assert_close(path_scores(lattice, padded)[row].sum(), score)


def test_the_best_path(lattice: Lattice):
    found = best_paths(lattice)
    for row in range(B):
        best, _ = max(paths(lattice, row), key=lambda one: one[1].item())
        assert found[row].tolist() == [*best, *[0] * (T - len(best))]


def test_sums_before_and_behind_give_the_probability_of_a_tag(lattice: Lattice):
    before, behind, total = sums(lattice)
    for row in range(B):
        expected = torch.zeros(T, Y).double()
        for path, score in paths(lattice, row):
            for t, tag in enumerate(path):
                expected[t, tag] += torch.exp(score - total[row]).detach()
        length = int(lattice.lengths[row])
        found = torch.exp(before + behind - lattice.emissions - total[:, None, None])[row, :length]
        torch.testing.assert_close(found, expected[:length], atol=1e-9, rtol=1e-7)


def test_a_cooled_lattice_divides_what_is_possible_alone(lattice: Lattice):
    cooled = lattice.cooled(2.0)
    for a, b in zip(cooled[:4], lattice[:4], strict=True):
        assert torch.equal(a, torch.where(b == IMPOSSIBLE, b, b / 2))


def test_forbidden_moves_are_never_taken_and_have_no_weight():
    allowed = torch.tensor(
        [[True, False, True], [True, True, False], [True, True, True]]
    )  # 0 to 1 never, ends not in 1
    lattice = Chain(allowed, trained=False).lattice(
        torch.tensor([[[0.0, 9.0], [0.0, 9.0], [0.0, 9.0]]]), torch.tensor([3])
    )
    assert best_paths(lattice).tolist() == [[1, 1, 0]]
    total = torch.logsumexp(torch.tensor([0.0, 9.0, 18.0]), 0)  # 000, 100, 110
    torch.testing.assert_close(log_partition(lattice), total[None])


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_large_scores_give_the_sums_and_gradients_of_logarithms(scale: float):
    """Up to 600 nats between the ways to the tags of a token."""
    torch.manual_seed(4)
    emissions, moves = (((torch.rand(n).double() - 0.5) * scale).requires_grad_() for n in ((B, 40, Y), (Y, Y)))
    lattice = Lattice(emissions, moves, *torch.randn(2, Y).double(), torch.tensor([40] * B))
    state = emissions[:, 0] + lattice.starts
    for t in range(1, 40):
        state = (state[..., None] + lattice.transitions).logsumexp(1) + emissions[:, t]
        assert state.amax(1).sub(state.amin(1)).max() < 600
    expected, found = (state + lattice.ends).logsumexp(1), log_partition(lattice)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-9)
    for ours, theirs in zip(
        *(torch.autograd.grad(total.sum(), lattice[:2]) for total in (found, expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_scores_of_any_size_give_finite_sums_and_gradients():
    lattice = Chain(torch.eye(3, dtype=torch.bool) | torch.ones(3, 3, dtype=torch.bool).tril(), trained=True).lattice(
        (torch.randn(2, 6, 2) * 500).requires_grad_(), torch.tensor([6, 2])
    )
    total = log_partition(lattice)
    gradients = torch.autograd.grad(total.sum(), lattice[:2])
    assert total.isfinite().all()
    assert all(one.isfinite().all() for one in gradients)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    chain, emissions = Chain(torch.ones(5, 5, dtype=torch.bool), trained=True), torch.randn(2, 7, 4)
    torch.nn.init.normal_(chain.scores)
    short = chain.lattice(emissions[:1, :3], torch.tensor([3]))
    long = chain.lattice(torch.cat([emissions[:1, :3], torch.full((1, 4, 4), 1e30)], 1), torch.tensor([3]))
    assert torch.equal(log_partition(short), log_partition(long))
    assert best_paths(short)[0].tolist() == best_paths(long)[0, :3].tolist()


def test_a_row_has_the_same_sums_to_the_last_bit_wherever_it_stands():
    torch.manual_seed(1)
    emissions, lengths = torch.randn(32, 24, 9) * 3, torch.randint(17, 25, (32,))
    chain, order = Chain(torch.ones(10, 10, dtype=torch.bool), trained=True), torch.randperm(32)
    torch.nn.init.normal_(chain.scores)
    here = sums(chain.lattice(emissions, lengths))
    there = sums(chain.lattice(emissions[order], lengths[order]))
    assert all(torch.equal(a[order], b) for a, b in zip(here, there, strict=True))  # matrix products would not do
