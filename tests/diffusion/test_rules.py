"""Rules of guidance as values, and the five lines that guidance.py begins with."""

import dataclasses
import re
import textwrap

import numpy as np
import pytest
from worlds import TWO, counted

import minidiff.diffusion as D
from minidiff.diffusion import guidance as G

SCHEDULE = D.linear_schedule(100)
EXACT = TWO.denoiser(SCHEDULE)
LABELS = np.array([1, 2, 1, 2])
X = np.random.default_rng(0).standard_normal((4, 2))


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0, 7.5])
def test_the_five_lines_are_classifier_free_guidance(scale):
    code = re.search(r"( {4}def classifier_free\(.*?\n)\n(?! {8}return)(?=[A-Z])", G.__doc__, re.S)
    namespace = {"Prediction": D.Prediction, "Denoise": D.Denoise}
    exec(textwrap.dedent(code[1]), namespace)
    plain = namespace["classifier_free"](EXACT, scale)
    fast = G.classifier_free(EXACT, scale)
    for t in (1, 30, 100):
        for a, b in zip(plain(X, t, LABELS)[:2], fast(X, t, LABELS)[:2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    steps = [D.samplers.ddim(denoise, X, LABELS) for denoise in (plain, fast)]
    np.testing.assert_allclose(*map(D.final, steps), rtol=1e-9)


def test_a_rule_is_a_frozen_value():
    assert G.extrapolate.one_pass == (0, 1)
    assert G.cfg_pp.one_pass == (0,)
    assert G.rescaled(0.5).one_pass == G.projected().one_pass == (1,)
    with pytest.raises(dataclasses.FrozenInstanceError):
        G.extrapolate.one_pass = ()
    assert G.extrapolate == dataclasses.replace(G.extrapolate)


def test_a_rule_of_ones_own_is_a_function_or_says_where_one_pass_is_enough():
    def half_way(positive, negative, scale):
        """Gives back the negative at scale 2, of all scales."""
        x0 = positive.x0 + scale / 2 * (negative.x0 - positive.x0)
        return positive._replace(x0=x0, noise=None)

    for rule, scale, batches in [
        (half_way, 0.0, [8]),
        (half_way, 1.0, [4]),
        (G.Rule(half_way, one_pass=()), 1.0, [8]),
        (G.Rule(half_way, one_pass=(0,)), 0.0, [4]),
    ]:
        passes, denoise = counted(EXACT)
        G.guided(denoise, scale, combine=rule)(X, 30, LABELS)
        assert passes.batches == batches
    made = G.guided(EXACT, 2.0, combine=half_way)(X, 30, LABELS)
    for a, b in zip(made[:2], EXACT(X, 30, None)[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
