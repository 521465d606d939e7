import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strict import registered

import minidiff as md
from minidiff.models import ConditionalMLP
from minidiff.optim import EMA, SGD, Adam, AdamW, clip_grad_norm, warmup_cosine


def leaves(*values, dtype=np.float64):
    return [md.Tensor(np.array(value, dtype), requires_grad=True) for value in values]


def run(optimizer, gradients):
    """The parameters' arrays after each step; gradients has a list of arrays (or None) per step."""
    seen = []
    for step in gradients:
        for p, g in zip(optimizer.parameters, step):
            p.grad = None if g is None else np.array(g, p.dtype)
        optimizer.step()
        seen.append([p.numpy().copy() for p in optimizer.parameters])
    return seen


numbers = st.floats(-3, 3).filter(lambda value: value == 0 or abs(value) > 1e-3)
steps = st.lists(numbers, min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(numbers, steps, st.sampled_from([0.0, 0.5, 0.9]))
def test_sgd_is_the_sum_of_decayed_gradients(start, gradients, momentum):
    (p,) = leaves([start])
    run(SGD([p], lr=0.1, momentum=momentum), [[[g]] for g in gradients])
    n = len(gradients)
    moved = sum(g * sum(momentum**k for k in range(n - i)) for i, g in enumerate(gradients))
    assert p.item() == pytest.approx(start - 0.1 * moved, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(numbers, steps, st.sampled_from([0.0, 0.01, 0.3]), st.sampled_from([np.float32, np.float64]))
def test_adam_is_the_plain_formula(start, gradients, decay, dtype):
    (p,) = leaves([start, -start], dtype=dtype)
    kind = AdamW([p], lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay) if decay else None
    run(kind or Adam([p], lr=0.01, betas=(0.8, 0.95), eps=1e-6), [[[g, -g]] for g in gradients])
    for sign, got in zip((1, -1), p.numpy()):
        want = sign * start
        squares = 0.0
        means = 0.0
        for t, g in enumerate(gradients, start=1):
            means, squares = 0.8 * means + 0.2 * sign * g, 0.95 * squares + 0.05 * g * g
            update = means / (1 - 0.8**t) / (math.sqrt(squares / (1 - 0.95**t)) + 1e-6)
            want -= 0.01 * (update + decay * want)
        assert got == pytest.approx(want, abs=1e-9 if dtype == np.float64 else 2e-6)


def test_adams_first_step_is_the_learning_rate_whatever_the_gradient():
    (p,) = leaves([0, 0, 0])
    run(Adam([p], lr=0.5), [[[1e-3, -7, 1e6]]])
    np.testing.assert_allclose(p.numpy(), [-0.5, 0.5, -0.5], rtol=1e-4)


def test_a_quadratic_is_minimised():
    for make in (
        lambda p: SGD(p, lr=0.1),
        lambda p: SGD(p, lr=0.05, momentum=0.8),
        lambda p: Adam(p, lr=0.1),
        lambda p: AdamW(p, lr=warmup_cosine(0.3, 10, 300), weight_decay=0.0),
    ):
        (p,) = leaves([3, -2])
        optimizer = make([p])
        for _ in range(300):
            optimizer.zero_grad()
            ((p - md.Tensor(np.array([1.0, 2.0]))) ** 2).sum().backward()
            optimizer.step()
        np.testing.assert_allclose(p.numpy(), [1, 2], atol=1e-3)


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: AdamW(p)])
def test_a_parameter_without_a_gradient_is_left_alone(make):
    used, unused = leaves([1, 2], [3, 4])
    run(make([used, unused]), [[[1, 1], None]])
    assert used.numpy()[0] < 1
    assert unused.numpy().tolist() == [3, 4]
    assert (used.version, unused.version) == ([1], [0])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from([(), (3,), (2, 5), (70, 60), (0, 2)]), min_size=1, max_size=6),
    st.sampled_from(
        [
            lambda p: SGD(p, 0.1, 0.9),
            lambda p: SGD(p, 0.1),
            Adam,
            lambda p: AdamW(p, weight_decay=0.1),
        ]
    ),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 99),
)
def test_parameters_are_updated_together_as_each_alone(shapes, make, dtype, seed):
    """Small ones share a row; a large one, and all where one has no gradient, go by themselves."""
    rng = np.random.default_rng(seed)
    starts = [rng.standard_normal(shape) for shape in shapes]
    gradients = [
        [rng.standard_normal(s) if rng.random() < 0.9 else None for s in shapes] for _ in range(4)
    ]
    together = make(leaves(*starts, dtype=dtype))
    got = run(together, gradients)
    for k, start in enumerate(starts):
        alone = make(leaves(start, dtype=dtype))
        want = run(alone, [[step[k]] for step in gradients])
        for seen, (wanted,) in zip(got, want, strict=True):
            np.testing.assert_allclose(seen[k], wanted, rtol=1e-6, atol=1e-7)
        state = together.state_dict()
        for name, array in alone.state_dict().items():
            np.testing.assert_allclose(
                state[name.replace("0.", f"{k}.")], array, rtol=1e-6, atol=1e-7
            )


