"""First calls that go wrong: the error says what to type, in the user's words and by one name."""

import re

import numpy as np
import pytest

import minidiff as md
from minidiff import diffusion, optim
from minidiff.diffusion import exact, guidance, losses, samplers

T = 20
schedule = diffusion.cosine_schedule(T)
mixture = exact.GaussianMixture([[1.0, 0.0], [-1.0, 0.0]], 1.0)
denoise = mixture.denoiser(schedule)
x = np.zeros((3, 2), np.float32)
labels = np.array([1, 2, 1])
few = {"shape": (2,), "steps": 3}


def loss(**options):
    given = {"x0": x, "condition": labels} | options
    model = md.models.ConditionalMLP(4, 3, T)
    return diffusion.loss(model, schedule, rng=0, **given)


# what is to be typed, and the call that lacks it
UNCALLED = {
    "dynamic_threshold()": lambda f: guidance.guided(denoise, 2.0, combine=f.dynamic_threshold),
    "rescaled()": lambda f: guidance.guided(denoise, 2.0, combine=f.rescaled),
    "interval(scale, low, high)": lambda f: guidance.classifier_free(denoise, f.interval),
    "log_prob(schedule)": lambda f: guidance.classifier(denoise, mixture.log_prob, 2.0),
    "dynamic_threshold() ": lambda f: diffusion.sample(
        denoise, labels, clip=f.dynamic_threshold, **few
    ),
    "denoiser(model)": lambda f: diffusion.sample(diffusion.denoiser, labels, **few),
    "UNet()": lambda f: diffusion.sample(md.models.UNet, labels, **few),
    "sampler()": lambda f: diffusion.sample(denoise, labels, sampler=samplers.sampler, **few),
    "min_snr()": lambda f: loss(weight=losses.min_snr),
    "ImportanceSampler(timesteps)": lambda f: loss(draw=losses.ImportanceSampler),
    "LossByTime(timesteps)": lambda f: loss(callback=losses.LossByTime),
    "warmup_cosine(peak, warmup, total)": lambda f: optim.SGD(
        [md.Tensor([1.0], requires_grad=True)], lr=optim.warmup_cosine
    ),
}


class Makers:
    dynamic_threshold = staticmethod(diffusion.dynamic_threshold)
    rescaled = staticmethod(guidance.rescaled)
    interval = staticmethod(guidance.interval)


@pytest.mark.parametrize("wanted", UNCALLED)
def test_a_maker_that_was_not_called_is_told_by_its_call(wanted):
    call = re.escape(f"type {wanted.strip()}")
    with pytest.raises(TypeError, match=rf"^\w+: given the (function|class) \w+, .*{call}$"):
        UNCALLED[wanted](Makers)


WORDS = {
    "num_inference_steps": lambda **word: diffusion.image_to_image(denoise, x, 9.0, 0, **word),
    "guidance_scale": lambda **word: guidance.classifier_free(denoise, **word),
    "strength": lambda **word: diffusion.image_to_image(denoise, x, rng=0, **word),
    "generator": lambda **word: samplers.ddpm(denoise, x, labels, **word),
    "mask_image": lambda **word: diffusion.inpaint(denoise, x, rng=0, known=x, **word),
    "prompt": lambda **word: diffusion.sample(denoise, **few, **word),
    "rule": lambda **word: guidance.classifier_free(denoise, 2.0, **word),
    "num_train_timesteps": lambda **word: diffusion.linear_schedule(**word),
    "prediction_type": lambda **word: diffusion.denoiser(md.models.UNet(), schedule, **word),
    "shift": lambda **word: diffusion.sample(denoise, labels, **few, **word),
}


@pytest.mark.parametrize("word", WORDS)
def test_words_of_other_libraries_are_answered(word):
    with pytest.raises(TypeError, match=f": ({word} (is|are) called|type )"):
        WORDS[word](**{word: 0.5})


def test_a_strength_is_told_from_a_time():
    with pytest.raises(ValueError, match=r"start: given 0.5, .* type start=0.5 \* schedule"):
        diffusion.image_to_image(denoise, x, 0.5, 0)


@pytest.mark.parametrize("times", [np.full(3, 0), np.full(3, T + 1), np.full(3, np.nan)])
def test_drawn_times_are_those_of_the_schedule(times):
    with pytest.raises(ValueError, match=f"^draw: given .*, wanted times in 1 … {T}"):
        loss(draw=lambda rng, n: (times, np.ones(n)))


