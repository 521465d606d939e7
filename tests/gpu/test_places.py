"""What lives where: host values beside device arrays are moved, or a sentence says what to type."""

import subprocess
import sys

import numpy as np
import pytest

import minidiff as md
from minidiff import diffusion, metrics, ops
from minidiff.models import ConditionalMLP, LeNet5

pytestmark = pytest.mark.gpu

SCHEDULE = diffusion.cosine_schedule(40)
ON_HOST = "given values on a CUDA device, wanted them on the host"


def there(numbers, dtype=np.float32):
    return md.Tensor(np.asarray(numbers, dtype)).to("cuda")


def bare(numbers, dtype=np.float32):
    return there(numbers, dtype).data


def mlp():
    return ConditionalMLP(rng=0).to("cuda")


# --- arrays of CuPy's ---


@pytest.mark.parametrize("use", ["md.Tensor(x) * 2", "md.ops.multiply(x, 2)", "md.ops.exp(x)"])
def test_the_first_array_may_come_before_anyone_asked_for_the_device(use):
    code = (
        f"import cupy, minidiff as md; x = cupy.zeros(2); y = {use}; print(type(md.Tensor(y).data))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert run.stdout == "<class 'cupy.ndarray'>\n", run.stderr


def test_an_integer_may_stand_as_an_index():
    assert [1, 2, 3][there(1, int)] == 2


# --- indices ---


@pytest.mark.parametrize("index", [[0, 5], np.array([0, 5]), (np.array([-4, 0]),)])
def test_host_places_outside_are_an_error(index):
    x = there([1, 2, 3])
    for use in (
        lambda: x[index],
        lambda: x.at[index].set(1.0),
        lambda: x.at[index].add(1.0),
        lambda: ops.scatter_add(there([1, 2]), index, (3,)),
    ):
        with pytest.raises(IndexError, match="out of bounds"):
            use()


def test_places_on_the_device_are_looked_at_in_debug_mode():
    x = there([1, 2, 3])
    table = there(np.eye(3))
    far = bare([0, 5], int)
    for use in (
        lambda: x[far],
        lambda: ops.take(x, far),
        lambda: ops.embedding(table, far),
        lambda: ops.cross_entropy(table[:2], far),
    ):
        with md.debug_mode(), pytest.raises(IndexError):
            use()


@pytest.mark.parametrize("index", [[0, 2], np.array([0, 2]), np.array([True, False, True])])
def test_host_places_inside_are_moved(index):
    np.testing.assert_array_equal(there([1, 2, 3])[index].numpy(), [1, 3])


def test_places_of_both_and_masks():
    x = np.arange(12.0, dtype="f").reshape(3, 4)
    mask = np.array([True, False, True])
    columns = np.array([1, 2])
    for index in [(mask, columns), (mask, slice(1, 3)), (np.newaxis, columns), (..., columns)]:
        there_too = tuple(bare(i, i.dtype) if isinstance(i, np.ndarray) else i for i in index)
        half = (there_too[0], *index[1:])
        for mixed in (index, there_too, half):
            np.testing.assert_array_equal(there(x)[mixed].numpy(), x[index])


def test_the_last_of_several_values_for_one_place_stays():
    x = there([1, 2, 3])
    for index in ([0, 0], np.array([0, 0]), bare([0, 0], int)):
        np.testing.assert_array_equal(x.at[index].set(there([5, 6])).numpy(), [6, 2, 3])


@pytest.mark.parametrize("ids", [[0, 2], (0, 2), np.array([0, 2])])
def test_host_ids_and_labels_are_moved(ids):
    table = there(np.eye(3))
    np.testing.assert_array_equal(ops.embedding(table, ids).numpy(), np.eye(3)[[0, 2]])
    for options in ({}, {"reduction": "sum"}, {"label_smoothing": 0.1}):
        want = ops.cross_entropy(np.eye(3, dtype="f")[:2], np.array([0, 2]), **options)
        got = ops.cross_entropy(table[:2], ids, **options)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)


def test_labels_outside_and_ignored_ones():
    logits = there(np.zeros((2, 3)))
    with pytest.raises(IndexError, match="labels: given 7"):
        ops.cross_entropy(logits, np.array([1, 7]))
    ignored = ops.cross_entropy(logits, [1, -100])
    np.testing.assert_allclose(ignored.numpy(), np.log(3), rtol=1e-6)


def test_conditions_and_counts_of_the_host():
    x = there([1, 2])
    np.testing.assert_array_equal(ops.where(True, x, there([3, 4])).numpy(), [1, 2])
    for repeats in ([1, 2], np.array([1, 2])):
        np.testing.assert_array_equal(ops.repeat(x, repeats, 0).numpy(), [1, 2, 2])
    np.testing.assert_array_equal(ops.repeat(x, 2, 0).numpy(), [1, 1, 2, 2])


# --- times, labels, draws: host values ---


