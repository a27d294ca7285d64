import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq import batches
from nlpseq.batches import Ragged, RaggedWriter, load_ragged, pad, plan
from nlpseq.errors import ArtefactError

sequences = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=12)


def ragged(rows):
    ids = np.array([i for row in rows for i in row], np.int32)
    return Ragged(ids, np.cumsum([0, *map(len, rows)]))


def rows_of(data):
    return [data.ids[a:b].tolist() for a, b in zip(data.offsets, data.offsets[1:], strict=False)]


@pytest.fixture(params=[7, 1 << 17], ids=["small pools", "one pool"])
def pool(request, monkeypatch):
    monkeypatch.setattr(batches, "_POOL", request.param)


def lengths(number, seed=0):
    draw = np.random.default_rng(seed)
    source = draw.integers(1, 60, number)
    return source, np.clip(source + draw.integers(-3, 4, number), 1, None)


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("number", [0, 1, 2, 7, 8, 100])
@pytest.mark.parametrize("batch_tokens", [1, 61, 400, 10**6])
def test_every_example_once_and_no_batch_too_large(number, batch_tokens):
    sides = lengths(number)
    made = plan(sides, batch_tokens, seed=1, epoch=0)
    parts = [made.batch(i) for i in range(len(made))]
    assert sorted(n for part in parts for n in part.tolist()) == list(range(number))
    for part in parts:
        assert len(part) >= 1
        assert len(part) == 1 or len(part) * max(side[part].max() for side in sides) <= batch_tokens


def test_batches_are_as_full_as_they_may_be():
    made = plan((np.full(100, 5),), 23, seed=1, epoch=0)
    assert sorted(len(made.batch(i)) for i in range(len(made))) == [4] * 25


def test_like_lengths_come_together():
    sides = lengths(3000)
    made = plan(sides, 2000, seed=1, epoch=0)
    parts = [made.batch(i) for i in range(len(made))]
    for side in sides:
        padded = sum(len(part) * side[part].max() for part in parts)
        assert padded < 1.15 * side.sum()


@pytest.mark.usefixtures("pool")
def test_the_order_is_a_function_of_seed_and_epoch():
    sides = lengths(300)

    def order(seed, epoch):
        made = plan(sides, 200, seed=seed, epoch=epoch)
        return [tuple(made.batch(i).tolist()) for i in range(len(made))]

    first = order(1, 0)
    np.random.rand(5)  # the global generator must not matter
    assert order(1, 0) == first
    others = [order(1, 1), order(2, 0), order(0, 1)]
    assert all(other != first for other in others)
    assert all(set(other) != set(first) for other in others)  # other neighbours, not only another order
    assert len({tuple(other) for other in others}) == 3


def test_batches_do_not_come_sorted_by_length():
    sides = lengths(3000)
    made = plan(sides, 1000, seed=1, epoch=0)
    longest = [sides[0][made.batch(i)].max() for i in range(len(made))]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.4


def test_pools_bound_what_is_sorted_together(monkeypatch):
    monkeypatch.setattr(batches, "_POOL", 10)
    made = plan((np.arange(1, 101),), 10**6, seed=1, epoch=0)
    assert [len(made.batch(i)) for i in range(len(made))] == [10] * 10


@given(sequences)
def test_pad_gives_back_what_was_put_in(rows):
    data = ragged(rows)
    chosen = np.arange(len(rows))[::-1].copy()
    tokens, sizes = pad(data, chosen, value=-7)
    assert sizes.tolist() == [len(rows[i]) for i in chosen]
    width = max(map(len, rows), default=0)
    assert tokens.tolist() == [rows[i] + [-7] * (width - len(rows[i])) for i in chosen]


def test_pad_rounds_the_width_up():
    data = ragged([[1, 2, 3], [4], [5, 6, 7, 8]])
    assert pad(data, np.array([0, 0]))[0].tolist() == [[1, 2, 3]] * 2


@given(st.lists(sequences, max_size=4))
def test_what_is_written_is_read(tmp_path_factory, blocks):
    path = tmp_path_factory.mktemp("ragged") / "train.source"
    writer = RaggedWriter(path)
    for block in blocks:
        writer.write(block)
    writer.close()
    data = load_ragged(path)
    rows = [row for block in blocks for row in block]
    assert len(data) == len(rows)
    assert rows_of(data) == rows
    assert data.lengths.tolist() == list(map(len, rows))


@pytest.mark.parametrize("suffix", ["ids", "offsets"])
@pytest.mark.parametrize("place", [0, 9, -1])
def test_a_flipped_bit_is_found(tmp_path, suffix, place):
    writer = RaggedWriter(tmp_path / "a")
    writer.write([[1, 2, 3], [4, 5]])
    writer.close()
    path = tmp_path / f"a.{suffix}"
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"a\.ids` must be whole .* but is damaged"):
        load_ragged(tmp_path / "a")
