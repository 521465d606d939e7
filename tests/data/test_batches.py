"""Batches and the validation split: nothing lost, nothing twice, all of it from the seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.data import batch_count, minibatches, split_validation
from minidiff.data.batches import ORDER

sizes = {
    "n": st.integers(0, 40),
    "size": st.integers(1, 50),
    "seed": st.integers(0, 2**40),
    "epoch": st.integers(0, 9),
}


def rows(n):
    """Samples (n, 1) and labels (n,) that belong together: sample i and its label are i + 1."""
    return np.arange(1, n + 1, dtype=np.float32)[:, None], np.arange(1, n + 1)


@given(**sizes)
@settings(deadline=None, max_examples=50)
def test_an_epoch_holds_every_row_once_and_together(n, size, seed, epoch):
    batches = list(minibatches(rows(n), size, seed, epoch))
    assert len(batches) == batch_count(n, size)
    assert all(len(x) == size for x, _ in batches[:-1]) and sum(len(x) for x, _ in batches) == n
    for x, labels in batches:
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x[:, 0], labels)
    assert sorted(label for _, labels in batches for label in labels) == list(range(1, n + 1))


@given(start=st.integers(0, 40), **sizes)
@settings(deadline=None, max_examples=50)
def test_a_resumed_epoch_goes_on_where_it_was_left(n, size, seed, epoch, start):
    start = min(start, batch_count(n, size))
    whole = list(minibatches(rows(n), size, seed, epoch, 0))
    rest = list(minibatches(rows(n), size, seed, epoch, start))
    assert len(rest) == len(whole) - start
    for (x, labels), (x_again, labels_again) in zip(whole[start:], rest):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(labels, labels_again)


def test_orders_differ_between_epochs_and_seeds():
    orders = {
        tuple(next(minibatches(rows(100), 100, seed, epoch))[1])
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_order_shares_no_seed_with_a_training_step():
    """[seed, k] and [seed, k, 0] seed a Generator alike, so the tag must be no step's number."""
    assert np.random.default_rng([7, 5]).random() == np.random.default_rng([7, 5, 0]).random()
    assert 10**9 < ORDER < 2**32


def test_without_seed_the_order_is_the_arrays_own():
    batches = list(minibatches((rows(5)[0], None), 2))
    assert [x[:, 0].tolist() for x, _ in batches] == [[1, 2], [3, 4], [5]]
    assert all(labels is None for _, labels in batches)


def test_bad_batches():
    with pytest.raises(ValueError, match=r"arrays: given lengths \[2, 3\]"):
        minibatches((np.zeros(2), np.zeros(3)), 1)
    with pytest.raises(ValueError, match="arrays: given lengths"):
        minibatches((None,), 1)
    with pytest.raises(ValueError, match="size: given 0, wanted an integer of at least 1"):
        minibatches(rows(3), 0)
    with pytest.raises(ValueError, match="start: given 3, wanted an integer from 0 to 2"):
        minibatches(rows(3), 2, start=3)


@given(
    n=st.integers(2, 60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
    labelled=st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_split_parts_the_rows(n, fraction, seed, labelled):
    samples, labels = rows(n)
    train, validation = split_validation(samples, labels if labelled else None, fraction, seed)
    assert len(validation[0]) == max(1, int(fraction * n))
    assert sorted([*train[0][:, 0], *validation[0][:, 0]]) == list(samples[:, 0])
    for x, given_labels in (train, validation):
        if labelled:
            np.testing.assert_array_equal(x[:, 0], given_labels)
        else:
            assert given_labels is None
    again = split_validation(samples, labels, fraction, seed)
    np.testing.assert_array_equal(again[1][0], validation[0])


def test_split_draws_from_all_the_data():
    (_, train), (_, validation) = split_validation(*rows(1000))
    assert len(train) == 900 and len(validation) == 100
    assert validation.min() < 100 and validation.max() > 900
    assert set(split_validation(*rows(1000), seed=1)[1][1]) != set(validation)


def test_bad_splits():
    samples, labels = rows(4)
    for fraction in (0, 1, -0.5, float("nan")):
        with pytest.raises(ValueError, match="fraction: given"):
            split_validation(samples, labels, fraction)
    with pytest.raises(ValueError, match="samples: given 1, wanted 2 or more"):
        split_validation(samples[:1])
    with pytest.raises(ValueError, match=r"labels: given shape \(3,\), wanted \(4,\)"):
        split_validation(samples, labels[:3])
    samples[2] = np.inf
    with pytest.raises(
        ValueError, match=r"samples: given NaN or infinity in 1 of 4 values.*\(2, 0\)"
    ):
        split_validation(samples)