@pytest.mark.parametrize("own", [T // 2, 2 * T])
def test_an_importance_sampler_is_of_the_same_times(own):
    with pytest.raises(ValueError, match=rf"^draw: .* type ImportanceSampler\({T}\)"):
        loss(draw=losses.ImportanceSampler(own).draw)


def walk(**options):
    return list(diffusion.inpaint(denoise, x, labels, rng=0, **options))


SENTENCES = {
    r"known: given a Tensor, .* type known.numpy": lambda: walk(known=md.Tensor(x), mask=1.0),
    r"mask: given a Tensor, .* type mask.numpy": lambda: walk(known=x, mask=md.Tensor(x)),
    r"a: given list, wanted": lambda: diffusion.slerp([1.0], [2.0], 0.5),
    r"b: given list, wanted": lambda: diffusion.slerp(x, [2.0], 0.5),
    r"b: given list, wanted ": lambda: diffusion.interpolate(denoise, x, [2.0], [0.5]),
    r"x0: given shape \(0, 2\), wanted": lambda: loss(x0=x[:0], condition=None),
    r"step: given 'a', wanted": lambda: optim.warmup_cosine(0.1, 2, 10)("a"),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_argument_is_named(sentence):
    with pytest.raises((TypeError, ValueError), match=f"^{sentence}"):
        SENTENCES[sentence]()


def of_a_run(**options):
    return diffusion.sample(options.pop("denoise", denoise), labels, **few, **options)


NESTED = {
    "clip": lambda: of_a_run(clip=lambda x: x[:1]),
    "sample: scale": lambda: of_a_run(denoise=guidance.guided(denoise, lambda t: np.nan)),
    "sample: combine": lambda: of_a_run(
        denoise=guidance.guided(denoise, 2.0, combine=lambda p, n, s: 3)
    ),
    "AvgPool": lambda: md.nn.AvgPool(9)(np.ones((2, 6, 6, 2), np.float32)),
    "UNet": lambda: md.models.UNet(10**9),
}


@pytest.mark.parametrize("name", NESTED)
def test_an_error_has_one_name_of_a_call(name):
    """The outermost: what the user typed."""
    with pytest.raises((TypeError, ValueError), match=rf"^({name}|[\w, ]+): (?!\w+: )") as error:
        NESTED[name]()
    assert "predict" not in str(error.value) and "avg_pool2d" not in str(error.value)


def masked(array):
    return np.ma.masked_array(array, np.arange(array.size).reshape(array.shape) == 1)


MASKED = {
    "index": lambda: md.Tensor(x)[masked(np.array([0, 1]))],
    "index ": lambda: md.ops.getitem(x, (slice(None), masked(np.array([0, 1])))),
    "indices": lambda: md.ops.take(x, masked(np.array([0, 1]))),
    "ids": lambda: md.ops.one_hot(masked(np.array([0, 1])), 3),
    "repeats": lambda: md.ops.repeat(x, masked(np.array([1, 1, 1])), axis=0),
    "x0": lambda: loss(x0=masked(x)),
    "x0 ": lambda: diffusion.q_sample(schedule, masked(x), 3, noise=x),
    "condition": lambda: loss(condition=masked(labels)),
    "condition ": lambda: diffusion.label_dropout(masked(labels), 0.5, 0),
    "t": lambda: denoise(x, masked(labels), labels),
    "times": lambda: samplers.ddim(denoise, x, labels, masked(np.array([3, 2, 0]))),
    "beta": lambda: diffusion.Schedule(masked(np.array([0, 0.5]))),
    "alpha_bar": lambda: diffusion.Schedule.from_alpha_bar(masked(np.array([1, 0.5]))),
    "means": lambda: exact.GaussianMixture(masked(x), 1.0),
    "data": lambda: md.training.evaluate(md.nn.Module(), lambda x, rng: x, masked(x)),
    "data ": lambda: md.training.evaluate(md.nn.Module(), len, (x, masked(labels))),
    "arrays": lambda: md.data.minibatches((x, masked(labels)), 2),
    "labels": lambda: md.metrics.accuracy(masked(labels), labels),
}


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_is_not_lost(name):
    with pytest.raises(TypeError, match=rf"^{name.strip()}: given a masked array, .* a.filled"):
        MASKED[name]()
