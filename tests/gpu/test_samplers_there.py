"""Every sampler with every guidance rule, editing and likelihood, beside the CPU."""

import numpy as np
import pytest
from both import on_host

from minidiff import diffusion, kernels, models, ops
from minidiff.diffusion import exact, guidance
from minidiff.diffusion.samplers import SAMPLERS, dynamic_threshold, invert

pytestmark = pytest.mark.gpu

SCHEDULE = diffusion.cosine_schedule(40)
MIXTURE = exact.GaussianMixture([[-0.6, 0.3], [0.5, -0.2], [0.1, 0.9]], [0.1, 0.2, 0.15])
LABELS = np.array([1, 2, 3, 0])


def network(device, seed=0):
    """A Denoise of an untrained MLP that is near enough to 0 for samplers to stay finite."""
    model = models.ConditionalMLP(hidden=8, rng=seed).to(device)
    for p in model.parameters():
        p.data *= 0.3
    return diffusion.denoiser(model, SCHEDULE, "v")


def log_prob(x, t, labels):
    return -ops.sum((x - 0.1) ** 2, axis=1)


# name → what it makes of a device's name: a Denoise
RULES = {
    "none": network,
    "exact": lambda device: MIXTURE.denoiser(SCHEDULE),
    "classifier_free": lambda device: guidance.classifier_free(network(device), 2.0),
    "scales of samples": lambda device: guidance.guided(network(device), np.arange(4.0)),
    "interval": lambda device: guidance.guided(network(device), guidance.interval(2.0, 10, 30)),
    "a negative label": lambda device: guidance.guided(network(device), 2.0, against=3),
    "a weak network": lambda device: guidance.guided(network(device), 2.0, network(device, 1)),
    "rescaled": lambda device: guidance.guided(
        network(device), 2.0, combine=guidance.rescaled(0.7)
    ),
    "projected": lambda device: guidance.guided(
        network(device), 2.0, combine=guidance.projected(0.2, 5.0, -0.5)
    ),
    "cfg_pp": lambda device: guidance.guided(network(device), 0.6, combine=guidance.cfg_pp),
    "composed": lambda device: guidance.composed(network(device), [1, 2], [1.5, 0.5]),
    "classifier": lambda device: guidance.classifier(network(device), log_prob, 0.5),
}
STEP_BY_BOTH = {"ddim", "euler", "euler_ancestral"}  # x_0 and noise, as cfg_pp needs


def drawn(denoise, device, sampler, **options):
    condition = None if options.pop("alone", False) else LABELS
    return on_host(
        diffusion.sample(
            denoise, condition, n=4, shape=(2,), sampler=sampler, steps=4, device=device, **options
        )
    )


def assert_same_samples(rule, sampler, **options):
    want = drawn(RULES[rule]("cpu"), "cpu", sampler, **options)
    got = drawn(RULES[rule]("cuda"), "cuda", sampler, **options)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("rule", RULES)
def test_a_sampler_with_a_rule(rule, sampler):
    if rule == "cfg_pp" and sampler not in STEP_BY_BOTH:
        with pytest.raises(ValueError, match=r"CFG\+\+"):
            assert_same_samples(rule, sampler)
    else:
        assert_same_samples(rule, sampler, alone=rule == "composed")


@pytest.mark.parametrize(
    "clip", [None, 0.5, dynamic_threshold(0.9)], ids=["none", "0.5", "dynamic"]
)
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
def test_a_clip(sampler, clip):
    assert_same_samples("classifier_free", sampler, clip=clip)


def test_seeds_of_samples():
    assert_same_samples("classifier_free", "ddpm", rng=[1, 2, 3, 4])


def points(device):
    rng = np.random.default_rng(0)
    x = MIXTURE.sample(4, rng).astype("f")
    return kernels.to_device(x, device)


@pytest.mark.parametrize(
    "edit",
    [
        lambda denoise, x: diffusion.image_to_image(denoise, x, 20, 0, steps=4, condition=LABELS),
        lambda denoise, x: diffusion.inpaint(
            denoise, x, LABELS, diffusion.times(SCHEDULE, 5), 0, known=x, mask=[1, 0], jump=2
        ),
        lambda denoise, x: invert(denoise, x, LABELS, diffusion.times(SCHEDULE, 5)),
    ],
    ids=["image_to_image", "inpaint", "invert"],
)
def test_editing(edit):
    want = diffusion.final(edit(network("cpu"), points("cpu")))
    got = diffusion.final(edit(network("cuda"), points("cuda")))
    np.testing.assert_allclose(on_host(got), want, rtol=1e-3, atol=1e-4)


def test_interpolation():
    def between(device):
        x = points(device)
        times = diffusion.times(SCHEDULE, 4)
        options = {"times": times, "condition": LABELS[:2]}
        return diffusion.interpolate(network(device), x[:2], x[2:], [0, 0.5, 1], **options)

    np.testing.assert_allclose(on_host(between("cuda")), between("cpu"), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_likelihood(variance):
    def bits(device):
        rule = "exact" if variance == "learned" else "none"
        denoise = RULES[rule](device)
        return diffusion.bits_per_dim(denoise, points(device), 0, LABELS, variance=variance)

    for got, want in zip(bits("cuda"), bits("cpu"), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_losses_and_their_watchers():
    by_time = diffusion.losses.LossByTime(40)
    sampler = diffusion.losses.ImportanceSampler(40)

    def loss(device):
        model = models.ConditionalMLP(hidden=8, rng=0).to(device)
        options = {"weight": diffusion.losses.min_snr(), "draw": sampler.draw}
        return diffusion.loss(
            model, SCHEDULE, points("cpu"), LABELS, 0, callback=by_time, **options
        ).item()

    assert abs(loss("cuda") - loss("cpu")) < 1e-5
    assert by_time.counts.sum() == 8


@pytest.mark.parametrize("learned", [False, True])
def test_a_learned_variance(learned):
    def loss_and_gradients(device):
        model = models.UNet(
            channels=1, width=8, multipliers=(1,), classes=3, timesteps=40, attention=False, rng=0
        )
        both = lambda x, t, c: ops.concatenate([model(x, t, c)] * (1 + learned), axis=-1)
        model.to(device)
        x0 = np.random.default_rng(1).uniform(-1, 1, (2, 4, 4, 1)).astype("f")
        x0 = kernels.to_device(x0, device)
        value = diffusion.loss(both, SCHEDULE, x0, LABELS[:2], 0, learned_variance=learned)
        value.backward()
        return [value.item(), *(on_host(p.grad) for p in model.parameters())]

    for got, want in zip(loss_and_gradients("cuda"), loss_and_gradients("cpu"), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-4)