@pytest.mark.parametrize(
    "use",
    [
        lambda x: mlp()(x, bare([1, 2], int), None),
        lambda x: mlp()(x, 3, bare([1, 2], int)),
        lambda x: SCHEDULE.alpha_sigma(bare([1, 2])),
        lambda x: diffusion.posterior(SCHEDULE, x, x, bare([2, 3], int)),
        lambda x: diffusion.q_sample(SCHEDULE, x, bare([2, 3], int), rng=0),
        lambda x: diffusion.sample(diffusion.denoiser(mlp(), SCHEDULE), bare([1, 2], int)),
        lambda x: diffusion.loss(mlp(), SCHEDULE, x, bare([1, 2], int), 0),
        lambda x: diffusion.label_dropout(bare([1, 2], int), 0.5, 0),
        lambda x: diffusion.exact.GaussianMixture(x),
        lambda x: diffusion.Schedule.from_alpha_bar(bare([1, 0.5])),
        lambda x: guided(bare([1, 2]))(x, 3, np.array([1, 2])),
        lambda x: metrics.accuracy(bare([1, 2], int), np.array([1, 2])),
        lambda x: metrics.predict(LeNet5(rng=0), bare(np.zeros((2, 28, 28, 1)))),
        lambda x: metrics.frechet_distance(x, x),
        lambda x: md.plot.grid(x),
        lambda x: md.training.Trainer(mlp(), loss_of(mlp()), None).fit((x, np.array([1, 2])), 1),
    ],
)
def test_host_values_that_are_given_on_the_device(use):
    with pytest.raises(TypeError, match=ON_HOST):
        use(bare(np.eye(2)))


def guided(scale):
    return diffusion.guidance.guided(diffusion.denoiser(mlp(), SCHEDULE), scale)


def loss_of(model):
    return lambda x, y, rng: diffusion.loss(model, SCHEDULE, x, y, rng)


def test_an_exact_denoiser_samples_on_the_device():
    mixture = diffusion.exact.GaussianMixture(np.eye(3, 2))
    denoise = mixture.denoiser(SCHEDULE)
    got = diffusion.sample(denoise, n=4, steps=5, device="cuda")
    np.testing.assert_allclose(
        md.Tensor(got).numpy(), diffusion.sample(denoise, n=4, steps=5), 1e-4
    )


@pytest.mark.parametrize("mask", [[1, 0], np.array([1.0, 0.0]), np.array([True, False])])
def test_a_mask_and_what_is_known_may_be_on_the_host(mask):
    denoise = diffusion.denoiser(mlp(), SCHEDULE)
    known = np.ones((2, 2), "f")
    noise = np.random.default_rng(0).standard_normal((2, 2)).astype("f")
    times = diffusion.times(SCHEDULE, 3)
    options = {"known": known, "mask": mask, "rng": 0, "times": times, "jump": 1, "rounds": 2}
    got = diffusion.final(diffusion.inpaint(denoise, bare(noise), **options))
    np.testing.assert_array_equal(md.Tensor(got).numpy()[:, 0], 1)


def test_samples_are_drawn_where_the_network_is():
    denoise = guided(2.0)
    options = {"condition": np.array([1, 2]), "steps": 2}
    assert md.Tensor(diffusion.sample(denoise, **options)).device == "cuda"
    assert md.Tensor(diffusion.sample(mlp_of_loss("cuda"), **options)).device == "cuda"
    assert md.Tensor(diffusion.sample(mlp_of_loss("cpu"), **options)).device == "cpu"
    with pytest.raises(ValueError, match="x: given an array on 'cpu', wanted one on 'cuda'"):
        diffusion.sample(denoise, **options, device="cpu")


def mlp_of_loss(device):
    """A network that a loss has seen, with data of the host; it knows its schedule since."""
    model = ConditionalMLP(rng=0).to(device)
    diffusion.loss(model, SCHEDULE, np.eye(2, dtype="f"), np.array([1, 2]), 0, "v")
    return model


@pytest.mark.parametrize("place", [np.asarray, bare], ids=["host", "device"])
def test_a_loss_looks_at_its_data(place):
    x0 = place(np.full((2, 2), np.nan, "f"))
    with pytest.raises(ValueError, match="NaN"):
        diffusion.loss(mlp(), SCHEDULE, x0, None, 0)


def test_a_tensor_of_the_host_is_refused_by_a_model_on_the_device():
    """It may have a gradient, which a silent copy would lose."""
    with pytest.raises(ValueError, match="x: given an array on 'cpu', wanted one on 'cuda'"):
        mlp()(md.Tensor(np.eye(2, dtype="f")), 3)


def test_a_classifier_on_the_device_reads_images_of_the_host():
    images = np.random.default_rng(0).uniform(-1, 1, (3, 28, 28, 1)).astype("f")
    lenet = LeNet5(rng=0)
    want = metrics.predict(lenet, images, 2), metrics.features(lenet.features, images, 2)
    lenet.to("cuda")
    got = metrics.predict(lenet, images, 2), metrics.features(lenet.features, images, 2)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-5)
