"""What a network predicts, and its schedule, stay with its weights: nobody types them twice."""

import copy
import hashlib
import inspect
import json
import pickle

import numpy as np
import pytest
import strict
from safetensors import safe_open
from safetensors.numpy import save_file
from worlds import TWO

import minidiff as md
import minidiff.diffusion as D
from minidiff import optim, storage
from minidiff.diffusion import guidance as G
from minidiff.diffusion import samplers as S
from minidiff.training import Trainer

SCHEDULE = D.linear_schedule(40)
V = D.Parameterization(SCHEDULE, "v")
X = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
LABELS = np.array([1, 2, 0])


def loss(model, schedule=SCHEDULE, predicts="v", **options):
    return D.loss(model, schedule, X, LABELS, np.random.default_rng(0), predicts, **options)


def trained():
    """A model that one call of the loss has seen."""
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=40)
    loss(model)
    return model


def x0_of(model, t=13):
    """x_0 by the definition of v on the linear schedule, from the bare network."""
    with md.no_grad():
        v = model(X, t, LABELS).numpy()
    return np.sqrt(SCHEDULE.alpha_bar[t]) * X - np.sqrt(1 - SCHEDULE.alpha_bar[t]) * v


# --- noted at the first call of the loss, and held to ---


def test_the_loss_notes_it_and_the_denoiser_reads_it():
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=40)
    assert model.parameterization is None
    loss(model)
    assert model.parameterization == V
    denoise = D.denoiser(model)
    assert denoise.schedule is SCHEDULE
    np.testing.assert_allclose(denoise(X, 13, LABELS).x0, x0_of(model), rtol=1e-4, atol=1e-6)
    assert D.sample(denoise, LABELS, shape=(2,), steps=3).shape == (3, 2)


def test_the_same_may_be_said_again():
    model = trained()
    loss(model, D.linear_schedule(40), learned_variance=False)
    denoise = D.denoiser(model, D.linear_schedule(40), "v", False)
    np.testing.assert_array_equal(denoise(X, 13, LABELS).x0, D.denoiser(model)(X, 13, LABELS).x0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"schedule": D.cosine_schedule(40)},
            r"schedule: given Schedule\(T = 40.*, wanted the model",
        ),
        ({"schedule": D.linear_schedule(50)}, r"schedule: given Schedule\(T = 50.* own, .*T = 40"),
        ({"predicts": "noise"}, "predicts: given 'noise', wanted the model's own, 'v'"),
        ({"learned_variance": True}, "learned_variance: given True, wanted the model's own, False"),
    ],
)
def test_a_mismatch_is_refused(change, words):
    model = trained()
    with pytest.raises(ValueError, match=words):
        loss(model, **change)
    with pytest.raises(ValueError, match=words):
        D.denoiser(model, **change)
    assert model.parameterization == V


def test_a_refused_call_notes_nothing():
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=40)
    for call in (
        lambda: D.loss(model, SCHEDULE, X * np.nan, LABELS, np.random.default_rng(0)),
        lambda: loss(model, predicts="score"),
        lambda: loss(model, D.zero_terminal_snr(SCHEDULE), "noise"),
        lambda: loss(model, D.linear_schedule(50)),
    ):
        with pytest.raises(ValueError):
            call()
        assert model.parameterization is None


@pytest.mark.parametrize(
    "model", [md.models.ConditionalMLP(timesteps=40), md.models.UNet(width=8, timesteps=40)]
)
def test_a_schedule_of_another_length_than_the_models_is_refused(model):
    with pytest.raises(ValueError, match="schedule: given T = 50, wanted T = 40"):
        D.denoiser(model, D.cosine_schedule(50))


