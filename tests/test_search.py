import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.search import greedy

GO, EOS, V = 2, 3, 9


class Chain(NamedTuple):
    """The next logits depend on row, step and the token just written."""

    table: torch.Tensor  # (B, T, V, V)
    count: torch.Tensor  # (B,)


def chain(rows, steps=12, seed=0):
    table = torch.randn(rows, steps, V, V, generator=torch.Generator().manual_seed(seed))
    return Chain(table, torch.zeros(rows, dtype=torch.int64))


def step(tokens, state):
    rows = torch.arange(len(tokens))
    return state.table[rows, state.count, tokens].clone(), state._replace(count=state.count + 1)


def by_hand(state, row, limit, banned):
    """What greedy says of one row, written as it is defined: one token after the other."""
    last, score, written = GO, 0.0, []
    for count in range(limit):
        logits = [-math.inf if v in banned else x for v, x in enumerate(state.table[row, count, last].tolist())]
        last = max(range(V), key=lambda v: (logits[v], -v))
        score += logits[last] - math.log(sum(map(math.exp, logits)))
        if last == EOS:
            return written, score
        written.append(last)
    return written, score


@given(
    st.lists(st.integers(0, 12), max_size=6),
    st.integers(1, 8),
    st.integers(0, 10**6),
    st.sampled_from([(), (0, 2), (7,)]),
)
def test_each_sentence_is_what_the_definition_says(limits, rows, seed, banned):
    state = chain(len(limits), steps=40, seed=seed)  # idle rows go on
    found = greedy(step, state, limits, rows=rows, go=GO, eos=EOS, banned=banned)
    expected = [by_hand(state, row, limit, banned) for row, limit in enumerate(limits)]
    assert found.tokens == [written for written, _ in expected]
    assert found.scores == pytest.approx([score for _, score in expected], abs=1e-4)


def path(*tokens, margin=5.0):
    """A table whose argmax is these tokens in turn, whatever was written before."""
    table = torch.zeros(1, len(tokens), V, V)
    for count, token in enumerate(tokens):
        table[0, count, :, token] = margin
    return Chain(table, torch.zeros(1, dtype=torch.int64))


def test_the_likeliest_token_is_fed_back_until_eos():
    fed = []

    def recorded(tokens, state):
        fed.append(tokens.tolist())
        return step(tokens, state)

    found = greedy(recorded, path(4, 8, 5, EOS, 6), [5], rows=1, go=GO, eos=EOS)
    assert found.tokens == [[4, 8, 5]]
    assert fed == [[GO], [4], [8], [5]]  # and no step after the last one has ended
    each = 5 - math.log(math.exp(5) + V - 1)
    assert found.scores[0] == pytest.approx(4 * each, abs=1e-5)


def test_a_limit_cuts_and_adds_no_eos_to_the_score():
    found = greedy(step, path(4, 8, 5, EOS), [2], rows=1, go=GO, eos=EOS)
    assert found.tokens == [[4, 8]]
    assert found.scores[0] == pytest.approx(2 * (5 - math.log(math.exp(5) + V - 1)), abs=1e-5)


def test_a_row_whose_sentence_has_ended_takes_the_next_one_and_every_step_has_all_rows():
    ends = [path(4, EOS, 6, 6).table, path(5, 6, 7, 8).table, path(8, 7, EOS, 6).table]
    state, fed = Chain(torch.cat(ends), torch.zeros(3, dtype=torch.int64)), []

    def recorded(tokens, state):
        fed.append(tokens.tolist())
        return step(tokens, state)

    found = greedy(recorded, state, [3, 4, 2], rows=2, go=GO, eos=EOS)
    assert found.tokens == [[4], [5, 6, 7, 8], [8, 7]]
    assert fed == [[GO, GO], [5, 4], [6, GO], [7, 8]]  # the longest limit first; the third sentence takes over


def test_a_banned_token_is_never_written_and_has_no_share():
    table = torch.zeros(1, 1, V, V)
    table[..., 6], table[..., 4] = 5.0, 1.0
    found = greedy(step, Chain(table, torch.zeros(1, dtype=torch.int64)), [1], rows=1, go=GO, eos=EOS, banned=(0, 6))
    assert found.tokens == [[4]]
    assert found.scores[0] == pytest.approx(1 - math.log(math.e + V - 3), abs=1e-5)


def test_sentences_of_limit_0_write_nothing():
    found = greedy(step, chain(3), [0, 4, 0], rows=2, go=GO, eos=EOS)
    assert (found.tokens[0], found.tokens[2]) == ([], [])
    assert found.scores[0] == found.scores[2] == 0
    assert found.scores[1] < 0
    assert greedy(step, chain(2), [0, 0], rows=2, go=GO, eos=EOS) == ([[], []], [0.0, 0.0])


def test_equal_logits_give_the_lowest_id():
    table = torch.zeros(1, 1, 4, 1000)
    table[..., [700, 41, 999]] = 3.0
    assert greedy(step, Chain(table, torch.zeros(1, dtype=torch.int64)), [1], rows=1, go=GO, eos=EOS).tokens == [[41]]
    even = Chain(torch.zeros(1, 1, 4, 1000), torch.zeros(1, dtype=torch.int64))
    assert greedy(step, even, [1], rows=1, go=GO, eos=EOS).tokens == [[0]]


def test_neighbours_change_nothing():
    state, limits = chain(7, steps=40), [12, 1, 0, 5, 9, 12, 3]
    whole = greedy(step, state, limits, rows=3, go=GO, eos=EOS)
    for row, limit in enumerate(limits):
        one = Chain(state.table[row : row + 1], state.count[:1])
        alone = greedy(step, one, [limit], rows=3, go=GO, eos=EOS)
        assert (alone.tokens[0], alone.scores[0]) == (whole.tokens[row], whole.scores[row])
