"""The MLP re-derived in plain NumPy: forward, backward and 20 steps of Adam."""

import numpy as np
import pytest

import minidiff as md
from minidiff.tape.tape import state
from minidiff.tools.debug import Observer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def waves(t, dim):
    phase = t[:, None] / 10000 ** np.linspace(0, 1, dim // 2)
    return np.stack([np.sin(phase), np.cos(phase)], -1).reshape(len(t), dim)


def forward(p, x, t, labels, dim):
    """The prediction, and for the gradient each layer's input and its sum before the silu."""
    time = waves(t, dim)
    kept = []
    for i in range(3):
        name = f"chain.layers.{i}."
        z = (
            x @ p[name + "x.weight"]
            + p[name + "x.bias"]
            + time @ p[name + "time.weight"]
            + p[name + "time.bias"]
        )
        z = z + p[name + "label.weight"][labels]
        kept.append((x, z))
        x = z * sigmoid(z)
    return x @ p["chain.layers.3.weight"] + p["chain.layers.3.bias"], [*kept, (x, None)]


def backward(p, g, t, labels, dim, kept):
    time = waves(t, dim)
    grads = {}
    grads["chain.layers.3.weight"] = kept[3][0].T @ g
    grads["chain.layers.3.bias"] = g.sum(0)
    g = g @ p["chain.layers.3.weight"].T
    for i in (2, 1, 0):
        name = f"chain.layers.{i}."
        (x, z) = kept[i]
        s = sigmoid(z)
        g = g * (s + z * s * (1 - s))
        grads[name + "x.weight"] = x.T @ g
        grads[name + "time.weight"] = time.T @ g
        grads[name + "x.bias"] = grads[name + "time.bias"] = g.sum(0)
        table = np.zeros_like(p[name + "label.weight"])
        for row, label in zip(g, labels):
            table[label] += row
        grads[name + "label.weight"] = table
        g = g @ p[name + "x.weight"].T
    return grads


def batches(count, classes):
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield (
            rng.standard_normal((32, 2)),
            rng.integers(1, 41, 32),
            rng.integers(0, classes + 1, 32),
            rng.standard_normal((32, 2)),
        )


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
def test_twenty_training_steps_give_the_weights_of_plain_numpy(dtype, tolerance):
    dim = 32
    lr = 1e-3
    beta1 = 0.9
    beta2 = 0.999
    eps = 1e-8
    model = md.models.ConditionalMLP(hidden=dim)
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(dtype)
    optimizer = md.optim.Adam(model.parameters(), lr=lr)
    p = {name: array.astype(np.float64) for name, array in model.state_dict().items()}
    start = dict(p)
    m = dict.fromkeys(p, 0.0)
    v = dict.fromkeys(p, 0.0)

    for step, (x, t, labels, target) in enumerate(batches(20, 3), start=1):
        out = model(x.astype(dtype), t, labels)
        loss = md.ops.mse_loss(out, target.astype(dtype))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        want, kept = forward(p, x, t, labels, dim)
        np.testing.assert_allclose(out.numpy(), want, rtol=0, atol=10 * tolerance)
        assert loss.item() == pytest.approx(np.mean((want - target) ** 2), rel=100 * tolerance)
        for name, g in backward(p, 2 * (want - target) / target.size, t, labels, dim, kept).items():
            m[name] = beta1 * m[name] + (1 - beta1) * g
            v[name] = beta2 * v[name] + (1 - beta2) * g * g
            m_hat = m[name] / (1 - beta1**step)
            v_hat = v[name] / (1 - beta2**step)
            p[name] = p[name] - lr * m_hat / (np.sqrt(v_hat) + eps)

    for name, array in model.state_dict().items():
        assert array.dtype == dtype
        assert np.abs(array - start[name]).max() > 5 * lr
        np.testing.assert_allclose(array, p[name], rtol=0, atol=tolerance, err_msg=name)


def test_unconditional_is_the_same_without_the_label():
    model = md.models.ConditionalMLP(hidden=16, classes=None)
    p = {name: array.astype(np.float64) for name, array in model.state_dict().items()}
    p |= {f"chain.layers.{i}.label.weight": np.zeros((1, 16)) for i in range(3)}
    x, t, _, _ = next(batches(1, 3))
    want, _ = forward(p, x, t, np.zeros(32, int), 16)
    np.testing.assert_allclose(model(x.astype(np.float32), t).numpy(), want, rtol=1e-5, atol=1e-5)


class DtypeObserver(Observer):
    """Notes the float dtypes of every operation and of every gradient."""

    def __init__(self):
        self.forward = {}
        self.backward = {}

    def run(self, primitive, kernel, arrays, statics):
        out = kernel(*arrays, **statics)
        self._note(self.forward, primitive.name, [*arrays, out])
        return out

    def vjp(self, node, g, needs):
        gradients = list(node.vjp(node, g, needs))
        self._note(self.backward, node.name, [g, *gradients])
        return gradients

    def _note(self, seen, name, values):
        for value in values:
            if isinstance(value, tuple | list):
                self._note(seen, name, value)
            elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f":
                seen.setdefault(name, set()).add(value.dtype)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (md.models.ConditionalMLP(), (4, 2)),
        (md.models.UNet(), (4, 28, 28, 1)),
        (md.models.UNet(condition_dim=3), (4, 28, 28, 1)),
    ],
)
def test_every_node_of_a_training_step_is_float32(model, shape, monkeypatch):
    rng = np.random.default_rng(0)
    observer = DtypeObserver()
    x, noise = rng.standard_normal((2, *shape), dtype=np.float32)
    condition = np.array([0, 1, 2, 3])
    if model.config.get("condition_dim"):
        condition = rng.standard_normal((4, 3), dtype=np.float32)
    optimizer = md.optim.AdamW(model.parameters(), lr=md.optim.warmup_cosine(1e-3, 1, 10))
    ema = md.optim.EMA(model)
    monkeypatch.setattr(state, "observer", observer)
    md.ops.mse_loss(model(x, np.array([0.5, 1, 7, 40]), condition), noise).backward()
    monkeypatch.setattr(state, "observer", None)
    assert len(observer.forward) >= 3 and {"mse_loss", "dense"} <= observer.backward.keys()
    assert {"forward": observer.forward, "backward": observer.backward} == {
        "forward": {name: {np.dtype(np.float32)} for name in observer.forward},
        "backward": {name: {np.dtype(np.float32)} for name in observer.backward},
    }
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    md.optim.clip_grad_norm(model.parameters(), 0.1)
    optimizer.step()
    ema.update()
    arrays = (
        [p.data for p in model.parameters()]
        + [p.grad for p in model.parameters()]
        + list(ema.average.values())
    )
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
