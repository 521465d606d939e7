"""What the good calls are made with: small arrays, modules, functions, each made when asked for."""

import numpy as np
from PIL import Image

import minidiff as md
import minidiff.testing
from minidiff import diffusion, ops
from minidiff.diffusion import exact, guidance, samplers

RECIPES = {}


def recipe(function):
    """The value of this name is made by the function, for every call anew."""
    RECIPES[function.__name__] = function


class Given(dict):
    """The names of a good call, each made when it is first read: new for every `Given`."""

    def __init__(self, folder):
        super().__init__(md=md, ops=ops, np=np, exact=exact, guidance=guidance, samplers=samplers)
        self.update(FUNCTIONS)
        self.update({name: array.copy() for name, array in ARRAYS.items()})
        self["folder"] = folder

    def __or__(self, other):
        made = Given(self["folder"])
        made.update(other)
        return made

    def __missing__(self, name):
        if name not in RECIPES:
            raise NameError(name)
        needs = RECIPES[name].__code__.co_varnames[: RECIPES[name].__code__.co_argcount]
        self[name] = RECIPES[name](*(self[need] for need in needs))
        return self[name]


# --- arrays ---


def normal(*shape):
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


ARRAYS = {
    "x": np.abs(normal(4, 3)) + 1,
    "y": np.abs(normal(3, 4)).T + 1,
    "x5": normal(4, 5),
    "x64": normal(2, 3).astype(np.float64),
    "mask": normal(4, 3) > 0,
    "ones": np.ones((1, 3), np.float32),
    "v": normal(3) + 3,
    "b": normal(4),
    "b5": normal(5),
    "positive": np.ones(3, np.float32),
    "two": np.ones(2, np.float32),
    "w": normal(3, 5),
    "w1": normal(3, 2, 4),
    "w2": normal(3, 3, 2, 4),
    "e": normal(4, 3),
    "square": np.eye(3, dtype=np.float32) * 2,
    "signal": normal(2, 6, 2),
    "image": normal(2, 6, 6, 2),
    "image4": normal(2, 6, 6, 4),
    "pooled": normal(2, 3, 3, 2),
    "pool_index": np.zeros((2, 3, 3, 2), np.int64),
    "patches": normal(4, 2, 5, 5, 2),
    "shift": normal(2, 2),
    "qkv": normal(2, 4, 6),
    "table": normal(7, 5),
    "ids": np.array([0, 2, 6, 1]),
    "places": np.zeros((1, 3), np.int64),
    "shares": np.full((4, 3), 1 / 3, np.float32),
    "classes": np.array([0, 2, 1, 1]),
    "points": normal(3, 2),
    "points64": normal(3, 2).astype(np.float64),
    "labels": np.array([1, 2, 1]),
    "t": np.array([1, 2, 3]),
    "grid": np.array([20.0, 10.0, 0.0]),
    "snr": np.array([3.0, 2.0, 1.0]),
    "beta": np.array([0.0, 0.1, 0.5]),
    "alpha_bar": np.array([1.0, 0.9, 0.5]),
    "means": np.array([[1.0, 0.0], [-1.0, 0.0]]),
    "rows": normal(6, 2).astype(np.float64),
    "many_rows": normal(20, 2).astype(np.float64),
    "low": np.zeros(2),
    "high": np.ones(2),
    "images": np.tanh(normal(3, 8, 8, 1)),
    "digits": np.tanh(normal(3, 28, 28, 1)),
    "tiles": np.tanh(normal(1, 2, 4, 4, 1)),
}


# --- functions that a user would write ---


class Strange:
    """An array of another library."""


FUNCTIONS = {
    "Strange": Strange,
    "cube": lambda x, n=3: x**3,
    "cube_rule": lambda g, x: g * x * x * 3,
    "tanh": lambda x: ops.tanh(x),
    "total": lambda x: ops.sum(ops.tanh(x)),
    "keep": lambda gradient: None,
    "predicting": lambda x, t, condition: diffusion.Prediction(x, x),
    "column_mean": lambda rows: rows.mean(axis=0),
    "snr_weight": lambda snr: snr,
    "draw_times": lambda rng, n: (np.ones(n, np.int64), np.ones(n)),
    "keep_losses": lambda t, losses: None,
    "blended": lambda positive, negative, scale: positive,
    "log_prob": lambda x, t, labels: -ops.sum(x * x, axis=1),
}


# --- what is made of them ---


@recipe
def rng():
    return np.random.default_rng(0)


@recipe
def leaf(x):
    return md.Tensor(x, requires_grad=True)


@recipe
def result(leaf):
    return ops.tanh(leaf)


@recipe
def one():
    return md.Tensor([1.0])


@recipe
def backend():
    return md.kernels.Backend(Strange, "strange", np)


@recipe
def profiled(leaf):
    with md.profile() as profile:
        ops.tanh(leaf)
    return profile


@recipe
def mlp():
    return md.models.ConditionalMLP(4, 3, 20)


@recipe
def moments():
    return md.metrics.Moments()


