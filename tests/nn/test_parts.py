"""What belongs to a module: parameters, buffers and modules, wherever it holds them."""

import copy
import pickle
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strict import registered

import minidiff as md
from minidiff import Tensor, nn, ops
from minidiff.optim import EMA, SGD, Adam


def parameter(*shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


class Holder(nn.Module):
    def __init__(self, held):
        self.held = held


leaves = st.one_of(
    st.integers(1, 5).map(parameter),
    st.integers(1, 5).map(lambda n: Holder(parameter(n))),
    st.integers(1, 5).map(lambda n: Tensor(np.ones(n, np.float32))),
    st.integers(1, 5).map(lambda n: parameter(n) * 2.0),
    st.sampled_from([None, 3, "text", np.ones(2), ops.relu]),
)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(deque),
        st.dictionaries(st.sampled_from(["a", "b", 0]), inner, max_size=3),
        inner.map(Holder),
    ),
    max_leaves=8,
)


def sizes(value):
    """How many numbers there are to train, found by other means: what wants gradients."""
    if isinstance(value, Tensor):
        return value.size if value.requires_grad and value.node is None else 0
    if isinstance(value, Holder):
        return sizes(value.held)
    if isinstance(value, dict):
        return sum(map(sizes, value.values()))
    return sum(map(sizes, value)) if isinstance(value, list | tuple | deque) else 0


@settings(max_examples=60, deadline=None)
@given(nested)
def test_every_parameter_is_found_saved_and_loaded_however_deep_it_is(held):
    model = Holder(held)
    assert model.num_parameters == sizes(held)
    state = {name: array + 1 for name, array in model.state_dict().items()}
    assert sum(array.size for array in state.values()) == sizes(held)
    model.load_state_dict(state)
    assert all((p.data == 2).all() for p in model.parameters())
    repr(model)


def test_names_are_paths():
    model = Holder({"down": [[parameter(1)], (Holder(parameter(2)),)], 7: parameter(3)})
    shapes = {name: p.shape for name, p in model.named_parameters()}
    assert shapes == {"held.down.0.0": (1,), "held.down.1.0.held": (2,), "held.7": (3,)}


@pytest.mark.parametrize("use", [nn.Module.state_dict, nn.Module.parameters, EMA])
def test_two_parts_of_one_name_are_refused(use):
    model = Holder({"a.b": parameter(1), "a": {"b": parameter(2)}})
    with pytest.raises(ValueError, match=r"held\.a\.b: given for two parameters"):
        use(model)


def test_a_set_has_no_order_to_save_in():
    with pytest.raises(TypeError, match="held: given a set, wanted a list or a dict"):
        Holder({parameter(1)}).parameters()
    assert Holder({1, "two"}).num_parameters == 0


def test_what_is_reached_in_several_ways_counts_once():
    shared = Holder(parameter(3))
    model = Holder([shared, {"again": shared}, shared.held])
    model.itself = model.held
    assert model.num_parameters == 3
    assert list(model.state_dict()) == ["held.0.held"]
    assert model.modules() == [model, shared]


def test_a_circle_ends():
    child = Holder(parameter(2))
    model = Holder([child, parameter(1)])
    child.parent = model
    model.held.append(model.held)
    assert list(model.state_dict()) == ["held.0.held", "held.1"]
    assert model.eval().training is child.training is False
    assert child.train().training is model.training is True
    assert repr(model).count("Holder") == 2
    again = copy.deepcopy(model)
    assert again.held[0].parent is again


@pytest.mark.parametrize("recorded", [True, False])
def test_an_activation_that_is_kept_is_no_part(recorded):
    class Keeping(nn.Module):
        def __init__(self):
            self.dense = nn.Dense(2, 3, 0)
            self.seen = []

        def __call__(self, x):
            self.last = self.dense(x)
            self.seen += [self.last, self.last.detach()]
            return self.last

    model = Keeping()
    names = list(model.state_dict())
    optimizer = Adam(model.parameters())
    x = np.ones((4, 2), np.float32)
    if recorded:
        model(x).sum().backward()
        optimizer.step()
    else:
        with model.evaluating():
            model(x)
    assert model.num_parameters == 9
    assert list(model.state_dict()) == names == ["dense.weight", "dense.bias"]
    model.load_state_dict(model.state_dict())
    Adam(model.parameters())
    EMA(model).update()


@pytest.mark.parametrize("when", ["before", "after"])
def test_frozen_parameters_stay_in_the_state_and_are_not_trained(when):
    model = Holder([nn.Dense(2, 3, 0), nn.Dense(3, 1, 1)])
    loose = parameter(2)
    model.held.append(loose)
    frozen = [model.held[0].weight, loose]
    names = list(model.state_dict())

    def freeze():
        for p in frozen:
            p.requires_grad = False

    if when == "before":
        freeze()
    optimizer = Adam(model.parameters(), lr=0.1)
    ema = EMA(model)
    if when == "after":
        frozen[0].grad = np.ones_like(frozen[0].data)  # left from a step before
        freeze()
    before = model.state_dict()
    first, second, _ = model.held
    second(first(np.ones((4, 2), np.float32))).sum().backward()
    optimizer.step()
    ema.update()
    after = model.state_dict()
    assert list(after) == names
    changed = [name for name in names if not np.array_equal(before[name], after[name])]
    assert changed == ["held.0.bias", "held.1.weight", "held.1.bias"]
    assert list(ema.average) == names


