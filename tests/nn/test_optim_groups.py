"""Groups of parameters with settings of their own, and steps counted for each parameter."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidiff as md
from minidiff import nn
from minidiff.optim import EMA, SGD, Adam, AdamW, warmup_cosine


def leaf(value, dtype=np.float64):
    return md.Tensor(np.array(value, dtype), requires_grad=True)


def step(optimizer, gradients):
    for p, g in zip(optimizer.parameters, gradients, strict=True):
        p.grad = None if g is None else np.array(g, p.dtype)
    optimizer.step()


def moved_by_adam(gradients, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8):
    """How far Kingma & Ba's algorithm 1 goes on these gradients, counted from the first."""
    m = v = moved = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        moved += lr * m / (1 - beta1**t) / (math.sqrt(v / (1 - beta2**t)) + eps)
    return moved


@pytest.mark.parametrize("make", [Adam, lambda p, lr: AdamW(p, lr, weight_decay=0)])
@pytest.mark.parametrize("size", [1, 5000])
def test_a_parameter_counts_its_own_steps(make, size):
    parameters = [leaf(np.zeros(size)) for _ in range(3)]
    optimizer = make(parameters, 0.01)
    one = np.ones(size)
    for k in range(1, 151):
        late_gradient = np.cos(k) * one if k > 100 else None
        skipped = None if k % 3 == 0 else np.sin(k) * one
        step(optimizer, [late_gradient, skipped, one])
    wanted = [
        moved_by_adam([math.cos(k) for k in range(101, 151)]),
        moved_by_adam([math.sin(k) for k in range(1, 151) if k % 3]),
        moved_by_adam([1.0] * 150),
    ]
    for p, want in zip(parameters, wanted):
        np.testing.assert_allclose(p.data, -want, rtol=1e-9)
    state = optimizer.state_dict()
    assert [int(state[f"{i}.step"]) for i in range(3)] == [50, 100, 150]
    assert state["steps"] == 150


choices = st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(choices, st.integers(0, 8), st.sampled_from([np.float32, np.float64]))
def test_neighbours_that_count_differently_are_updated_as_each_alone(present, cut, dtype):
    """Also where the run is stopped and goes on from its state."""
    rng = np.random.default_rng(0)
    shapes = [(3,), (70, 70), (), (5,)]  # the second one is large
    gradients = [
        [rng.standard_normal(shape) if there else None for shape, there in zip(shapes, row)]
        for row in present
    ]
    parameters = [leaf(np.zeros(s), dtype) for s in shapes]
    together = Adam(parameters, lr=0.1)
    for k, row in enumerate(gradients):
        if k == cut:
            state = together.state_dict()
            together = Adam(parameters, lr=0.1)
            together.load_state_dict(state)
        step(together, row)
    for i, (p, shape) in enumerate(zip(parameters, shapes)):
        alone = leaf(np.zeros(shape), dtype)
        optimizer = Adam([alone], lr=0.1)
        for row in gradients:
            if row[i] is not None:
                step(optimizer, [row[i]])
        np.testing.assert_allclose(p.data, alone.data, rtol=1e-5)


def test_groups_have_settings_of_their_own():
    a, b, c = [leaf([1.0, 2.0]) for _ in range(3)]
    grouped = AdamW(
        [
            {"params": [a], "lr": 0.5},
            {"params": b, "weight_decay": 0},
            {"params": iter([c]), "betas": [0.5, 0.6], "eps": 1e-3},
        ],
        lr=0.1,
        weight_decay=0.2,
    )
    apart = [leaf([1.0, 2.0]) for _ in range(3)]
    alone = [
        AdamW([apart[0]], lr=0.5, weight_decay=0.2),
        AdamW([apart[1]], lr=0.1, weight_decay=0),
        AdamW([apart[2]], lr=0.1, weight_decay=0.2, betas=(0.5, 0.6), eps=1e-3),
    ]
    for k in range(5):
        gradients = [[k + 1.0, -1.0], [0.5, k], [1.0, 2.0]]
        step(grouped, gradients)
        for optimizer, g in zip(alone, gradients):
            step(optimizer, [g])
    for p, q in zip(grouped.parameters, apart):
        np.testing.assert_array_equal(p.data, q.data)
    names = {"params", "lr", "betas", "eps", "weight_decay"}
    assert all(group.keys() == names for group in grouped.param_groups)
    state = grouped.state_dict()
    fresh = AdamW([{"params": [leaf([0, 0])]}, {"params": [leaf([0, 0]), leaf([0, 0])]}])
    fresh.load_state_dict(state)
    for name, array in fresh.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_schedules_and_changed_rates_hold_for_their_group():
    a, b = leaf([0.0]), leaf([0.0])
    optimizer = SGD([{"params": [a], "lr": lambda step: 10.0**step}, {"params": [b]}], lr=1.0)
    step(optimizer, [[1.0], [1.0]])
    step(optimizer, [None, [1.0]])
    step(optimizer, [[1.0], [1.0]])
    assert (a.item(), b.item()) == (-1010, -3)
    for group in optimizer.param_groups:
        group["lr"] = 2.0
    step(optimizer, [[1.0], [1.0]])
    assert (a.item(), b.item()) == (-1012, -5)
    optimizer.lr = 0.0
    step(optimizer, [[1.0], [1.0]])
    assert (a.item(), b.item()) == (-1012, -5)
    with pytest.raises(ValueError, match="lr: given -1"):
        optimizer.lr = -1