@pytest.mark.parametrize("again", [lambda p: [p, p], lambda p: [{"params": p}, {"params": [p]}]])
def test_a_parameter_that_is_given_twice_is_refused(again):
    (p,) = leaves([1.0])
    with pytest.raises(ValueError, match="parameters: given one twice"):
        SGD(again(p), 0.1)


@pytest.mark.parametrize("size", [3, 5000])
def test_recorded_gradients_are_taken_like_bare_ones(size):
    found = []
    for create_graph in (False, True):
        parameters = leaves(np.ones(size), np.arange(3.0))
        sum((p * p * p).sum() for p in parameters).backward(create_graph=create_graph)
        norm = clip_grad_norm(parameters, 1.0)
        Adam(parameters, lr=0.1).step()
        found.append([norm, *(p.data.tobytes() for p in parameters)])
    assert found[0] == found[1]


def test_zero_grad_forgets():
    (p,) = leaves([1])
    p.grad = np.ones(1)
    SGD([p], 0.1).zero_grad()
    assert p.grad is None


def test_a_step_is_noticed_by_a_tape_that_needs_the_old_weights():
    (p,) = leaves([2])
    y = (p * p).sum()
    run(SGD([p], 0.1), [[[1]]])
    with pytest.raises(RuntimeError, match="written in place"):
        y.backward()


def test_the_arrays_stay_the_same_through_steps():
    parameters = leaves([1, 2], [3], dtype=np.float32)
    optimizer = Adam(parameters)
    arrays = [p.data for p in parameters]
    run(optimizer, [[[1, 1], [1]]] * 3)
    assert all(p.data is array for p, array in zip(parameters, arrays))


def test_arrays_set_since_are_taken_over():
    p, q = parameters = leaves([1, 2], [3])
    optimizer = SGD(parameters, 1.0)
    p.data = np.array([5.0, 6.0])
    assert np.array_equal(np.concatenate(run(optimizer, [[[1, 1], [1]]])[-1]), [4, 5, 2])
    q.data = np.array([7.0])
    assert np.array_equal(np.concatenate(run(optimizer, [[None, [1]]])[-1]), [4, 5, 6])


@pytest.mark.parametrize(
    "make", [lambda p, lr: SGD(p, lr), lambda p, lr: SGD(p, lr, 0.9), Adam, AdamW]
)
def test_a_stopped_run_goes_on_as_the_unbroken_one(make):
    gradients = np.random.default_rng(0).standard_normal((8, 2, 3)).tolist()
    schedule = warmup_cosine(0.1, 3, 8)
    unbroken = make(leaves([1, 2, 3], [4, 5, 6], dtype=np.float32), schedule)
    want = run(unbroken, gradients)
    first = make(leaves([1, 2, 3], [4, 5, 6], dtype=np.float32), schedule)
    halfway = run(first, gradients[:5])[-1]
    state = first.state_dict()
    run(first, gradients[5:])  # what is stored does not follow the live one
    second = make(leaves(*halfway, dtype=np.float32), schedule)
    second.load_state_dict(state)
    np.testing.assert_array_equal(run(second, gradients[5:]), want[5:])
    assert second.steps == unbroken.steps == 8
    assert all(isinstance(array, np.ndarray) for array in state.values())


