"""The tools that look on: places, anomalies, costs, pictures."""

import numpy as np
import pytest

import minidiff as md
from minidiff import Tensor, ops
from minidiff.nn import Conv2d, Dense, Module


class Inner(Module):
    def __init__(self, rng):
        self.dense = Dense(3, 3, rng)

    def __call__(self, x):
        return ops.tanh(self.dense(x))


class Outer(Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.parts = [Inner(rng), Inner(rng)]

    def __call__(self, x):
        for part in self.parts:
            x = part(x)
        return ops.sum(x * x)


rows = np.ones((2, 3), np.float32)


def written_to():
    """A loss whose graph cannot be walked back, because y was written to."""
    x = Tensor(rows, requires_grad=True)
    y = ops.exp(x)
    loss = ops.sum(y * y)
    y.data *= 2
    return loss


def test_error_in_backward_names_the_line():
    with md.debug_mode():
        loss = written_to()
    with pytest.raises(RuntimeError, match="written in place") as caught:
        loss.backward()
    assert any(
        "test_debug.py" in note and "in written_to" in note for note in caught.value.__notes__
    )


def test_repr_tells_where_it_was_made():
    x = Tensor(rows, requires_grad=True)
    with md.debug_mode():
        y = ops.exp(x)
    assert "from exp at " in repr(y) and "in test_repr_tells_where" in repr(y)
    assert repr(ops.exp(x)).endswith("from exp)")


def test_no_place_without_debug_mode():
    with pytest.raises(RuntimeError) as caught:
        written_to().backward()
    assert not any("test_debug.py" in note for note in caught.value.__notes__)


def test_place_names_the_layer():
    with md.debug_mode():
        loss = Outer()(rows)
    layers = set()
    stack = [loss.node]
    while stack:
        node = stack.pop()
        if node is not None and hasattr(node, "parents"):
            layers.add(node.where.layer)
            stack.extend(node.parents)
    assert layers == {
        "Outer",
        "Outer.parts.0",
        "Outer.parts.0.dense",
        "Outer.parts.1",
        "Outer.parts.1.dense",
    }


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
class TestAnomaly:
    def test_names_operation_ranges_and_place(self):
        x = Tensor(np.array([1.0, -2.0, 4.0]), requires_grad=True)
        with md.detect_anomaly(), pytest.raises(FloatingPointError) as caught:
            ops.sum(ops.log(x + 1) * 2)
        assert "log gave NaN" in str(caught.value)
        assert "float64 (3,), -1 … 5" in str(caught.value)
        assert "test_debug.py" in str(caught.value)

    def test_names_the_derivative(self):
        x = Tensor(np.array([1.0, 0.0]), requires_grad=True)
        with md.detect_anomaly():
            root = ops.sum(ops.sqrt(x))
            with pytest.raises(
                FloatingPointError,
                match=r"the derivative of sqrt for operand 0 gave infinity.*test_debug",
            ):
                root.backward()

    def test_infinity_that_went_in_may_come_out(self):
        with md.detect_anomaly():
            out = ops.max_pool2d(Tensor(np.ones((1, 2, 2, 1))), 2, 1, 1)
            assert np.all(np.isfinite(out.data))
            ops.add(Tensor(np.array([np.inf])), 1)

    def test_sees_into_threads(self):
        weight = Tensor(np.zeros(3), requires_grad=True)

        def loss(x):
            return ops.mean(ops.log(ops.sum(x * weight, axis=1)))

        with md.detect_anomaly(), pytest.raises(FloatingPointError, match="log gave infinity"):
            md.sharded(loss)(np.ones((4096, 3)))


class TestProfile:
    def test_counts_every_operation(self):
        model = Outer()
        with md.profile() as p:
            loss = model(rows)
            loss.backward()
        costs = {row.operation: row for row in p.rows()}
        assert {name: row.calls for name, row in costs.items()} == {
            "dense": 2,
            "tanh": 2,
            "multiply": 1,
            "sum": 1,
            "dense backward": 2,
            "tanh backward": 2,
            "multiply backward": 1,
            "sum backward": 1,
        }
        assert costs["dense"].flops == 2 * (2 * 6 * 3)
        assert costs["tanh"].bytes == 2 * (2 * rows.nbytes)
        assert {row.layer for row in p.rows("layer")} >= {"Outer.parts.0.dense", "Outer.parts.1"}

    def test_table(self):
        with md.profile() as p:
            Outer()(rows)
        for by, words in (
            ("operation", ["dense", "GFLOP/s"]),
            ("layer", ["Outer.parts.0"]),
            ("both", ["parts.1 tanh"]),
        ):
            assert all(word in p.table(by) for word in words)
        assert str(p) == p.table()
        with pytest.raises(ValueError, match="'size'"):
            p.table("size")

    def test_two_tools_at_once(self):
        with md.profile() as outer, md.profile() as inner, md.detect_anomaly():
            Outer()(rows).backward()
        counts = [{row.operation: row.calls for row in p.rows()} for p in (outer, inner)]
        assert counts[0] and counts[0] == counts[1]

    def test_nobody_looks_on_afterwards(self):
        with md.profile() as p:
            pass
        Outer()(rows)
        assert not p.costs

    def test_convolution_is_counted_as_multiplications_and_additions(self):
        layer = Conv2d(2, 4, 3, np.random.default_rng(0), padding=1)
        with md.profile() as p:
            layer(np.ones((1, 5, 5, 2), np.float32))
        assert p.rows()[0].flops == 2 * 25 * 4 * 9 * 2


BARE = np.array([1.0, 2.0, 3.0])
PLACES = np.array([0, 2])
WRITES = {
    "an element": (lambda x: x * x, lambda x: x.data.__setitem__(0, 5.0)),
    "a bare operand": (lambda x: x * BARE, lambda x: BARE.__setitem__(0, BARE[0] + 1)),
    "an index": (lambda x: x[PLACES], lambda x: PLACES.__setitem__(0, 1 - PLACES[0])),
    "labels": (
        lambda x: ops.cross_entropy(ops.reshape(x, (1, 3)), PLACES[1:]),
        lambda x: PLACES.__setitem__(1, 2 - PLACES[1]),
    ),
}


@pytest.mark.parametrize("case", WRITES)
@pytest.mark.parametrize("create_graph", [False, True])
def test_debug_mode_notices_every_write(case, create_graph):
    f, write = WRITES[case]
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    with md.debug_mode():
        loss = ops.sum(f(x) * 2.0)
        untouched = ops.sum(f(x) * 2.0)
    untouched.backward(create_graph=create_graph)
    write(x)
    with pytest.raises(RuntimeError, match="written in place after it was recorded"):
        loss.backward(create_graph=create_graph)
