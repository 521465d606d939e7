import numpy as np
import pytest
from strict import registered

from minidiff import Tensor, models, nn, ops


class Pair(nn.Module):
    def __init__(self, rng):
        self.first = nn.Dense(2, 3, rng)
        self.rest = [nn.Dense(3, 3, rng, bias=False), nn.Sequential(nn.Dense(3, 1, rng), ops.relu)]
        self.size = 3

    def __call__(self, x):
        h = self.first(x)
        for layer in self.rest:
            h = layer(h)
        return h


@pytest.fixture
def pair():
    return Pair(np.random.default_rng(0))


def test_parameters_are_found_in_attributes_and_lists_by_name(pair):
    shapes = {name: p.shape for name, p in pair.named_parameters()}
    assert shapes == {
        "first.weight": (2, 3),
        "first.bias": (3,),
        "rest.0.weight": (3, 3),
        "rest.1.layers.0.weight": (3, 1),
        "rest.1.layers.0.bias": (1,),
    }
    assert list(shapes) == list(pair.state_dict())
    assert pair.num_parameters == 6 + 3 + 9 + 3 + 1
    assert [p is q for p, (_, q) in zip(pair.parameters(), pair.named_parameters())] == [True] * 5
    assert all(p.requires_grad and p.dtype == np.float32 for p in pair.parameters())


def test_a_parameter_in_two_places_comes_once(pair):
    pair.again = pair.first
    assert pair.num_parameters == 22
    assert "again.weight" not in pair.state_dict()


def test_a_frozen_parameter_stays_a_parameter(pair):
    pair.first.weight.requires_grad = False
    assert "first.weight" in pair.state_dict()
    pair(np.ones((4, 2), np.float32)).sum().backward()
    assert pair.first.weight.grad is None
    assert pair.first.bias.grad is not None


def test_the_state_is_a_copy_and_goes_round(pair):
    state = pair.state_dict()
    state["first.bias"] += 1
    assert not np.array_equal(state["first.bias"], pair.first.bias.numpy())
    weight = pair.first.weight
    other = Pair(np.random.default_rng(1))
    pair.load_state_dict(other.state_dict())
    assert pair.first.weight is weight
    for name, array in pair.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])
    assert not np.shares_memory(pair.first.weight.data, other.first.weight.data)


def test_loading_keeps_the_parameters_dtype(pair):
    pair.load_state_dict(
        {name: array.astype(np.float64) for name, array in pair.state_dict().items()}
    )
    assert all(p.dtype == np.float32 for p in pair.parameters())


def test_a_state_that_does_not_fit_is_named_and_changes_nothing(pair):
    before = pair.state_dict()
    state = {name: array + 1 for name, array in pair.state_dict().items()}
    state["extra"] = state.pop("first.bias")
    state["rest.0.weight"] = np.zeros((3, 2))
    with pytest.raises(
        ValueError,
        match=r"Pair: missing: first\.bias; unexpected: extra; wrong shape: rest\.0\.weight "
        r"has shape \(3, 2\), wanted \(3, 3\)",
    ):
        pair.load_state_dict(state)
    for name, array in pair.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda state: state.pop("first.bias"), r"Pair: missing: first\.bias$"),
        (lambda state: state.update(extra=np.zeros(1)), "Pair: unexpected: extra$"),
        (
            lambda state: state.update({"first.bias": np.zeros(4)}),
            r"Pair: wrong shape: first\.bias has shape \(4,\), ",
        ),
        (
            lambda state: state.update({"rest.1.layers.0.bias": ["a"]}),
            r"Pair: wrong dtype: .*bias is <U1, wanted float32",
        ),
        (
            lambda state: state.update({"first.bias": np.ones(3) * 1j}),
            r"wrong dtype: first\.bias is complex128",
        ),
    ],
)
def test_one_fault_is_enough(pair, fault, message):
    before = pair.state_dict()
    state = {name: array + 1 for name, array in pair.state_dict().items()}
    fault(state)
    with pytest.raises(ValueError, match=message):
        pair.load_state_dict(state)
    for name, array in pair.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_state_is_a_dict(pair):
    for state in (None, list(pair.state_dict()), pair):
        with pytest.raises(TypeError, match=r"state: given \w+, wanted a dict of arrays by name"):
            pair.load_state_dict(state)


def test_a_state_may_hold_tensors_and_lists(pair):
    state = {name: array + 1 for name, array in pair.state_dict().items()}
    pair.load_state_dict(
        {name: Tensor(array) if array.ndim > 1 else array.tolist() for name, array in state.items()}
    )
    for name, parameter in pair.named_parameters():
        np.testing.assert_array_equal(parameter.data, state[name])
        assert parameter.data is not state[name]


def test_loading_is_noticed_by_a_tape_that_needs_the_old_weights(pair):
    y = pair(np.ones((4, 2), np.float32)).sum()
    pair.load_state_dict(pair.state_dict())
    with pytest.raises(RuntimeError, match="written in place"):
        y.backward()


def test_the_mode_reaches_every_module(pair):
    assert pair.training
    assert pair.eval() is pair
    assert not pair.rest[1].layers[0].training
    assert pair.train() is pair
    assert pair.rest[1].layers[0].training
    assert pair.first.train(False).training is False
    assert pair.training


def test_to_swaps_the_arrays_inside_the_same_parameters(pair):
    x = np.ones((4, 2), np.float32)
    there = pair(x).numpy()
    pair(x).sum().backward()
    before = pair.state_dict()
    gradient = pair.first.weight.grad
    parameters = pair.parameters()
    with registered() as backend:
        assert pair.to("strict") is pair
        assert [a is b for a, b in zip(pair.parameters(), parameters)] == [True] * 5
        assert {p.device for p in parameters} == {"strict"}
        assert isinstance(pair.first.weight.grad, backend.array)
        np.testing.assert_array_equal(pair(backend.from_host(x)).numpy(), there)
        for name, array in pair.state_dict().items():
            assert type(array) is np.ndarray
            np.testing.assert_array_equal(array, before[name])
        pair.load_state_dict(before)
        assert pair.first.weight.device == "strict"
        pair.to("cpu")
    np.testing.assert_array_equal(pair.first.weight.grad, gradient)
    np.testing.assert_array_equal(pair(x).numpy(), there)


def test_to_a_device_that_is_not_there(pair):
    with pytest.raises(ValueError, match="device: given 'nowhere'"):
        pair.to("nowhere")


def test_printed_as_a_tree_with_shapes_and_counts(pair):
    assert repr(pair).splitlines() == [
        "Pair                  22",
        "  first: Dense         9  weight (2, 3), bias (3,)",
        "  rest.0: Dense        9  weight (3, 3)",
        "  rest.1: Sequential   4",
        "    layers.0: Dense    4  weight (3, 1), bias (1,)",
    ]
    text = repr(models.UNet())
    assert "420,497" in text
    assert "enter: Conv2d" in text
    assert "weight (3, 3, 1, 16), bias (16,)" in text


def test_a_module_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Module has no __call__"):
        nn.Module()(1)


def test_a_forward_is_told_its_name_here():
    class Net(nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(NotImplementedError, match="Net: given a method forward, wanted it under"):
        Net()(1)


def test_what_a_module_does_not_have_is_answered(pair):
    with pytest.raises(AttributeError, match=r"^Pair has no 'zero_grad'; type optimizer.zero_grad"):
        pair.zero_grad()
    with pytest.raises(AttributeError, match=r"^Pair has no 'second'$"):
        _ = pair.second
