"""What hostile arguments are answered with: every public callable names what was wrong.

`good_calls` has one good call of each public name. Here one argument of it after the other is
replaced by what nobody should give, and the error is read.
"""

import ast
import inspect
import re
from collections import Counter
from functools import cache

import pytest
from good_calls import ROOMS, Given
from good_calls.hostile import HOSTILE, calls_in, changed, places, run, subject
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import minidiff as md
from minidiff import diffusion
from minidiff.data import clothes

CALLS = [line for lines in ROOMS.values() for line in lines]
PUBLIC = [
    md,
    md.data,
    md.kernels,
    md.metrics,
    md.models,
    md.nn,
    md.ops,
    md.ops.linalg,
    md.optim,
    md.plot,
    md.storage,
    md.testing,
    md.training,
    diffusion,
    diffusion.distillation,
    diffusion.editing,
    diffusion.exact,
    diffusion.guidance,
    diffusion.likelihood,
    diffusion.losses,
    diffusion.mean_flow,
    diffusion.samplers,
]
"""The modules that the documentation names."""


# --- the public names ---


def is_ours(value, module):
    """Whether a module shows this value, and did not only import it."""
    home = getattr(value, "__module__", None) or ""
    return home.startswith(module.__name__) or isinstance(value, md.Primitive)


def public_callables():
    """(a name to show, the callable) of all that a user may call, methods included."""
    for module in PUBLIC:
        names = getattr(module, "__all__", None)
        for name, value in list(vars(module).items()):
            is_shown = name in names if names else not name.startswith("_")
            if not is_shown or not callable(value) or not (names or is_ours(value, module)):
                continue
            yield f"{module.__name__}.{name}", value
            if isinstance(value, type) and not issubclass(value, md.Primitive):
                yield from public_methods(value)


# What minidiff calls of a tool or an optimiser, and no user does.
HOOKS = {"place", "run", "vjp", "forward", "watched", "update", "state_names"}


def public_methods(cls):
    for name, value in inspect.getmembers(cls):
        home = getattr(value, "__module__", None) or ""
        is_shown = not name.startswith("_") and name not in HOOKS
        if is_shown and callable(value) and home.startswith("minidiff"):
            yield getattr(value, "__qualname__", name), value


def identity(value):
    """What a callable is, whichever object it is bound to."""
    value = getattr(value, "__func__", value)
    return getattr(value, "__wrapped__", value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("messages")


def test_every_public_callable_has_a_good_call(folder):
    called = set()
    for line in CALLS:
        for call in calls_in(line):
            callee = eval(ast.unparse(call.func), {}, Given(folder))
            called.add(identity(callee))
    missing = {name for name, value in public_callables() if identity(value) not in called}
    assert not missing, f"tests/good_calls needs a call of each of these: {missing}"


# --- the walk ---

ALLOWED = TypeError, ValueError, IndexError, FileNotFoundError, RuntimeError
FORBIDDEN = RecursionError, UnicodeError
WISH = re.compile(r"\b(wanted|missing|takes|must|needs)\b")
# A long training is a fair wish, and these two say by an AssertionError what they found.
ENDLESS = {"trainer.fit((points, labels), hostile, validation=(points, labels), progress=False)"}
CHECKERS = {"md.gradcheck", "md.gradgradcheck", "md.testing.check_op"}
OPERATIONS = {name for name, value in vars(md.ops).items() if callable(value)}


@cache
def names_of(line, last, folder):
    """The names that an error may tell: of the callables of a line up to one, and of arguments."""
    names = set()
    for call in calls_in(line)[: last + 1]:
        names.update(keyword.arg for keyword in call.keywords)
        if isinstance(call.func, ast.Attribute):
            names.add(call.func.attr)
        callee = eval(ast.unparse(call.func), {}, Given(folder))
        names.add(getattr(callee, "__name__", type(callee).__name__))
        names.add(type(callee).__name__)
        if isinstance(callee, md.Primitive):
            names.update([callee.name, *callee.operands, *callee.statics])
        else:
            names.update(inspect.signature(callee).parameters)
    return names - {"self", "args", "kwargs", None}


def outcome(line, place, hostile, folder):
    """What a changed call comes to: "accepted", "clear", or what is wrong with its error."""
    code, text = changed(line, place)
    values = Given(folder) | {"hostile": HOSTILE[hostile]()}
    try:
        run(code, values)
    except Exception as error:
        failed = error
    else:
        return "accepted"
    if isinstance(failed, AssertionError) and subject(line) in CHECKERS:
        return "accepted"
    if not isinstance(failed, ALLOWED) or isinstance(failed, FORBIDDEN):
        return f"{text} with {hostile}: {type(failed).__name__}: {failed}"
    words = set(re.findall(r"\w+", str(failed)))
    first = re.match(r"(\w+): ", str(failed))
    is_named = words & names_of(line, place[0], folder) or (first and first[1] in OPERATIONS)
    if is_named and WISH.search(str(failed)):
        return "clear"
    return f"{text} with {hostile}: unclear: {failed}"


CHANGES = [(line, place) for line in CALLS for place in places(line)]


@pytest.fixture
def steady_state(folder, monkeypatch):
    """What a call may change for all: the working folder, the backends, the number of threads."""
    monkeypatch.chdir(folder)
    backends = dict(md.kernels._backends)
    threads = md.get_num_threads()
    nobody = clothes.FASHION_MNIST._replace(
        fetchers=()
    )  # else it is fetched where no folder is given
    monkeypatch.setattr(clothes, "FASHION_MNIST", nobody)
    yield
    md.kernels._backends.clear()
    md.kernels._backends.update(backends)
    md.kernels.forget()
    md.set_num_threads(threads)


def test_errors_name_the_argument_and_say_what_is_wanted(folder, steady_state, capsys):
    outcomes = []

    @settings(max_examples=1000, phases=[Phase.generate])
    @given(st.sampled_from(CHANGES), st.sampled_from(list(HOSTILE)))
    def draw(change, hostile):
        line, place = change
        text = changed(line, place)[1]
        if text not in ENDLESS:
            outcomes.append(outcome(line, place, hostile, folder))

    draw()
    counts = Counter(text if text in ("accepted", "clear") else "wrong" for text in outcomes)
    share = counts["clear"] / (counts["clear"] + counts["wrong"])
    with capsys.disabled():
        print(f"\n{sum(counts.values())} hostile calls: {dict(counts)}; clear {share:.1%}")
    wrong = [text for text in outcomes if text not in ("accepted", "clear")]
    of_wrong_class = [text for text in wrong if ": unclear: " not in text]
    assert not of_wrong_class, "\n".join(of_wrong_class)
    assert share >= 0.95, "\n".join(wrong)
