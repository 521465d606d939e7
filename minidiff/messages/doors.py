"""The doors of the rooms: what leaves one as an error names the argument and says what is wanted.

A function of a room calls NumPy, and NumPy knows nothing of it: «'list' object has no attribute
'shape'». So the room's names stand behind doors. A door lets a call through and does nothing; when
the call has failed it looks for the argument that is not of its kind (`kinds`), and says so. What
already reads «name: given A, wanted B» goes through untouched, and so does every error from a
function that the caller gave.
"""

import errno
import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import first_guesses
from .kinds import ANYTHING, Kind, kind_of
from .makers import Made, MadeFunction, makes_function

# What minidiff itself calls: an error that comes out of these is an answer to arguments.
_CALLED = {"minidiff", "numpy", "numba", "llvmlite", "cupy", "threadpoolctl", "safetensors"}
_CALLED |= {"matplotlib", "contourpy", "PIL", "requests", "urllib3", "pooch", "tqdm", "hypothesis"}
_WITHIN = _CALLED | sys.stdlib_module_names
# An error keeps its class if it is one of these: the more special ones first.
_ALLOWED = (
    np.exceptions.AxisError,
    np.linalg.LinAlgError,
    FileNotFoundError,
    IndexError,
    TypeError,
    ValueError,
)
_LONGEST = 60
# Where other libraries have other words for the arguments.
_DIFFUSION = f"{__name__.partition('.')[0]}.diffusion"


def explained(
    name: str, error: Exception, arguments: dict[str, Any], kinds: dict[str, Kind]
) -> Exception:
    """The error of a call of `name` in the form «name: given A, wanted B»; itself if it has it."""
    answer = _explained(name, error, arguments, kinds)
    answer.sentence = str(answer).removeprefix(f"{name}: ")  # type: ignore[attr-defined]
    if answer is not error:
        for note in getattr(error, "__notes__", []):
            answer.add_note(note)
    return answer


def _explained(
    name: str, error: Exception, arguments: dict[str, Any], kinds: dict[str, Kind]
) -> Exception:
    # without the name of another door that it came through: the outermost is what the user called
    text = getattr(error, "sentence", str(error)).removeprefix(f"{name}: ")
    if not _is_own(error) or isinstance(error, _Untouched) or _is_of_the_system(error):
        return error
    is_whole = text == str(error)  # else the argument is another call's, perhaps of the same name
    first = re.match(r"[\w.*, ]+" if is_whole else r"[\w.*, ]+(?=: )", text)
    speaks = "wanted" in text and isinstance(error, (*_ALLOWED, RuntimeError))
    subjects = set(first[0].replace(",", " ").split()) if first else set()
    wrong = _wrong_kind(name, arguments, kinds)
    if speaks and subjects & {*arguments, *kinds} and (is_whole or not wrong):
        return error if is_whole else type(error)(text)
    of_the_run = isinstance(error, RuntimeError) and not isinstance(error, RecursionError)
    if speaks and "type " in text and not of_the_run:
        # it knows more than the kinds: what to write instead
        return _of_class(error, ValueError)(f"{name}: {text}")
    if wrong:
        return _of_class(error, TypeError)(wrong)
    if of_the_run:
        return error
    if speaks:
        sentence = f"{name}: {text}"
        return error if sentence == str(error) else _of_class(error, ValueError)(sentence)
    given = ", ".join(f"{argument}={shown(value)}" for argument, value in arguments.items())
    sentence = f"{name}: {text or type(error).__name__}; given {given}, wanted {_call(name, kinds)}"
    return _of_class(error, ValueError)(sentence)


# These say something of the computation, and not of how it was called.
_Untouched = (Warning, FloatingPointError, AssertionError, ImportError)
_OF_A_PATH = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}
_OF_A_PATH |= {errno.ENAMETOOLONG, errno.EINVAL, errno.EBADF}


