"""`graph`: its boxes against the program that they are of, as text and as a picture."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidiff as md
from minidiff import Tensor, nn, ops

rows = np.ones((2, 6), np.float32)


class Inner(nn.Module):
    def __init__(self, sizes, rng):
        self.dense = nn.Dense(*sizes, rng)

    def __call__(self, x):
        return ops.tanh(self.dense(x))


class Outer(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.parts = [Inner((6, 3), rng), Inner((3, 3), rng)]

    def __call__(self, x):
        for part in self.parts:
            x = part(x)
        return ops.sum(x * 2)


# What a step of a random program does with two of the numbers that there are: in minidiff and out.
STEPS = {
    "add": (ops.add, np.add),
    "multiply": (ops.multiply, np.multiply),
    "subtract": (ops.subtract, np.subtract),
    "tanh": (lambda x, _: ops.tanh(x), lambda x, _: np.tanh(x)),
    "sin": (lambda x, _: ops.sin(x), lambda x, _: np.sin(x)),
}
OF_TWO = ("add", "multiply", "subtract")
programs = st.lists(
    st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 99), st.integers(0, 99)),
    min_size=1,
    max_size=8,
)


def run(program, x, y, which):
    """All numbers that there are in the end, the result last."""
    there = [x, y]
    for name, first, second in program:
        operands = there[first % len(there)], there[second % len(there)]
        there.append(STEPS[name][which](*operands))
    return there


def used(program):
    """The places of all that leads to the result."""
    wanted = {len(program) + 1}
    for place in range(len(program) + 1, 1, -1):
        name, first, second = program[place - 2]
        if place in wanted:
            wanted.add(first % place)
            if name in OF_TWO:
                wanted.add(second % place)
    return sorted(wanted)


@settings(deadline=None, max_examples=60)
@given(program=programs, x=st.floats(0.3, 1.5), y=st.floats(-1.5, -0.3))
def test_every_box_has_the_value_and_the_gradient_of_its_place(program, x, y):
    """Against the program run by NumPy, and against moving one number of it a little."""
    drawn = md.graph(
        lambda x, y: run(program, x, y, 0)[-1],
        Tensor(np.array(x), requires_grad=True),
        Tensor(np.array(y), requires_grad=True),
    )
    there = run(program, x, y, 1)
    places = used(program)
    names = ["x", "y", *(name for name, _, _ in program)]
    assert sorted(box.text.split("\n")[0] for box in drawn.boxes) == sorted(
        names[place] for place in places
    )
    in_order = [place for place in places if place > 1]
    operations = [box for box in drawn.boxes if not box.is_leaf]
    leaves = [box for box in drawn.boxes if box.is_leaf]
    pairs = list(zip(in_order, operations))
    pairs += [("xy".index(box.text[0]), box) for box in leaves]
    for place, box in pairs:
        assert float(box.value) == pytest.approx(there[place], rel=6e-3, abs=1e-9)
        slope = (moved(program, x, y, place, 1e-6) - moved(program, x, y, place, -1e-6)) / 2e-6
        assert float(box.gradient) == pytest.approx(slope, rel=6e-3, abs=1e-5)


def moved(program, x, y, place, step):
    """The result, if the number at a place were larger by a step."""
    there = [x, y]
    for at in range(len(program) + 2):
        if at > 1:
            name, first, second = program[at - 2]
            there.append(STEPS[name][1](there[first % at], there[second % at]))
        if at == place:
            there[at] = there[at] + step
    return there[-1]


@settings(deadline=None, max_examples=60)
@given(program=programs)
def test_arrows_go_down(program):
    x, y = (Tensor(np.array(1.0), requires_grad=True) for _ in range(2))
    drawn = md.graph(lambda: run(program, x, y, 0)[-1])
    levels = drawn._rows()
    for i, box in enumerate(drawn.boxes):
        assert all(source < i and levels[source] < levels[i] for source in box.sources)
        assert levels[i] >= 0


def test_boxes_are_leaves_and_operations_in_layers():
    drawn = md.graph(Outer(), rows)
    assert [(box.layer, box.text.split("\n")[0]) for box in drawn.boxes] == [
        ("parts.0.dense", "weight"),
        ("parts.0.dense", "bias"),
        ("parts.0.dense", "dense"),
        ("parts.0", "tanh"),
        ("parts.1.dense", "weight"),
        ("parts.1.dense", "bias"),
        ("parts.1.dense", "dense"),
        ("parts.1", "tanh"),
        ("", "multiply"),
        ("", "sum"),
    ]
    assert [box.sources for box in drawn.boxes] == [
        *([], [], [0, 1], [2]),
        *([], [], [3, 4, 5], [6]),
        *([7], [8]),
    ]
    assert drawn.boxes[2].text == "dense\n2 × 3"
    assert [i for i, box in enumerate(drawn.boxes) if box.is_leaf] == [0, 1, 4, 5]


def test_depth_makes_one_box_of_a_layer_and_its_parameters():
    drawn = md.graph(Outer(), rows, depth=2)
    assert [box.text.split("\n")[0] for box in drawn.boxes] == [
        "dense, tanh",
        "dense, tanh",
        "multiply",
        "sum",
    ]
    whole = md.graph(Outer(), rows).boxes
    assert drawn.boxes[0].value == whole[3].value and drawn.boxes[0].gradient == whole[3].gradient


def test_no_gradient_is_written_or_lost():
    model = Outer()
    model.parts[0].dense.bias.grad = np.ones(3, np.float32)
    md.graph(model, rows)
    assert model.parts[0].dense.weight.grad is None
    assert np.array_equal(model.parts[0].dense.bias.grad, np.ones(3))


def test_several_elements_have_values_and_no_gradients():
    x = Tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
    boxes = md.graph(ops.exp, x).boxes
    assert [box.value for box in boxes] == ["1 … 6", "2.72 … 403"]
    assert not any(box.gradient for box in boxes)


def test_numbers_that_are_few_or_equal():
    x = Tensor(np.array([1.0, 2.0, 0.5]), requires_grad=True)
    many = Tensor(np.zeros(9), requires_grad=True)
    boxes = md.graph(lambda: ops.sum(x * 2) + ops.sum(many)).boxes
    texts = {box.text.split("\n")[0]: box for box in boxes if box.is_leaf}
    assert (texts["x"].value, texts["x"].gradient) == ("1, 2, 0.5", "2, 2, 2")
    assert (texts["many"].value, texts["many"].gradient) == ("all 0", "all 1")


def test_what_has_no_place_in_the_program_is_a_box_too():
    """`sharded`, `checkpoint` and hooks make their nodes themselves."""
    x = Tensor(np.ones(3), requires_grad=True)
    loss = md.sharded(lambda batch: ops.mean(batch * x))
    assert [box.text.split("\n")[0] for box in md.graph(loss, np.ones((4096, 3))).boxes] == [
        "leaf",
        "sharded",
    ]
    drawn = md.graph(lambda: ops.sum(md.gradient_hook(md.checkpoint(ops.exp)(x), lambda g: None)))
    names = [box.text.split("\n")[0] for box in drawn.boxes]
    assert names == ["x", "checkpoint", "gradient_hook", "sum"]


def test_graphviz():
    text = str(md.graph(Outer(), rows))
    assert text.startswith("digraph {") and text.endswith("}")
    assert 'label="parts.0.dense"' in text and "  8 -> 9\n" in text
    assert re.search(r'\[label="dense\\n2 × 3\\nvalue [^"]+ … [^"]+\\ngradient [^"]+"\]', text)
    assert text.count("shape=ellipse") == 4


def test_picture(tmp_path):
    figure = md.graph(Outer(), rows).draw(tmp_path / "graph.png")
    assert (tmp_path / "graph.png").stat().st_size > 1000
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any("parts.0.dense: dense\n2 × 3\nvalue" in text for text in texts)
    assert any(text.startswith("parts.0.dense: weight\n6 × 3") for text in texts)


def test_unet_at_depth_two_fits_a_page():
    model = md.models.UNet(width=8, multipliers=(1, 2))
    drawn = md.graph(model, np.zeros((1, 8, 8, 1), np.float32), 3, np.array([1]), depth=2)
    assert 8 < len(drawn.boxes) < 30
    assert any(box.layer.startswith("down") for box in drawn.boxes)


def test_a_notebook_shows_graphs_and_costs():
    x = Tensor(np.ones(3), requires_grad=True)
    drawn = md.graph(lambda: ops.sum(ops.exp(x)))
    assert drawn._repr_png_()[:4] == b"\x89PNG"
    assert drawn.draw()._repr_png_()[:4] == b"\x89PNG"
    assert repr(drawn) == "Graph(3 boxes)"
    with md.profile() as costs:
        ops.exp(x)
    assert "exp" in repr(costs) and repr(costs) == str(costs) == costs.table()
