"""Lesson 7, training: the loss, labels that are dropped, guidance, averages, Adam."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import diffusion
from ..autograd.tensor import Tensor
from ..diffusion.exact import GaussianMixture
from .declared import exercise
from .evidence import PromiseError, agree, array_of, unchanged

SCHEDULE = diffusion.cosine_schedule(20)
POINT = np.array([0.5, -1.0])


class Knowing:
    """A network that knows the answer, since all data is one point; it notes what it is shown."""

    def __init__(self, predicts: str = "v", shift: int = 0, error: Any = 0.0):
        self.predicts = predicts
        self.shift = shift
        self.error = error
        self.x = np.zeros((0, 2))
        self.t = np.zeros(0, int)

    def __call__(self, x: np.ndarray, t: Any, condition: Any = None) -> Any:
        self.x = np.asarray(x)
        self.t = np.broadcast_to(t, len(x))
        alpha, sigma = SCHEDULE.alpha_sigma(np.clip(self.t + self.shift, 0, 20), x)
        noise = (self.x - alpha * POINT) / np.maximum(sigma, 1e-12)
        answers = {
            "v": alpha * noise - sigma * POINT,
            "minus v": sigma * POINT - alpha * noise,
            "noise": noise,
            "x0": POINT + 0 * noise,
            "wrong plus": alpha * noise + sigma * POINT,
        }
        return answers[self.predicts] + self.error


def _loss(training_loss: Callable, model: Knowing, count: int = 400) -> float:
    x0 = np.broadcast_to(POINT, (count, 2)).copy()
    loss = training_loss(model, SCHEDULE, x0, np.random.default_rng(0))
    value = array_of(loss, "A loss is one number.")
    if value.shape != ():
        raise PromiseError(f"A loss is one number. It has the shape {value.shape}: take the mean.")
    return float(value)


@exercise(
    hint="t = rng.integers(1, T + 1, len(x0)), noise = rng.standard_normal(x0.shape), x_t by "
    "schedule.alpha_sigma(t, x0); then the mean of (model(x_t, t, None) − v)²."
)
def training_loss(training_loss: Callable) -> None:
    promise = "A network that knows v has the loss 0."
    model = Knowing()
    loss = _loss(training_loss, model, 20_000)
    _times(model.t)
    if not abs(loss) < 1e-9:
        mistakes = {
            "The target has its sign turned.": Knowing("minus v"),
            "You asked for the noise: v = alpha noise − sigma x0.": Knowing("noise"),
            "You asked for x0: v = alpha noise − sigma x0.": Knowing("x0"),
            "There is a plus in v where a minus belongs.": Knowing("wrong plus"),
            "x_t was mixed at t − 1, and the network is told t.": Knowing(shift=-1),
            "x_t was mixed at t + 1, and the network is told t.": Knowing(shift=1),
        }
        for sentence, other in mistakes.items():
            if abs(_loss(training_loss, other)) < 1e-9:
                raise PromiseError(f"{promise} {sentence}")
        raise PromiseError(f"{promise} It has {loss:.4g}: look at x_t, t and the target.")
    alpha, sigma = SCHEDULE.alpha_sigma(model.t, model.x)
    noise = (model.x - alpha * POINT) / sigma
    if abs(noise.mean()) > 0.05 or abs(noise.std() - 1) > 0.05:
        raise PromiseError(
            f"The noise is standard normal. Yours has the mean {noise.mean():.2f} and the "
            f"deviation {noise.std():.2f}: rng.standard_normal."
        )
    if np.allclose(noise[:, 0], noise[:, 1]) or np.allclose(noise[0], noise[1]):
        raise PromiseError("Each number of each sample has a noise of its own: draw x0's shape.")
    for error in (1.0, 3.0):
        loss = _loss(training_loss, Knowing(error=error))
        promise = f"A network that is off by {error:g} everywhere has the loss {error**2:g}."
        suspects = {
            "That is the sum: take the mean.": 800 * error**2,
            "That is the sum over coordinates: take the mean of all.": 2 * error**2,
        }
        if error > 1:
            suspects["That is the mean distance: square it."] = error
        agree(loss, error**2, promise, suspects)
    bias = Tensor(np.array(0.5), requires_grad=True)
    x0 = np.broadcast_to(POINT, (4, 2)).copy()
    result = training_loss(Knowing(error=bias), SCHEDULE, x0, np.random.default_rng(0))
    if not isinstance(result, Tensor):
        raise PromiseError(
            "A network gives a Tensor, and the loss is to be one, or nothing learns."
        )
    result.backward()
    agree(bias.grad, 1.0, "The gradient goes back to the network.")


def _times(t: np.ndarray) -> None:
    if not len(t):
        raise PromiseError("The network was never asked.")
    if t.min() == t.max():
        raise PromiseError("All samples have the same t: draw one for each.")
    if t.min() < 1:
        raise PromiseError("t = 0 was drawn, where there is no noise: times go from 1 to T.")
    if t.max() < 20:
        raise PromiseError(
            f"T = 20 never comes: the largest t is {t.max()}. rng.integers leaves its end out."
        )
    if t.min() > 1:
        raise PromiseError(f"t = 1 never comes: the smallest t is {t.min()}.")


@exercise(hint="rng.random(len(labels)) < probability says which ones become 0.")
def label_dropout(label_dropout: Callable) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 11, 10_000)
    for probability in (0.2, 0.0, 1.0):
        got = array_of(unchanged(label_dropout, labels, probability, rng), "It gives labels.")
        promise = f"With probability {probability:g} a label becomes 0, the null label."
        if got.shape != labels.shape:
            raise PromiseError(f"{promise} It gives {got.shape}, wanted as many labels as before.")
        if np.any((got != labels) & (got != 0)):
            raise PromiseError(f"{promise} The others stay what they are, and yours changed.")
        share = np.mean(got == 0)
        if probability == 0.2 and share in (0, 1):
            raise PromiseError(f"{promise} All share one fate: draw a number for each.")
        if probability == 0.2 and abs(share - 0.8) < 0.02:
            raise PromiseError(f"{promise} 80 % became 0: those were to be kept.")
        if abs(share - probability) > 0.02:
            raise PromiseError(f"{promise} {share:.1%} became 0.")


@exercise(
    hint="From the null label's noise go scale times the way to the label's: null + s (c − null)."
)
def guided_noise(guided_noise: Callable) -> None:
    rng = np.random.default_rng(0)
    two = GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], [0.4, 0.6])
    denoise = two.denoiser(SCHEDULE)
    x = rng.standard_normal((6, 2))
    labels = np.array([1, 2, 1, 2, 1, 2])
    of_label = denoise(x, 12, labels).noise
    of_null = denoise(x, 12, None).noise
    for scale in (3.0, 1.0, 0.0, -1.0):
        suspects = {
            "That is the label's own, scaled: the null label's is missing.": scale * of_label,
            "That is what papers with w = s − 1 write: scale 0 is the null label here.": (
                (1 + scale) * of_label - scale * of_null
            ),
            "Label and null are exchanged.": of_label + scale * (of_null - of_label),
            "It begins at the label's noise: begin at the null label's.": (
                of_label + scale * (of_label - of_null)
            ),
            "That is the difference alone: add it to the null label's.": (
                scale * (of_label - of_null)
            ),
        }
        promise = f"At scale {scale:g} it goes that far from the null label's noise to the label's."
        got = unchanged(guided_noise, denoise, x, 12, labels, scale)
        agree(got, of_null + scale * (of_label - of_null), promise, suspects)


@exercise(hint="Outside of the interval there is no guidance, and the scale without guidance is 1.")
def guidance_interval(guidance_interval: Callable) -> None:
    for t, is_inside in ((50, True), (31, True), (80, True), (30, False), (81, False), (5, False)):
        got = guidance_interval(t, 3.0, 30, 80)
        promise = f"At t = {t} the scale is {3 if is_inside else 1}."
        end = "One end is wrong: low < t ≤ high." if t in (30, 80) else "That is turned round."
        suspects = {end: 1.0 if is_inside else 3.0}
        if not is_inside:
            suspects["0 is the null label alone: no guidance is the scale 1."] = 0.0
        agree(got, 3.0 if is_inside else 1.0, promise, suspects)


@exercise(hint="For each name: decay · average + (1 − decay) · weights, as a new array.")
def ema_update(ema_update: Callable) -> None:
    rng = np.random.default_rng(0)
    average = {"w": rng.standard_normal((2, 3)), "b": rng.standard_normal(3)}
    weights = {name: rng.standard_normal(a.shape) for name, a in average.items()}
    before = [{name: a.copy() for name, a in each.items()} for each in (average, weights)]
    got = ema_update(average, weights, 0.9)
    if not isinstance(got, dict) or set(got) != set(average):
        raise PromiseError("It gives a dict with the names of the average.")
    for name, now in average.items():
        if not np.array_equal(now, before[0][name]):
            raise PromiseError("It writes to the old average: make new arrays.")
        if not np.array_equal(weights[name], before[1][name]):
            raise PromiseError("It writes to the weights, which are still learning.")
        w = weights[name]
        suspects = {
            "The two are exchanged: of the average most is kept.": 0.1 * now + 0.9 * w,
            "The weights count with 1 − decay: so it grows without end.": 0.9 * now + w,
            "1 − decay is missing: the weights count with decay, too.": 0.9 * now + 0.9 * w,
            "That is their mean: of the average most is kept.": (now + w) / 2,
        }
        promise = f"The average of {name!r} keeps nine tenths, and takes a tenth of the weights."
        agree(got[name], 0.9 * now + 0.1 * w, promise, suspects)
    same = ema_update(weights, weights, 0.9)
    agree(same["w"], weights["w"], "Where the weights stand still the average stays.")


@exercise(
    hint="m ← β1 m + (1 − β1) g, v ← β2 v + (1 − β2) g²; x ← x − lr · m̂ / (√v̂ + eps), with "
    "m̂ = m / (1 − β1^k) and v̂ = v / (1 − β2^k)."
)
def adam_step(adam_step: Callable) -> None:
    rng = np.random.default_rng(0)
    lr = 0.01
    eps = 1e-8
    for k in (1, 2, 10):
        x = rng.standard_normal(5)
        g = 10.0 ** rng.uniform(-2, 2, 5) * np.where(np.arange(5) % 2, -1, 1)
        m = rng.standard_normal(5) if k > 1 else np.zeros(5)
        v = rng.uniform(0.5, 2.0, 5) if k > 1 else np.zeros(5)
        result = unchanged(adam_step, x, g, m, v, k)
        if not isinstance(result, tuple) or len(result) != 3:
            raise PromiseError("It gives three arrays: x, m and v.")
        new_m = 0.9 * m + 0.1 * g
        new_v = 0.999 * v + 0.001 * g**2
        suspects = {
            "The shares are exchanged: of m nine tenths are kept.": 0.1 * m + 0.9 * g,
            "g counts with 1 − β1.": 0.9 * m + g,
        }
        agree(result[1], new_m, f"m is a decaying mean of the gradients (step {k}).", suspects)
        suspects = {
            "v is a mean of the squares of the gradients.": 0.999 * v + 0.001 * g,
            "v takes g², and not m².": 0.999 * v + 0.001 * new_m**2,
        }
        agree(result[2], new_v, f"v is a decaying mean of their squares (step {k}).", suspects)

        def moved(k1: int, k2: int, x=x, m=new_m, v=new_v, root=True) -> np.ndarray:
            """The new x, with the means corrected for so many steps."""
            m_hat = m / (1 - 0.9**k1)
            v_hat = v / (1 - 0.999**k2)
            return x - lr * m_hat / ((np.sqrt(v_hat) if root else v_hat) + eps)

        uncorrected = x - lr * new_m / (np.sqrt(new_v) + eps)
        suspects = {
            "m and v began at 0, and are too small at first: correct them.": uncorrected,
            "k is off by one: the first step has k = 1.": moved(k + 1, k + 1),
            "It goes uphill: subtract.": 2 * x - moved(k, k),
            "The root of v is missing.": moved(k, k, root=False),
            "The gradient itself is in it: the step goes along m.": (
                x - lr * g / (np.sqrt(new_v / (1 - 0.999**k)) + eps)
            ),
            "m is not corrected by 1 − β1^k.": (
                x - lr * new_m / (np.sqrt(new_v / (1 - 0.999**k)) + eps)
            ),
            "v is not corrected by 1 − β2^k.": (
                x - lr * new_m / (1 - 0.9**k) / (np.sqrt(new_v) + eps)
            ),
        }
        if k > 1:
            suspects["k is off by one: that is the step before."] = moved(k - 1, k - 1)
        promise = f"x moves by lr · m̂ / (√v̂ + eps) (step {k})."
        agree(result[0], moved(k, k), promise, suspects, 1e-6)
    still, _, _ = adam_step(x, np.zeros(5), np.zeros(5), np.zeros(5), 1)
    if not np.array_equal(still, x):
        raise PromiseError("A weight without a gradient stays: eps keeps 0 / 0 away.")
