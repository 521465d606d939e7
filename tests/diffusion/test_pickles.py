"""What a user keeps for later, or hands to another process: a pickle and a copy do the same."""

import copy
import pickle

import numpy as np
import pytest

import minidiff as md
from minidiff import diffusion, optim
from minidiff.diffusion import Denoise, Prediction, exact, guidance, losses, samplers

schedule = diffusion.cosine_schedule(20)
mixture = exact.GaussianMixture([[1.0, 0.0], [-1.0, 0.0]], 1.0, labels=[1, 2])
x = np.random.default_rng(0).standard_normal((3, 2), np.float32)
labels = np.array([1, 2, 1])


def trained():
    model = md.models.ConditionalMLP(4, 3, 20)
    diffusion.loss(model, schedule, x, labels, 0)
    return model


def predicting(x, t, condition):
    return Prediction(x, x)


def log_prob(x, t, labels):
    return -md.ops.sum(x * x, axis=1)


network = diffusion.denoiser(trained())
snr = np.array([0.1, 3.0, 9.0])
of_two = (Prediction(x, 2 * x), Prediction(x / 2, x), 2.0)
of_samples = (x, 7, labels)

# what is kept, and what it is called with
KEPT = {
    "extrapolate": (guidance.extrapolate, of_two),
    "cfg_pp": (guidance.cfg_pp, of_two),
    "rescaled": (guidance.rescaled(0.5), of_two),
    "projected": (guidance.projected(momentum=0.5), of_two),
    "interval": (guidance.interval(2.0, 1, 9), (7,)),
    "gradient": (guidance.gradient(log_prob, 2.0), of_samples),
    "classifier_free": (guidance.classifier_free(network, 2.0), of_samples),
    "guided": (guidance.guided(network, 3.0, against=1, combine=guidance.rescaled()), of_samples),
    "classifier": (guidance.classifier(network, log_prob, scale=2.0), of_samples),
    "composed": (guidance.composed(network, [1, 2], [0.5, 0.5]), (x, 7)),
    "denoiser": (network, of_samples),
    "exact": (mixture.denoiser(schedule), of_samples),
    "log_prob": (mixture.log_prob(schedule), of_samples),
    "a plain function": (Denoise(predicting, schedule), of_samples),
    "dynamic_threshold": (samplers.dynamic_threshold(0.9), (3 * x,)),
    "min_snr": (losses.min_snr(), (snr,)),
    "p2": (losses.p2(), (snr,)),
    "schedule": (schedule.alpha_bar_at, (7,)),
    "warmup_cosine": (optim.warmup_cosine(0.1, 2, 10), (4,)),
    "checkpoint": (md.checkpoint(md.ops.exp), (x,)),
}


def equal(a, b):
    if isinstance(a, Prediction):
        return all(map(equal, a, b))
    return a is b is None or np.array_equal(a, b)


@pytest.mark.parametrize("name", KEPT)
def test_a_pickle_and_copies_do_the_same(name):
    kept, arguments = KEPT[name]
    again = [pickle.loads(pickle.dumps(kept)), copy.copy(kept), copy.deepcopy(kept)]
    want = copy.deepcopy(kept)(*arguments)
    assert all(equal(other(*arguments), want) for other in again)


def test_a_pickled_sampler_draws_the_same():
    kept = (guidance.classifier_free(network, 2.0), samplers.ddim)
    denoise, sampler = pickle.loads(pickle.dumps(kept))
    draw = lambda denoise, sampler: diffusion.sample(denoise, labels, sampler=sampler, steps=3)
    assert np.array_equal(draw(denoise, sampler), draw(*kept))


def test_a_copy_of_a_rule_with_memory_begins_anew():
    rule = guidance.projected(momentum=0.5)
    first = rule(*of_two)
    assert equal(copy.deepcopy(rule)(*of_two), first)
    assert not equal(rule(*of_two), first)


def test_what_a_maker_gives_is_a_method_in_a_class():
    class Model:
        @md.checkpoint
        def __call__(self, x):
            return md.ops.tanh(x)

    assert np.array_equal(Model()(x), np.tanh(x))