def test_what_has_none_needs_a_schedule():
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=40)
    for bare in (model, lambda x, t, c: x):
        with pytest.raises(ValueError, match=r"type diffusion\.denoiser\(model, schedule\)"):
            D.denoiser(bare)
        p = D.denoiser(bare, SCHEDULE)(X, 13, LABELS)  # predicts noise, unless it is said
        alpha, sigma = SCHEDULE.alpha_sigma(13)
        np.testing.assert_allclose(alpha * p.x0 + sigma * p.noise, X, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(p.noise, X)
    assert model.parameterization is None
    with pytest.raises(TypeError, match="schedule: given int, wanted a Schedule"):
        D.denoiser(model, 40)


# --- kept with the weights ---


def test_saved_and_loaded_bit_for_bit(tmp_path):
    model = trained()
    ema = optim.EMA(model)
    path = md.save(tmp_path / "m.safetensors", model, ema)
    assert storage.read(path).parameterization == V
    for weights in ("ema", "raw"):
        loaded = md.load(path, weights=weights)
        assert loaded.parameterization == V
        saved = loaded.parameterization.schedule
        assert saved.beta.tobytes() == SCHEDULE.beta.tobytes()
        assert saved.alpha_bar.tobytes() == SCHEDULE.alpha_bar.tobytes()
        x0 = D.denoiser(loaded)(X, 13, LABELS).x0
        np.testing.assert_allclose(x0, x0_of(model), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="wanted the model's own, 'v'"):
        D.denoiser(loaded, SCHEDULE, "noise")
    assert md.load(md.save(path, md.models.LeNet5())).parameterization is None


def test_learned_variance_is_saved_too(tmp_path):
    model = md.nn.Dense(2, 4, np.random.default_rng(0))
    model.parameterization = D.Parameterization(SCHEDULE, "x0", learned_variance=True)
    path = md.save(tmp_path / "m.safetensors", model)
    other = md.nn.Dense(2, 4, np.random.default_rng(1))
    assert md.load(path, other) is other
    assert other.parameterization == model.parameterization


def test_a_damaged_table_is_refused(tmp_path):
    path = md.save(tmp_path / "m.safetensors", trained())
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(file.metadata()["minidiff"])
    arrays["schedule.beta"][3] = 2.0
    zeros = "0" * 64  # in place of the checksum, until it is known
    save_file(arrays, path, {"minidiff": json.dumps(about | {"sha256": zeros})})
    content = path.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    path.write_bytes(content.replace(zeros.encode(), checksum.encode(), 1))
    with pytest.raises(ValueError, match=r"path: given .*damaged.*beta\[3\] = 2"):
        md.load(path)


def test_the_shipped_network_just_works():
    model = md.pretrained("mnist")
    assert model.parameterization == D.Parameterization(D.cosine_schedule(100), "v")
    digits = D.sample(D.denoiser(model), np.array([8]), steps=2)
    plain = D.denoiser(lambda *a: model(*a), D.cosine_schedule(100), "v")
    by_hand = D.sample(plain, [8], shape=(28, 28, 1), steps=2)
    np.testing.assert_allclose(digits, by_hand, atol=1e-5)
    assert md.pretrained("lenet").parameterization is None
    with pytest.raises(ValueError, match="schedule: given"):
        D.denoiser(model, D.cosine_schedule(50))


def test_the_shipped_network_draws_what_is_asked_for_as_both_judges_read():
    wanted = np.repeat(np.arange(10), 20)
    denoise = D.guidance.classifier_free(D.denoiser(md.pretrained("mnist")), 1.25)
    digits = D.sample(denoise, wanted + 1, sampler="dpmpp_2m", steps=20)
    for judge in ("lenet", "judge"):
        read = md.metrics.predict(md.pretrained(judge), digits)
        assert md.metrics.accuracy(wanted, read) >= 0.97  # at 10,000 digits 0.992


def test_it_moves_copies_and_pickles_with_the_model():
    model = trained()
    copied = copy.deepcopy(model)
    pickled = pickle.loads(pickle.dumps(model))
    for other in (copied, pickled):
        assert other.parameterization == V
        table = other.parameterization.schedule.beta
        assert table.tobytes() == SCHEDULE.beta.tobytes() and not table.flags.writeable
        x0 = D.denoiser(other)(X, 13, LABELS).x0
        np.testing.assert_array_equal(x0, D.denoiser(model)(X, 13, LABELS).x0)
    with strict.registered():
        assert model.to("strict").parameterization == V
        model.to("cpu")


def trainer(path, model, schedule=SCHEDULE, predicts="v"):
    def of_batch(x, y, rng):
        return D.loss(model, schedule, x, y, rng, predicts)

    return Trainer(model, of_batch, optim.Adam(model.parameters()), batch_size=2, path=path)


def test_resuming_holds_to_it(tmp_path):
    path = tmp_path / "run.safetensors"
    fresh = lambda: md.models.ConditionalMLP(hidden=8, classes=3, timesteps=40)
    trainer(path, fresh()).fit((X, LABELS), 1, progress=False)

    run = trainer(path, fresh())
    run.resume()
    assert run.model.parameterization == V
    run.fit((X, LABELS), 2, progress=False)

    other = trainer(path, fresh(), D.cosine_schedule(40))
    other.resume()
    with pytest.raises(ValueError, match="schedule: given"):
        other.fit((X, LABELS), 3, progress=False)

    model = fresh()
    loss(model, predicts="x0")
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"path: given .*predicts='v'.*wanted .*predicts='x0'"):
        trainer(path, model, predicts="x0").resume()
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


