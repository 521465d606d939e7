"""Sums along a tree: the same, whoever adds which branches; and rows beside a mean."""

from itertools import pairwise
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidiff as md
from minidiff import ops
from minidiff.autograd import pieces
from minidiff.autograd.pieces import branches_within, summed, tree_sum


@given(count=st.integers(1, 70), ranks=st.integers(1, 12))
def test_branches_of_ranks_cover_each_piece_once_and_give_the_trees_sum(count, ranks):
    """Text instead of numbers shows the order and the brackets."""
    leaves = {(k, k + 1): str(k) for k in range(count)}
    bracketed = lambda a, b: f"({a}+{b})"
    edges = [count * rank // ranks for rank in range(ranks + 1)]
    parts = {}
    for low, high in pairwise(edges):
        for branch in branches_within((0, count), low, high):
            parts[branch] = tree_sum(leaves, branch, bracketed)
    covered = [k for branch in sorted(parts) for k in range(*branch)]
    assert covered == list(range(count))
    assert tree_sum(parts, (0, count), bracketed) == tree_sum(leaves, (0, count), bracketed)


def test_the_tree_halves():
    leaves = {(k, k + 1): str(k) for k in range(6)}
    assert tree_sum(leaves, (0, 6), lambda a, b: f"({a}{b})") == "((0(12))(3(45)))"
    assert branches_within((0, 6), 1, 6) == [(1, 3), (3, 6)]


def test_a_receiver_that_some_pieces_lack():
    of_piece = {0: {"a": 1.0}, 1: {"a": 2.0, "b": 3.0}, 2: {"b": 4.0}}
    assert summed(of_piece, (0, 3)) == {"a": 3.0, "b": 7.0}
    assert of_piece[0] == {"a": 1.0}


def test_a_batch_of_sharded_is_summed_along_the_tree():
    """With numbers that tell the order of their sum."""
    x = np.random.default_rng(0).standard_normal((6 * 32, 200)).astype(np.float32)
    w = md.Tensor(np.zeros(200, np.float32), requires_grad=True)
    cuts = md.autograd.threads.pieces_of(*x.shape)
    assert len(cuts) == 6
    md.sharded(lambda x: ops.mean(x @ w))(x).backward()
    leaves = {}
    for k, cut in enumerate(cuts):
        each = md.Tensor(w.data, requires_grad=True)
        (ops.mean(x[cut] @ each) * np.float32(1 / 6)).backward()
        leaves[k, k + 1] = each.grad
    want = tree_sum(leaves, (0, 6), add)
    in_a_row = sum(leaves.values())
    np.testing.assert_array_equal(w.grad, want)
    assert (want != in_a_row).any()  # so the test can tell


class Apart:
    """A group of one process that plays several: each piece is computed by itself."""

    def __init__(self):
        self.asked = []

    def shared(self, compute, count):
        self.asked.append(count)
        outcomes = [compute(range(k, k + 1))[0] for k in range(count)]
        gradients = {k: each.gradients for k, each in enumerate(outcomes)}
        values = [each.value for each in outcomes]
        return values, [each.rows for each in outcomes], summed(gradients, (0, count))


@pytest.fixture
def apart():
    group = Apart()
    before = pieces.group.set(group)
    yield group
    pieces.group.reset(before)


def f(w):
    def with_rows(x):
        out = ops.tanh(x @ w)
        return ops.mean(out), out.numpy()

    return with_rows


def test_a_group_computes_what_one_process_does(apart):
    x = np.random.default_rng(0).standard_normal((128, 200)).astype(np.float32)
    w = md.Tensor(np.ones(200, np.float32), requires_grad=True)
    mean, rows = md.sharded(f(w))(x)
    mean.backward()
    grad = w.grad
    w.grad = None
    pieces.group.set(None)
    alone, alone_rows = md.sharded(f(w))(x)
    alone.backward()
    assert mean.item() == alone.item()
    np.testing.assert_array_equal(rows, alone_rows)
    np.testing.assert_array_equal(grad, w.grad)
    assert apart.asked == [4]


def test_inside_a_piece_no_other_process_is_asked(apart):
    x = np.ones((128, 200), np.float32)
    inner = md.sharded(lambda x: ops.mean(x))
    assert md.sharded(lambda x: inner(x))(x).item() == 1
    assert apart.asked == [4]


def test_a_layer_with_running_values_is_refused_where_processes_share(apart):
    layer = md.nn.BatchNorm1d(200)
    with pytest.raises(ValueError, match="a layer with running values, as BatchNorm has, wanted"):
        md.sharded(lambda x: ops.mean(layer(x)))(np.ones((128, 200), np.float32))


def test_rows_beside_a_mean_come_in_the_order_of_the_batch():
    for n in (3, 300):  # in one piece, and in several
        x = np.arange(n * 200, dtype=np.float32).reshape(n, 200)
        mean, rows = md.sharded(lambda x: (ops.mean(x), x[:, 0]))(x)
        np.testing.assert_array_equal(rows, x[:, 0])
        assert np.isclose(float(mean), x.mean())