def _is_of_the_system(error: Exception) -> bool:
    """Whether a disk is full, broken or closed, or too many files are open: no other path helps."""
    if not isinstance(error, OSError) or error.errno is None:
        return False
    return error.errno not in _OF_A_PATH


def _wrong_kind(name: str, arguments: dict[str, Any], kinds: dict[str, Kind]) -> str:
    """The sentence on the first argument that is not of its kind; "" if all are."""
    for argument, value in arguments.items():
        kind = kinds.get(argument, ANYTHING)
        if not kind.fits(value):
            return f"{name}: {argument}: given {shown(value)}, wanted {kind.text}"
    return ""


def _is_own(error: Exception) -> bool:
    """Whether minidiff raised it, or what that calls, and not a function that was given."""
    traceback = error.__traceback__
    while traceback is not None:
        if not _is_within(traceback.tb_frame.f_globals):
            return False
        traceback = traceback.tb_next
    return True


def _is_within(namespace: dict) -> bool:
    """Whether code with these globals belongs to minidiff, or to what that calls."""
    return namespace.get("__name__", "").partition(".")[0] in _WITHIN


def _of_class(error: Exception, otherwise: type[Exception]) -> type[Exception]:
    return next((allowed for allowed in _ALLOWED if isinstance(error, allowed)), otherwise)


def shown(value: Any) -> str:
    """A value in an error: an array as "float32 (2, 3)", all else as it is written, if short."""
    if hasattr(value, "dtype") and isinstance(getattr(value, "shape", None), tuple):
        return f"{value.dtype} {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{type(value).__name__} {text[:_LONGEST]}…"


def _call(name: str, kinds: dict[str, Kind]) -> str:
    """How it is called: "sum(x: an array of numbers, axis: an integer or None)"."""
    parts = [f"{a}: {kind.text}" if kind.text else a for a, kind in kinds.items()]
    return f"{name}({', '.join(parts)})"


# --- doors ---


