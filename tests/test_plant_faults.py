"""The script that plants faults: it knows every place, and the faults are what they say."""

import numpy as np
import plant_faults
import pytest
from mutants import at_argument, at_output, doubled, flipped, mutants, without_last, written, zeroed

import minidiff as md
from minidiff.kernels import generic
from minidiff.ops import elementwise


def faults_of(places):
    return [plant_faults.Fault(place, "", what, None) for place in places for what in "ab"]


def test_a_place_without_two_different_faults_is_named():
    places = plant_faults.places()
    faults = faults_of(places)
    assert plant_faults.too_few(faults) == []
    for place in (
        "multiply: rule for x",
        "dense: rule for b",
        "multiply: forward",
        "loops: conv2d",
        "vector: adam",
    ):
        others = [fault for fault in faults if fault.place != place]
        of_one_kind = faults_of([place])[:1] * 2
        assert plant_faults.too_few(others) == [place]
        assert plant_faults.too_few(others + of_one_kind) == [place]


def test_a_new_rule_kernel_or_reference_is_a_new_place(monkeypatch):
    before = plant_faults.places()
    cube = md.Primitive(
        "cube",
        "x y",
        kernel=lambda x, y: x**3 + y,
        joint=lambda g, x: (3 * g * x * x, g),
        reference=lambda x, y: x * x * x + y,
        forward=lambda tangents, x: 3 * tangents[0] * x * x + tangents[1],
    )
    monkeypatch.setattr(elementwise, "cube", cube, raising=False)
    parts = ("rule for x", "rule for y", "reference", "forward", "own kernel")
    new = {f"cube: {part}" for part in parts}
    assert plant_faults.places() - before == new


@pytest.mark.parametrize("change", [flipped, doubled, zeroed, without_last])
def test_a_change_of_a_result_is_one(change):
    for result in (np.array([1.0, 2.0]), np.array(3.0), np.ones((2, 3)).T):
        got = at_output(lambda result=result: result, None, change)()
        assert np.shape(got) == result.shape
        assert not np.array_equal(got, result)
    (got,) = change((None,))
    assert got is None
    pair = at_output(lambda: (np.ones(2), np.ones(2)), 1, change)()
    np.testing.assert_array_equal(pair[0], np.ones(2))
    assert not np.array_equal(pair[1], np.ones(2))


def test_a_change_of_what_is_written():
    assert written(generic.adam) == [2, 3, 0]
    assert written(generic.ema) == [0]
    assert written(generic.blend) == []
    average = np.zeros(2)
    at_argument(generic.ema, 0, doubled)(average, np.ones(2), 0.5)
    np.testing.assert_array_equal(average, np.ones(2))


def example(x, n):
    total = sum([x - 1]) * 3
    for _ in range(n):
        total += x
    return total


def test_each_mutant_differs_from_the_source_by_its_name():
    found = dict(mutants(example))
    assert list(found) == [
        "'sum([x - 1]) * 3' becomes 'sum([x - 1])'",
        "'sum([x - 1]) * 3' becomes '3'",
        "'sum([x - 1])' becomes '[x - 1]'",
        "'x - 1' becomes 'x'",
        "'x - 1' becomes '1'",
        "'x - 1' becomes '1 - x'",
        "'range(n)' becomes 'range(n - 1)'",
        "'total += x' becomes 'pass'",
    ]
    del found["'sum([x - 1])' becomes '[x - 1]'"]
    assert example(5, 2) == 22
    assert [mutant(5, 2) for mutant in found.values()] == [14, 13, 25, 13, -2, 17, 12]
