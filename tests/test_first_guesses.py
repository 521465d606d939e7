"""What people type first: each expression works, or the error says what to type instead."""

import re
from pathlib import Path

import numpy as np
import pytest

import minidiff as md
from minidiff import first_guesses, nn, ops

PAGE = Path(__file__).parent.parent / "docs" / "coming-from-pytorch.md"

# x (2, 3) and y (2, 3) are leaves, s a single element, i integers, m a mask, a an array.
NUMPY = """
    np.abs(x); np.exp(x); np.log(x); np.log2(x); np.log10(x); np.sqrt(x); np.sin(x); np.tanh(x)
    np.sum(x); np.sum(x, axis=1); np.mean(x, axis=0, keepdims=True); np.max(x, 1); np.min(x)
    np.argmax(x); np.var(x); np.std(x, axis=0); np.prod(x); np.cumsum(x); np.cumprod(x)
    np.any(x > 0); np.all(x > 0, axis=1); np.ptp(x); np.median(x); np.percentile(x, 30)
    np.quantile(x, 0.3); np.average(x); np.dot(x, y.T); np.matmul(x, y.T); np.inner(x, y)
    np.outer(x, y); np.kron(x, y); np.cross(x, y); np.vdot(x, y); np.tensordot(x, y); np.trace(x)
    np.einsum("ij,ij->i", x, y); np.concatenate([x, y]); np.stack([x, y]); np.vstack([x, y])
    np.hstack([x, y]); np.dstack([x, y]); np.column_stack([x, y]); np.split(x, 3, axis=1)
    np.array_split(x, 2, axis=1); np.hsplit(x, 3); np.append(x, y); np.insert(x, 1, 0.0)
    np.delete(x, 0); np.reshape(x, (3, 2)); np.ravel(x); np.transpose(x); np.swapaxes(x, 0, 1)
    np.moveaxis(x, 0, 1); np.rollaxis(x, 1); np.squeeze(x); np.expand_dims(x, 0); np.flip(x)
    np.fliplr(x); np.flipud(x); np.rot90(x); np.roll(x, 1); np.tile(x, 2); np.repeat(x, 2)
    np.where(m, x, y); np.clip(x, 0, 1); np.maximum(x, y); np.minimum(x, 0.5); np.arctan2(x, y)
    np.hypot(x, y); np.logaddexp(x, y); np.power(x, 2); np.square(x); np.sign(x); np.floor(x)
    np.mod(x, 2); np.floor_divide(x, 2); np.diff(x); np.gradient(x); np.sort(x); np.argsort(x)
    np.diag(x @ y.T); np.diagonal(x); np.tril(x); np.triu(x); np.linalg.norm(x)
    np.linalg.norm(x, axis=1); np.linalg.det(q); np.linalg.inv(q); np.linalg.solve(q, q)
    np.linalg.svd(q); np.linalg.eigh(q); np.linalg.cholesky(q @ q.T); np.zeros_like(x)
    np.ones_like(x); np.full_like(x, 2); np.isnan(x); np.isfinite(x); np.isinf(x); np.isclose(x, y)
    np.allclose(x, x); np.array_equal(x, x); np.count_nonzero(m); np.nonzero(m); np.copy(x)
    np.shape(x); np.ndim(x); np.size(x); np.asarray(x.detach()); np.logical_and(m, m)
    np.atleast_2d(s)
    np.take(x, [0])
    np.pad(x, 1); np.linspace(s, 2 * s, 3); np.meshgrid(s * a, a); np.nan_to_num(x)
    np.broadcast_to(x, (2, 2, 3)); np.deg2rad(x); np.reciprocal(x + 9); np.sinc(x); np.cbrt(x)
    x.sum(); x.sum(axis=1); x.sum(1); x.mean(); x.std(); x.var(axis=0); x.min(); x.max(axis=1)
    x.argmax(); x.argmin(axis=1); x.prod(); x.cumsum(); x.cumprod(axis=1); x.any(); x.all()
    x.dot(y.T); x.flatten(); x.ravel(); x.reshape(3, 2); x.reshape((3, 2)); x.transpose()
    x.transpose(1, 0); x.T; x.mT; x.swapaxes(0, 1); x.squeeze(); x.repeat(2); x.take([0]); x.round()
    x.clip(0, 1); x.astype(np.float64); x.copy(); x.tolist(); s.item(); x.nonzero(); x.trace()
    x.diagonal(); x.argsort(); x.shape; x.size; x.ndim; x.dtype; x.itemsize; x.nbytes; len(x)
    x.sort(); x.fill(0); x.ptp(); x.partition(1); x.conj(); x.real; x.imag; x.flat; x.put(0, 1)
    x[0]; x[:, 1]; x[m]; x[0, 0] + 1; x % 2; x // 2; 7 % x; divmod(x, 2); +x; -x; abs(x); x ** 2
    m & m; m | m; ~m; m ^ m; x @ y.T; x == y; x < y; f"{s:.3f}"; f"{x}"; float(s); int(s); round(s)
"""
PYTORCH = """
    md.tensor([1.0, 2.0]); md.tensor([1.0], requires_grad=True); md.tensor([1], dtype=np.float32)
    md.Tensor([1.0, 2.0]); md.zeros(2, 3); md.ones(2, 3); md.full((2,), 1.0); md.eye(3)
    md.arange(3); md.linspace; md.randn(2, 3); md.rand(2, 3); md.randint(0, 3, (2,)); md.randperm(3)
    md.manual_seed(0); md.random; md.from_numpy(a); md.as_tensor(a); md.float32; md.int64; md.bool
    md.device("cpu"); md.cuda; md.no_grad(); md.enable_grad(); md.exp(x); md.log(x); md.sin(x)
    md.sqrt(x); md.sum(x); md.mean(x); md.max(x); md.cat([x, y]); md.stack([x, y]); md.matmul(x, y)
    md.mm(x, y); md.bmm(x, y); md.einsum; md.where(m, x, y); md.clamp(x, 0, 1); md.relu(x)
    md.sigmoid(x); md.softmax(x); md.tanh(x); md.abs(x); md.pow(x, 2); md.atan2(x, y)
    md.flatten(x); md.unsqueeze(x, 0); md.squeeze(x); md.permute(x); md.reshape(x, (3, 2))
    md.save; md.load; md.nn; md.optim; md.nn.functional; md.nn.Module; md.nn.Linear(2, 3)
    md.nn.Conv2d; md.nn.ReLU(); md.nn.SiLU(); md.nn.GELU(); md.nn.Tanh(); md.nn.Sigmoid()
    md.nn.Sequential(ops.relu); md.nn.ModuleList; md.nn.Parameter; md.nn.Embedding
    md.nn.BatchNorm2d; md.nn.LayerNorm; md.nn.GroupNorm; md.nn.Dropout(0.1); md.nn.MaxPool2d(2)
    md.nn.AvgPool2d(2); md.nn.Flatten(); md.nn.Identity(); md.nn.Softmax(); md.nn.init
    md.nn.MultiheadAttention; md.nn.CrossEntropyLoss(); md.nn.MSELoss(); md.nn.L1Loss()
    md.nn.BCEWithLogitsLoss(); md.optim.Adam; md.optim.AdamW; md.optim.SGD; md.optim.RMSprop
    md.optim.lr_scheduler; md.utils; md.utils.data; md.DataLoader; md.datasets; md.autograd
    md.grad; md.jit; md.compile; md.vmap; md.func; md.linalg; md.special; md.__version__
    md.float; md.double; md.long; md.half; md.bfloat16; md.pi; md.inf; md.is_tensor(x); md.numel(x)
    md.jacobian; md.hessian; md.numpy; md.elementwise_grad; md.random.randn(3)
    ops.linear; ops.nll_loss; ops.cat; ops.clamp; ops.normalize; ops.scaled_dot_product_attention
    x.view(3, 2); x.view(-1); x.permute(1, 0); x.unsqueeze(0); x.expand(2, 2, 3); x.t()
    x.requires_grad_(); x.requires_grad; x.grad; x.backward; x.detach(); x.cpu(); x.cuda()
    x.numpy(); x.to("cpu"); x.float(); x.double(); x.half(); x.long(); x.int(); x.bool(); x.type
    x.clone(); x.contiguous(); x.numel(); x.dim(); x.mm(y); x.matmul(y); x.add(y); x.sub(y)
    x.mul(y); x.div(y); x.pow(2); x.neg(); x.abs(); x.exp(); x.log(); x.sqrt(); x.sin(); x.tanh()
    x.sigmoid(); x.relu(); x.softmax(-1); x.clamp(0, 1); x.masked_fill(m, 0); x.gather(0, i)
    x.topk(1); x.norm(); x.zero_(); x.fill_(0); x.copy_(y); x.add_(y); x.mul_(2); x.normal_()
    x.is_leaf; x.grad_fn; x.device; x.register_hook; x.retain_grad(); x.sum(dim=1); x.mean(dim=0)
    x.sum(dim=1, keepdim=True); x.max(dim=1); x.var(dim=0); x.std(unbiased=False); x.cumsum(dim=0)
    x.argmax(dim=1); x.all(dim=1); x.cumprod(dim=1); x.squeeze(dim=0); ops.sum(x, dim=1)
    ops.max(x, dim=1); ops.mean(x, dim=0, keepdim=True); ops.softmax(x, dim=-1); ops.flip(x, dim=0)
    ops.argmax(x, dim=0); ops.logsumexp(x, dim=0); x.T; x.chunk(2); x.eq(y); x.gt(0); x.type(float)
"""
GUESSES = [guess.strip() for text in (NUMPY, PYTORCH) for guess in re.split(r";|\n", text)]
GUESSES = [guess for guess in GUESSES if guess]