def test_a_state_that_does_not_fit_is_named_and_changes_nothing():
    optimizer = Adam(leaves([1, 2], [3]))
    run(optimizer, [[[1, 1], [1]]])
    before = optimizer.state_dict()
    assert list(before) == ["steps", "0.step", "1.step", "0.m", "0.v", "1.m", "1.v"]
    bad = {**before, "0.m": np.zeros(3), "2.m": np.zeros(1), "steps": np.array(9)}
    del bad["1.v"]
    with pytest.raises(
        ValueError,
        match=r"Adam: missing: 1\.v; unexpected: 2\.m; wrong shape: 0\.m has shape \(3,\), "
        r"wanted \(2,\)",
    ):
        optimizer.load_state_dict(bad)
    with pytest.raises(ValueError, match=r"Adam: wrong dtype: 1\.v is <U1"):
        optimizer.load_state_dict({**before, "steps": 9, "0.m": [7, 7], "1.v": ["a"]})
    for name, array in optimizer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Adam([]), ValueError, "parameters: given none"),
        (lambda: Adam([np.zeros(2)]), TypeError, "parameters: given ndarray, wanted leaves"),
        (lambda: Adam([md.Tensor([1.0])]), TypeError, "parameters: given Tensor, wanted leaves"),
        (lambda: Adam([leaves([1])[0] * 2]), TypeError, "parameters: given Tensor, wanted leaves"),
        (
            lambda: Adam(leaves([1]), betas=(0.9, 1.0)),
            ValueError,
            r"betas: given 1.0, wanted a number in \[0, 1\)",
        ),
        (lambda: SGD(leaves([1]), 0.1, momentum=-0.1), ValueError, "momentum: given -0.1"),
        (
            lambda: SGD(leaves([1]), -0.1),
            ValueError,
            "lr: given -0.1, wanted a number, at least 0, or a function",
        ),
        (lambda: Adam(leaves([1]), lr=float("nan")), ValueError, "lr: given nan"),
        (
            lambda: EMA(ConditionalMLP(), decay=1.0),
            ValueError,
            r"decay: given 1.0, wanted a number in \[0, 1\)",
        ),
        (
            lambda: warmup_cosine(1e-3, 10, 10),
            ValueError,
            r"warmup: given 10, wanted a number in \[0, 10\)",
        ),
        (lambda: warmup_cosine(1e-3, -1, 10), ValueError, "warmup: given -1, wanted a number"),
        (
            lambda: clip_grad_norm([], 0.0),
            ValueError,
            "max_norm: given 0.0, wanted a number > 0",
        ),
        (lambda: clip_grad_norm([], float("nan")), ValueError, "max_norm: given nan"),
    ],
)
def test_settings_that_cannot_be_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_learning_rate_rises_and_falls():
    lr = warmup_cosine(2.0, warmup=4, total=12, end=0.5)
    assert [lr(step) for step in (1, 2, 4)] == [0.5, 1.0, 2.0]
    assert lr(8) == pytest.approx((2.0 + 0.5) / 2)
    assert [lr(12), lr(13), lr(1000)] == [0.5] * 3
    values = [lr(step) for step in range(4, 13)]
    assert values == sorted(values, reverse=True)
    assert warmup_cosine(2.0, warmup=0, total=12)(1) == pytest.approx(1 + math.cos(math.pi / 12))


def test_the_learning_rate_is_asked_once_a_step_from_one():
    asked = []
    (p,) = leaves([0])
    run(SGD([p], lr=lambda step: asked.append(step) or 1.0), [[[1]]] * 3)
    assert asked == [1, 2, 3]
    assert p.item() == -3


