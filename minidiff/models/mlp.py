"""The network for points in the plane: dense layers, each shifted by the time and the label."""

from numpy.random import Generator

from .. import checks, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from ..nn import ConditionalChain, Dense, Embedding, Module, SinusoidalEmbedding
from .inputs import as_labels, as_times, as_x, moved


class ConditionalMLP(Module):
    """Points x (batch, 2), times t and labels to a prediction (batch, 2).

    It is called as model(x, t, condition=None), on one thread: `minidiff.sharded(model)` runs on
    all, as `diffusion.loss` and `diffusion.denoiser` do. `t` is one host number or (batch,), in 0 …
    timesteps, integers or reals; `condition` is None or labels (batch,) in 0 … classes, 0 being the
    null label, which None stands for. With `classes=None` it is unconditional. `rng` is a seed or a
    Generator for the initial weights. `hidden` is even, at least 4.
    """

    sample_shape = (2,)

    def __init__(
        self,
        hidden: int = 32,
        classes: int | None = 3,
        timesteps: int = 40,
        rng: int | Generator = 0,
    ):
        checks.whole("timesteps", timesteps, 1)
        if classes is not None:
            checks.whole("classes", classes, 1)
        self.config = {"hidden": hidden, "classes": classes, "timesteps": timesteps}
        self.classes = classes
        self.timesteps = timesteps
        rng = checks.generator("rng", rng)
        self.time = SinusoidalEmbedding(hidden, timesteps)
        layers = [ConditionedDense(inputs, hidden, classes, rng) for inputs in (2, hidden, hidden)]
        self.chain = ConditionalChain(*layers, Dense(hidden, 2, rng))

    def __call__(
        self, x: Tensor | Array, t: int | float | Array, condition: Array | None = None
    ) -> Tensor:
        like = self.chain.layers[-1].weight
        x = as_x(x, "(batch, 2)", 2, like)
        batch = x.shape[0]
        waves = self.time.on_host(as_times(t, batch, self.timesteps), like.data)
        labels = as_labels(condition, batch, self.classes)
        return self.chain(x, *moved(like, waves, labels))


class ConditionedDense(Module):
    """silu(Dense(x) + Dense(embedded time) + Embedding(label)); no label without classes."""

    conditional = True

    def __init__(self, inputs: int, hidden: int, classes: int | None, rng: Generator):
        self.x = Dense(inputs, hidden, rng)
        self.time = Dense(hidden, hidden, rng)
        self.label = Embedding(classes + 1, hidden, rng) if classes is not None else None

    def __call__(self, x: Tensor | Array, time: Array, label: Array | None) -> Tensor:
        if self.label is None:
            return ops.silu(self.x(x) + self.time(time))
        # the same as one operation: the network is so small that their number counts
        return ops.conditioned_dense(
            x,
            self.x.weight,
            self.x.bias,
            time,
            self.time.weight,
            self.time.bias,
            self.label.weight,
            label,
        )