def names():
    a = np.random.default_rng(0).uniform(0.1, 0.9, (2, 3))
    x = md.Tensor(a, requires_grad=True)
    return {
        "md": md,
        "np": np,
        "ops": ops,
        "a": a,
        "x": x,
        "y": md.Tensor(a + 1.0),
        "m": x > 0.5,
        "i": md.Tensor([[0, 1, 0]]),
        "s": md.Tensor(np.array(0.5), requires_grad=True),
        "q": md.Tensor(np.array([[2.0, 0.3], [0.3, 1.0]]), requires_grad=True),
    }


def test_there_are_enough_of_them():
    assert len(set(GUESSES)) >= 270


@pytest.mark.parametrize("guess", GUESSES)
def test_it_works_or_says_what_to_type(guess):
    try:
        eval(guess, names())
    except (AttributeError, TypeError) as error:
        assert re.search(r"; type |is called|there is no", str(error)), error


@pytest.mark.parametrize(
    ("guess", "sentence"),
    [
        ("md.zeros", r"md has no 'zeros'; type md.Tensor\(np.zeros\(shape, np.float32\)\)"),
        ("md.exp", r"md has no 'exp'; type md.ops.exp"),
        ("md.nn.Linear", r"md.nn has no 'Linear'; type nn.Dense\(inputs, outputs, rng\)"),
        ("x.view", r"Tensor has no 'view'; type x.reshape\(shape\)"),
        ("x.sigmoid", r"Tensor has no 'sigmoid'; type md.ops.sigmoid\(x\)"),
        ("md.something", r"md has no 'something'$"),
    ],
)
def test_the_sentences(guess, sentence):
    with pytest.raises(AttributeError, match=sentence):
        eval(guess, names())