def test_decay_can_leave_out_what_is_no_matrix():
    model = nn.Sequential(nn.Dense(2, 3, 0), nn.LayerNorm(3))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    before = model.state_dict()
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0}]
    optimizer = AdamW(groups, lr=0.1, weight_decay=0.5)
    step(optimizer, [np.zeros(p.shape) for p in optimizer.parameters])
    for name, array in model.state_dict().items():
        factor = 0.95 if name == "layers.0.weight" else 1.0
        np.testing.assert_allclose(array, before[name] * factor, rtol=1e-6)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_plain_decay_is_added_to_the_gradient(make):
    decaying, plain = leaf([1.0, -2.0]), leaf([1.0, -2.0])
    first = make([decaying], 0.1, weight_decay=0.3)
    second = make([plain], 0.1)
    for _ in range(4):
        step(first, [[0.5, 1.0]])
        step(second, [np.array([0.5, 1.0]) + 0.3 * plain.data])
    np.testing.assert_allclose(decaying.data, plain.data, rtol=1e-12)


P = leaf([1.0])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            nn.Dense(1, 1, 0),
            TypeError,
            r"given a Module, wanted its Tensors: type model.par",
        ),
        (P, TypeError, "parameters: given Tensor, wanted a list"),
        ({"params": [P]}, TypeError, "parameters: given dict, wanted a list"),
        (3, TypeError, "parameters: given int, wanted a list"),
        (
            [{"params": [P], "learning_rate": 1}],
            TypeError,
            r"keys \['params', 'learning_rate'\]",
        ),
        ([{"lr": 1}], TypeError, r"given a group of the keys \['lr'\], wanted 'params' and what"),
        ([P, {"params": [leaf(0)]}], TypeError, "parameters: given a group of a Tensor"),
        ([{"params": [P], "lr": "1"}], ValueError, "lr: given '1', wanted a number"),
        ([{"params": [P], "betas": 0.9}], ValueError, "betas: given 0.9, wanted two numbers"),
        ([{"params": [P], "weight_decay": -1}], ValueError, "weight_decay: given -1, wanted a n"),
        ([{"params": []}], ValueError, "parameters: given none"),
        ([{"params": nn.Dense(1, 1, 0)}], TypeError, "given a Module"),
        ([("name", P)], TypeError, "parameters: given tuple, wanted leaves"),
    ],
)
def test_groups_that_cannot_be_are_named(parameters, error, message):
    with pytest.raises(error, match=message):
        Adam(parameters)


def test_momentum_cannot_come_later():
    optimizer = SGD([leaf([1.0])], 0.1)
    optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(ValueError, match=r"momentum: given 0\.9 since, wanted 0"):
        step(optimizer, [[1.0]])


def test_another_dtype_or_shape_since_is_told():
    for array in (np.zeros(2, np.float64), np.zeros(1, np.float32)):
        p = leaf([1, 2], np.float32)
        optimizer = Adam([p])
        p._data = array  # as `p.data = array`, where that may be
        p.grad = np.ones_like(array)
        with pytest.raises(ValueError, match=r"since, wanted float32 \(2,\), for which the optim"):
            optimizer.step()


def test_an_average_of_another_dtype_is_told():
    layer = nn.Dense(1, 1, 0)
    ema = EMA(layer)
    layer.weight._data = layer.weight.data.astype(np.float64)
    with pytest.raises(TypeError, match="weight: given float64, wanted float32, which it had"):
        ema.update()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_run_trains_its_own_model(again):
    model = nn.Sequential(nn.Dense(2, 70, 0), nn.Dense(70, 70, 1))
    optimizer = AdamW(model.parameters(), warmup_cosine(0.1, 2, 9))
    ema = EMA(model)

    def train(model, optimizer, ema):
        for p in model.parameters():
            p.grad = np.cos(p.data)
        optimizer.step()
        ema.update()

    train(model, optimizer, ema)
    copied, copied_optimizer, copied_ema = again((model, optimizer, ema))
    before = copied.state_dict()
    train(model, optimizer, ema)
    assert all(np.array_equal(copied.state_dict()[name], before[name]) for name in before)
    train(copied, copied_optimizer, copied_ema)
    for part, other in [(model, copied), (optimizer, copied_optimizer), (ema, copied_ema)]:
        for name, array in part.state_dict().items():
            np.testing.assert_array_equal(other.state_dict()[name], array)
            assert not np.array_equal(array, before.get(name))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_schedule_is_copied_and_pickled(again):
    lr = warmup_cosine(2.0, 4, 12, end=0.5)
    assert [again(lr)(k) for k in range(15)] == [lr(k) for k in range(15)]


@given(st.integers(0, 5), st.integers(1, 5))
def test_a_schedule_has_a_value_at_every_step(warmup, rest):
    lr = warmup_cosine(1.0, warmup, warmup + rest)
    assert lr(0) == (0.0 if warmup else 1.0)
    assert all(0 <= lr(k) <= 1 for k in range(20))
    assert lr(warmup) == 1.0
