"""Forward mode through whole networks: along their input, and along time."""

import numpy as np
import pytest
import two_walks

import minidiff as md


def network(kind):
    if kind == "mlp":
        return md.models.ConditionalMLP(hidden=8, rng=0), (6, 2)
    if kind == "unet":
        return md.models.UNet(width=8, multipliers=(1, 2)), (2, 8, 8, 1)
    schedule = md.diffusion.cosine_schedule(100)
    return md.models.ADMUNet(schedule.alpha_bar, widths=(8, 16)), (2, 8, 8, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["mlp", "unet", "adm"])
def test_networks(kind, dtype):
    """The CPU's kernels in float32, the plain ones in float64, against two walks back."""
    model, shape = network(kind)
    rng = np.random.default_rng(1)
    for p in model.parameters():  # some start as zero
        p.data = (p.data + 0.1 * rng.standard_normal(p.shape)).astype(dtype)
    x, v = rng.standard_normal((2, *shape)).astype(dtype)
    labels = np.arange(shape[0]) % 3
    f = lambda x: model(x, 5, labels)
    value, tangent = md.jvp(f, x, v)
    assert value.dtype == tangent.dtype == dtype
    wanted = two_walks.jvp(f, (x,), (v,))
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_array_equal(value.data, wanted[0])
    size = np.abs(wanted[1]).max()
    np.testing.assert_allclose(tangent.data, wanted[1], rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("kind", ["mlp", "unet"])
def test_networks_along_time(kind):
    """MeanFlow's direction: the sample along v, and the time along 1."""
    model, shape = network(kind)
    rng = np.random.default_rng(2)
    for p in model.parameters():
        p.data = p.data.astype(np.float64)
    x, v = rng.standard_normal((2, *shape))
    t = rng.uniform(1, 30, shape[0])
    value, tangent = md.jvp(model, (x, t), (v, np.ones(len(t))))
    np.testing.assert_allclose(value.data, model(x, t).data, rtol=1e-12)
    step = 1e-5
    ahead, behind = (model(x + s * v, t + s).data for s in (step, -step))
    np.testing.assert_allclose(tangent.data, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)