@pytest.mark.parametrize("guess", ["x.sum(dim=1)", "ops.sum(x, dim=1)"])
def test_keywords(guess):
    with pytest.raises(TypeError, match=r"^sum: dim is called axis here$"):
        eval(guess, names())


def test_a_wrong_keyword_that_nobody_guesses_is_an_error_as_before():
    with pytest.raises(TypeError, match="unknown"):
        ops.sum(np.ones(2), axes=0)


def test_what_the_table_names_is_there():
    """No row sends anybody to a name that does not exist, or answers for one that does."""
    spaces = {"md": md, "nn": nn, "ops": ops, "optim": md.optim, "diffusion": md.diffusion}
    classes = {"Tensor": md.Tensor, "Module": nn.Module, "Schedule": md.diffusion.Schedule}
    for place, answers in first_guesses.TABLE.items():
        for name, here in answers.items():
            for path in re.findall(r"\b((?:md|nn|ops|optim|diffusion)(?:\.\w+)+)", here):
                first, *rest = path.split(".")
                value = spaces[first]
                for part in rest:
                    value = getattr(value, part)
            owner = classes.get(place) or spaces[place.split(".")[-1]]
            assert name not in dir(owner), f"{place}.{name} is there"


def test_hidden_names_are_asked_for_quietly():
    assert not hasattr(md.Tensor(1.0), "__array_interface__")
    assert not hasattr(md, "__path_to_nowhere__")


def test_the_page_is_the_table():
    text = PAGE.read_text(encoding="utf-8")
    assert "\n".join(first_guesses.rows()).strip() in text, (
        "write the rows of first_guesses.rows() into docs/coming-from-pytorch.md"
    )