# --- schedules as values ---


def test_schedules_are_equal_but_for_rounding():
    same = D.linear_schedule(40)
    assert same == SCHEDULE and hash(same) == hash(SCHEDULE)
    beta = np.array(SCHEDULE.beta)
    beta[7] = np.nextafter(beta[7], 1)  # another processor's last bit
    assert D.Schedule(beta) == SCHEDULE
    beta[7] *= 1 + 1e-6
    assert D.Schedule(beta) != SCHEDULE
    assert D.linear_schedule(50) != SCHEDULE
    assert SCHEDULE.__eq__("linear") is False
    assert repr(SCHEDULE) == "Schedule(T = 40, alpha_bar[20] = 0.0664, alpha_bar[40] = 4.22e-06)"


# --- a plain function is refused, and told what to type ---

EXACT = TWO.denoiser(SCHEDULE)
plain = lambda x, t, condition: EXACT(x, t, condition)
GIVEN_A_DENOISE = {
    **{
        name: lambda d, f=f: f(d, X, rng=np.random.default_rng(0)) for name, f in S.SAMPLERS.items()
    },
    "invert": lambda d: S.invert(d, X),
    "sample": lambda d: D.sample(d, n=2, shape=(2,)),
    "sample_steps": lambda d: D.sample_steps(d, n=2, shape=(2,)),
    "inpaint": lambda d: D.inpaint(d, X, rng=np.random.default_rng(0), known=X, mask=np.ones(2)),
    "image_to_image": lambda d: D.image_to_image(d, X, 30, np.random.default_rng(0)),
    "interpolate": lambda d: D.interpolate(d, X, X[::-1], [0.5]),
    "bits_per_dim": lambda d: D.bits_per_dim(d, X, np.random.default_rng(0)),
    "guided": lambda d: G.guided(d, 2.0),
    "classifier_free": lambda d: G.classifier_free(d, 2.0),
    "composed": lambda d: G.composed(d, [1], [2.0]),
    "classifier": lambda d: G.classifier(d, TWO.log_prob(SCHEDULE), 2.0),
}


@pytest.mark.parametrize("name", GIVEN_A_DENOISE)
def test_a_plain_function_or_a_network_is_no_denoise(name):
    GIVEN_A_DENOISE[name](EXACT)
    for other in (plain, md.models.ConditionalMLP(timesteps=40), SCHEDULE, None):
        with pytest.raises(
            TypeError, match=r"denoise: given .*, wanted a Denoise: type diffusion\."
        ):
            GIVEN_A_DENOISE[name](other)
    GIVEN_A_DENOISE[name](D.Denoise(plain, SCHEDULE))  # what the error says to type


def test_nor_is_it_a_weak_model():
    with pytest.raises(TypeError, match="against: given function, wanted a Denoise"):
        G.guided(EXACT, 2.0, against=plain)
    with pytest.raises(ValueError, match=r"against: given a Denoise of Schedule\(T = 50"):
        G.guided(EXACT, 2.0, against=TWO.denoiser(D.linear_schedule(50)))


# --- nothing takes a schedule beside it ---


def test_a_denoise_is_called_without_a_condition_too():
    for a, b in zip(EXACT(X, 13), EXACT(X, 13, None), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [*S.SAMPLERS, "invert"])
def test_how_samplers_are_called(name):
    names = list(inspect.signature(getattr(S, name)).parameters)
    assert names[:6] == ["denoise", "x", "condition", "times", "rng", "clip"]
    assert "schedule" not in names


def test_the_signature_of_sample_is_real():
    wanted = (
        "(denoise, condition=None, n=None, shape=None, sampler='ddim', steps=25, rng=0, "
        "device=None, spacing='trailing', clip='images', dtype=numpy.float32, **options)"
    )
    for function in (D.sample, D.sample_steps):
        signature = inspect.signature(function)
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        shown = str(inspect.Signature(bare)).replace("<class 'numpy.float32'>", "numpy.float32")
        assert shown == wanted
    denoise = D.Denoise(lambda x, t, c: D.Prediction(x, x), SCHEDULE, (28, 28, 1))
    assert D.sample(denoise, n=2, steps=2).shape == (2, 28, 28, 1)