def test_a_leaf_that_wants_gradients_by_now_is_a_parameter_from_then_on():
    leaf = Tensor(np.ones(3, np.float32))
    leaf.requires_grad = True
    model = Holder(leaf)
    leaf.requires_grad = False
    assert list(model.state_dict()) == ["held"]
    assert copy.deepcopy(model).num_parameters == 3


def test_a_parameter_is_not_lost_by_a_slip():
    layer = nn.Dense(2, 3, 0)
    weight = layer.weight
    for value in (layer.weight * 0.5, np.zeros((2, 3)), Tensor(np.zeros((2, 3))), 0.0):
        with pytest.raises(TypeError, match=r"^weight: given .* for a parameter, wanted a Tensor"):
            layer.weight = value
    assert layer.weight is weight
    layer.weight = parameter(2, 3)
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]


class Counting(nn.Module):
    """x minus the mean of all rows seen so far."""

    def __init__(self):
        self.register_buffer("running_mean", np.zeros(2, np.float32))
        self.register_buffer("count", 0)
        self.scale = parameter(2)

    def __call__(self, x):
        self.count = self.count + 1
        self.running_mean = self.running_mean + (x - self.running_mean).mean(0) / float(self.count)
        return (x - self.running_mean) * self.scale


def test_buffers_are_saved_loaded_moved_and_not_trained():
    x = np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)
    model = Counting()
    assert [p is model.scale for p in model.parameters()] == [True]
    optimizer = SGD(model.parameters(), 0.1)
    ema = EMA(model)
    for step in range(1, 3):
        optimizer.zero_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()
        ema.update()
        assert model.count.item() == step
    state = model.state_dict()
    assert list(state) == ["running_mean", "count", "scale"]
    assert state["count"] == 2 and state["count"].dtype.kind == "i"
    np.testing.assert_allclose(state["running_mean"], [2, 4])
    assert dict(model.named_buffers()).keys() == {"running_mean", "count"}

    fresh = Counting()
    fresh.load_state_dict(state)
    assert fresh.count.item() == 2
    assert fresh.count.dtype.kind == "i"
    with pytest.raises(ValueError, match=r"wrong dtype: count is float64, wanted int64"):
        fresh.load_state_dict({**state, "count": 2.5})
    with ema.applied():
        assert model.count.item() == 2
        np.testing.assert_array_equal(model.running_mean.data, state["running_mean"])
        assert not np.array_equal(model.scale.data, state["scale"])
    np.testing.assert_array_equal(model.scale.data, state["scale"])
    with registered() as backend:
        model.to("strict")
        assert isinstance(model.running_mean.data, backend.array)
        assert isinstance(model.count.data, backend.array)


def test_the_average_of_a_model_with_buffers_is_a_model(tmp_path):
    model = Counting()
    ema = EMA(model)
    model(np.ones((3, 2), np.float32))
    ema.update()
    path = md.save(tmp_path / "counting.safetensors", model, ema)
    assert md.load(path, Counting()).count.item() == 1


def test_a_buffer_stays_a_buffer_whatever_it_is_given():
    model = Counting()
    for value, dtype in [(np.ones(2), np.float64), ([1.0, 2.0], np.float32), (True, bool)]:
        model.running_mean = value
        assert isinstance(model.running_mean, Tensor)
        assert model.state_dict()["running_mean"].dtype == dtype
    model.running_mean = model.scale
    assert model.num_parameters == 2
    assert list(model.state_dict()) == ["running_mean", "count", "scale"]
    model.running_mean = None
    assert list(model.state_dict()) == ["count", "scale"]


@pytest.mark.parametrize("name", ["scale", "training", "parameters", "a.b", ""])
def test_a_buffer_gets_a_name_of_its_own(name):
    with pytest.raises(ValueError, match=r"^name: given '.*', wanted one for an attribute"):
        Counting().register_buffer(name, 0)


def test_evaluating_gives_each_module_its_own_mode_back():
    model = Holder([nn.Dense(1, 1, 0), nn.Dense(1, 1, 0)])
    model.held[0].eval()
    with model.evaluating():
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, False, True]


def test_a_train_of_ones_own_comes_after_that_of_its_parts():
    class Frozen(Holder):
        def train(self, mode=True):
            super().train(mode)
            self.held.training = False
            return self

    model = Holder([Frozen(nn.Dense(1, 1, 0))])
    model.train()
    assert [module.training for module in model.modules()] == [True, True, False]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Dense(2, 3, 0), ops.relu, ops.softmax, ops.layer_norm),
        lambda: nn.ConditionalSkipConnection(nn.Dense(2, 3, 0)),
        lambda: Holder({"a": [nn.Dense(2, 2, 0)]}),
        Counting,
    ],
)
def test_models_are_copied_and_pickled(make, again):
    model = make()
    x = np.array([[1.0, -2.0]], np.float32)
    other = again(model)
    if not isinstance(model, Holder):
        np.testing.assert_array_equal(other(x).data, model(x).data)
    assert other.state_dict().keys() == model.state_dict().keys()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert p is not q and not np.shares_memory(p.data, q.data)


def test_the_models_of_the_house_are_copied_and_pickled():
    for model in (md.models.UNet(width=8, multipliers=(1,)), md.models.ConditionalMLP(4)):
        model.parameters()[0].requires_grad = False
        state = model.state_dict()
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert all(np.array_equal(a, state[n]) for n, a in other.state_dict().items())
            assert other.state_dict().keys() == state.keys()