@pytest.mark.parametrize(
    ("given", "error"), [(None, TypeError), ([1, 2], TypeError), (-0.1, ValueError)]
)
def test_what_a_function_for_the_rate_may_not_give(given, error):
    (p,) = leaves([1])
    optimizer = SGD([p], lr=lambda step: given)
    with pytest.raises(error, match=r"lr: given .* by its function at step 1, wanted"):
        run(optimizer, [[[1]]])
    assert optimizer.steps == 0
    assert p.item() == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(numbers, min_size=1, max_size=4), min_size=1, max_size=4), st.floats(0.01, 10)
)
def test_clipping_scales_all_gradients_alike(gradients, max_norm):
    parameters = leaves(*gradients, [1.0])
    for p, g in zip(parameters, gradients):
        p.grad = np.array(g)
    norm = clip_grad_norm(parameters, max_norm)
    everything = np.concatenate(gradients)
    assert norm == pytest.approx(math.sqrt(np.sum(everything**2)))
    clipped = np.concatenate([p.grad for p in parameters[:-1]])
    np.testing.assert_allclose(clipped, everything * min(1, max_norm / norm if norm else 1))
    assert parameters[-1].grad is None


def test_the_average_warms_up_and_then_decays_as_asked():
    model = ConditionalMLP(hidden=4)
    decay = 0.3
    ema = EMA(model, decay)
    p = model.parameters()[0]
    want = p.numpy().copy()
    rng = np.random.default_rng(0)
    for k in range(12):
        p.data = rng.standard_normal(p.shape, dtype=np.float32)
        ema.update()
        d = min(decay, (1 + k) / (10 + k))
        want = d * want + (1 - d) * p.numpy()
        assert d == decay or k < 3
    np.testing.assert_allclose(ema.average["chain.layers.0.x.weight"], want, rtol=1e-5, atol=1e-6)


def test_the_average_is_a_copy_and_is_lent_to_the_model():
    model = ConditionalMLP(hidden=4)
    raw = model.state_dict()
    ema = EMA(model, 0.9)
    for p in model.parameters():
        p.data = p.data + 1
    ema.update()
    trained = model.state_dict()
    with pytest.raises(KeyError), ema.applied():
        for name, array in model.state_dict().items():
            np.testing.assert_allclose(
                array, 0.1 * raw[name] + 0.9 * (raw[name] + 1), rtol=1e-5, atol=1e-6
            )
        raise KeyError  # the weights come back after an error too
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, trained[name])


def test_the_average_goes_on_from_its_state():
    model = ConditionalMLP(hidden=4)
    unbroken = EMA(model, 0.99)
    rng = np.random.default_rng(0)
    weights = [
        {n: rng.standard_normal(p.shape) for n, p in model.named_parameters()} for _ in range(6)
    ]

    def follow(ema, states):
        for state in states:
            model.load_state_dict(state)
            ema.update()
        return ema.state_dict()

    state = follow(unbroken, weights[:3])
    want = follow(unbroken, weights[3:])
    resumed = EMA(model, 0.99)
    resumed.load_state_dict(state)
    got = follow(resumed, weights[3:])
    assert got.keys() == want.keys() == {"updates", *(f"average.{n}" for n in weights[0])}
    for name, array in got.items():
        np.testing.assert_array_equal(array, want[name])
    with pytest.raises(ValueError, match="EMA: missing: updates"):
        resumed.load_state_dict({k: v for k, v in state.items() if k != "updates"})


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: AdamW(p, eps=1e-3)])
def test_optimiser_and_average_follow_a_model_that_is_moved(make):
    def train(devices):
        model = ConditionalMLP(hidden=4)
        optimizer = make(model.parameters())
        ema = EMA(model, 0.5)
        for device in devices:
            model.to(device)
            for i, p in enumerate(model.parameters()):
                p.grad = md.Tensor(np.full(p.shape, i + 1, np.float32)).to(device).data
            optimizer.step()
            ema.update()
        model.to("cpu")
        with ema.applied():
            averaged = model.state_dict()
        return model.state_dict(), averaged, optimizer.state_dict(), ema.state_dict()

    with registered():
        moved = train(["cpu", "strict", "cpu"])
    for got, want in zip(moved, train(["cpu"] * 3)):
        for name, array in want.items():
            np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6)