@recipe
def state(mlp):
    return mlp.state_dict()


@recipe
def lenet():
    return md.models.LeNet5()


@recipe
def lenet_of_digits():
    return md.models.LeNet((28, 28, 1))


@recipe
def resnet():
    return md.models.ResNet()


@recipe
def unet():
    return md.models.UNet(1, 8, (1,), classes=3, timesteps=20, attention=False)


@recipe
def interval_unet(images, labels):
    model = md.models.MeanFlowUNet(1, 8, (1,), classes=3, timesteps=20, attention=False)
    diffusion.mean_flow.loss(model, images, labels, 0)
    return model


@recipe
def learned_mlp(schedule, points, labels):
    return taught_mlp(schedule, points, labels)


@recipe
def teacher_mlp(schedule, points, labels):
    return taught_mlp(schedule, points, labels)


def taught_mlp(schedule, points, labels):
    model = md.models.ConditionalMLP(4, 3, 20)
    diffusion.loss(model, schedule, points, labels, 0, "v")
    return model


@recipe
def adm():
    return md.models.ADMUNet(diffusion.cosine_schedule(20).alpha_bar, widths=(8, 8), classes=3)


LAYERS = {
    "attention_layer": lambda: md.nn.Attention(4, np.random.default_rng(0), 2),
    "convolution": lambda: md.nn.Conv2d(2, 4, 3, np.random.default_rng(0)),
    "dense_layer": lambda: md.nn.Dense(3, 5, np.random.default_rng(0)),
    "embedding_layer": lambda: md.nn.Embedding(7, 5, np.random.default_rng(0)),
    "norm_layer": lambda: md.nn.GroupNorm(1, 2),
    "norm_silu_layer": lambda: md.nn.GroupNormSilu(1, 2),
    "pool_layer": lambda: md.nn.MaxPool(2),
    "time_layer": lambda: md.nn.SinusoidalEmbedding(4, 20),
    "upsample_layer": lambda: md.nn.Upsample(2, 2, np.random.default_rng(0)),
}
RECIPES.update(LAYERS)


@recipe
def weights(leaf):
    return [leaf]


@recipe
def adam(mlp):
    return md.optim.Adam(mlp.parameters(), lr=0.1)


@recipe
def adam_state(adam):
    return adam.state_dict()


@recipe
def ema(mlp):
    return md.optim.EMA(mlp, 0.9)


@recipe
def post_hoc(mlp):
    ema = md.optim.PostHocEMA(mlp, [1, 2])
    ema.update()
    return ema


@recipe
def ema_state(ema):
    return ema.state_dict()


@recipe
def schedule():
    return diffusion.cosine_schedule(20)


@recipe
def straight():
    return diffusion.straight_schedule(20)


@recipe
def straight_alpha(straight):
    return np.array(straight.alpha)


@recipe
def straight_sigma(straight):
    return np.array(straight.sigma)


@recipe
def parameterization(schedule):
    return diffusion.Parameterization(schedule, "v")


@recipe
def mixture(means):
    return exact.GaussianMixture(means, 1.0)


@recipe
def denoise(mixture, schedule):
    return mixture.denoiser(schedule)


@recipe
def prediction(points):
    return diffusion.Prediction(points, points)


@recipe
def a_walk(denoise, points, labels, grid):
    return samplers.Walk(denoise, points, labels, grid, 0)


@recipe
def walked(denoise, points, labels, grid):
    return list(samplers.ddim(denoise, points, labels, grid))


@recipe
def importance():
    return diffusion.losses.ImportanceSampler(20, 3)


@recipe
def importance_state(importance):
    return importance.state_dict()


@recipe
def by_time():
    return diffusion.losses.LossByTime(20, 4)


@recipe
def by_time_state(by_time):
    return by_time.state_dict()


@recipe
def scaling(low, high):
    return md.data.Scaling(low, high)


@recipe
def training_loss(mlp):
    return lambda x, labels, rng: ops.mean(mlp(x, np.ones(len(x), int), labels) ** 2)


@recipe
def trainer(mlp, training_loss, adam, path):
    return md.training.Trainer(mlp, training_loss, adam, batch_size=2, path=path)


# --- files ---


@recipe
def path(folder):
    return folder / "written.safetensors"


@recipe
def exported(folder, mlp):
    return md.export.save(folder / "exported.safetensors", mlp)


@recipe
def picture(folder):
    return folder / "picture.png"


@recipe
def video(folder):
    return folder / "video.gif"


@recipe
def flowers(folder):
    """A folder of pictures, with a class in each subfolder."""
    for name in ("rose", "tulip"):
        (folder / "flowers" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), "red").save(folder / "flowers" / name / "1.png")
    return folder / "flowers"


@recipe
def arrays(folder):
    np.savez(folder / "arrays.npz", images=np.zeros((2, 3, 3), np.uint8), labels=["a", "b"])
    return folder / "arrays.npz"


@recipe
def checkpoint(folder, mlp):
    return md.save(folder / "checkpoint.safetensors", mlp)