def door(function: Callable, called: str | None = None) -> Callable:
    """The function, whose errors are explained; a call that succeeds costs 0.1 µs more.

    What is handed out and runs later, a function, a generator or a new object, is explained too:
    so a maker's arguments are looked at before it is handed out, when it can still be said who gave
    them. What only their names suggest refuses nothing: the call has succeeded.
    """
    if hasattr(function, "is_door"):
        return function
    called = called or function.__name__
    if not _makes_something(function):

        @functools.wraps(function)
        def public(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                failed = error
            raise of_call(function, called, failed, args, kwargs) from failed

    else:

        @functools.wraps(function)
        def public(*args: Any, **kwargs: Any) -> Any:
            try:
                made = function(*args, **kwargs)
            except Exception as error:
                failed = error
            else:
                arguments, kinds = _bound(function, args, kwargs)
                stated = {name: kind for name, kind in kinds.items() if not kind.is_guess}
                wrong = _wrong_kind(called, arguments, stated)
                if wrong:
                    raise TypeError(wrong)
                if isinstance(made, types.GeneratorType):
                    return _explained_steps(made, function, called, args, kwargs)
                if isinstance(made, types.FunctionType) and _is_within(made.__globals__):
                    made = MadeFunction(door(made, called))
                if isinstance(made, Made):
                    made._made_by(public, args, kwargs)
                return made
            raise of_call(function, called, failed, args, kwargs) from failed

    public.is_door = True  # type: ignore[attr-defined]
    return public


def _makes_something(function: Callable) -> bool:
    """Whether it makes an object, a function, or a generator."""
    gives = function.__annotations__.get("return", Callable)
    origin = typing.get_origin(gives) or gives
    is_later = origin is Iterator or "return" not in function.__annotations__
    return function.__name__ == "__init__" or is_later or makes_function(function)


def _explained_steps(
    steps: types.GeneratorType, function: Callable, called: str, args: tuple, kwargs: dict
) -> Iterator:
    """What a generator gives, its errors explained."""
    try:
        yield from steps
    except Exception as error:
        failed = error
    else:
        return
    raise of_call(function, called, failed, args, kwargs) from failed


def of_call(
    function: Callable, called: str, error: Exception, args: tuple, kwargs: dict
) -> Exception:
    """The explained error of a call of a function."""
    try:
        arguments, kinds = _bound(function, args, kwargs)
    except TypeError:
        if not _is_own(error):
            return error
        signature, described = _described(function)
        sentence = f"{called}: {error}; wanted {_call(called, described)}"
        if function.__module__.startswith(_DIFFUSION):
            others = [name for name in kwargs if name not in signature.parameters]
            is_mean_flow = function.__module__.endswith(".mean_flow")
            words = first_guesses.FEW_PASSES if is_mean_flow else first_guesses.SAMPLING
            other_word = first_guesses.misnamed(called, others, words)
            sentence += f"; {other_word}" if other_word else ""
        return TypeError(sentence)
    return explained(called, error, arguments, kinds)


def _bound(function: Callable, args: tuple, kwargs: dict) -> tuple[dict[str, Any], dict[str, Kind]]:
    """The arguments of a call by name, each of those after a `*` or `**` too, and their kinds."""
    signature, kinds = _described(function)
    given = signature.bind(*args, **kwargs).arguments
    arguments: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if name not in given or name in ("self", "cls"):
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments |= given[name]
        elif parameter.kind is parameter.VAR_POSITIONAL:
            for i, value in enumerate(given[name]):
                arguments[f"{name}[{i}]"] = value
                kinds = kinds | {f"{name}[{i}]": kinds[name]}
        else:
            arguments[name] = given[name]
    return arguments, kinds


_descriptions: WeakKeyDictionary[Callable, tuple] = WeakKeyDictionary()


def _described(function: Callable) -> tuple[inspect.Signature, dict[str, Kind]]:
    """A function's signature, and what each of its arguments may be; worked out once."""
    if function not in _descriptions:
        signature = inspect.signature(function)
        try:
            annotations = typing.get_type_hints(function, include_extras=True)
        except (NameError, TypeError):
            annotations = {}
        kinds = {
            name: kind_of(name, annotations.get(name, Any), parameter.default)
            for name, parameter in signature.parameters.items()
            if name not in ("self", "cls")
        }
        _descriptions[function] = signature, kinds
    return _descriptions[function]


_doors: dict[Callable, Callable] = {}


def open_doors(room: types.ModuleType, but: Collection[str] = ()) -> None:
    """Put what a room shows, its functions and the methods of its classes, behind doors.

    `but` are names that stay as they are: what runs so often that a door would be felt.
    """
    namespace = vars(room)
    shown_names = namespace.get("__all__") or [
        name
        for name, value in namespace.items()
        if not name.startswith("_") and _home(value).startswith(room.__name__)
    ]
    for name in shown_names:
        value = namespace[name]
        if name in but:
            continue
        if isinstance(value, types.FunctionType):
            if value not in _doors and not hasattr(value, "is_door"):
                _doors[value] = door(value)
                _doors[value].__module__ = room.__name__  # where pickle finds it
            namespace[name] = _doors.get(value, value)
        elif isinstance(value, type):
            open_class(value, but)


def _home(value: Any) -> str:
    return getattr(value, "__module__", None) or ""


def open_class(cls: type, but: Collection[str] = ()) -> None:
    """Put the public methods of a class behind doors, and how it is made and called."""
    for base in cls.__mro__:
        if _home(base).startswith("minidiff"):
            _open_methods(base, but)


def _open_methods(cls: type, but: Collection[str]) -> None:
    for name, value in list(vars(cls).items()):
        if name in but or (name.startswith("_") and name not in ("__init__", "__call__")):
            continue
        if isinstance(value, types.FunctionType):
            setattr(cls, name, door(value, cls.__name__ if name.startswith("__") else name))
        elif isinstance(value, classmethod):
            setattr(cls, name, classmethod(door(value.__func__, name)))
