"""What nobody should give, and a good call with one of its arguments replaced by it."""

import ast
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import islice

import numpy as np

import minidiff as md


def ragged():
    return [[1.0, 2.0], [3.0]]


def no_arguments():
    return 1.0


def many_arguments(a, b, c, d, e, f, g):
    return a


HOSTILE = {
    "None": lambda: None,
    "a string": lambda: "hostile",
    "digits": lambda: "3",
    "bytes": lambda: b"hostile",
    "an empty string": lambda: "",
    "a dict": lambda: {"a": 1},
    "an empty dict": dict,
    "a list": lambda: [1.0, 2.0],
    "an empty list": list,
    "nested lists": lambda: [[[1, 2], [3, 4]]],
    "ragged lists": ragged,
    "a list of strings": lambda: ["a", "b"],
    "a list of None": lambda: [None, None],
    "a set": lambda: {1, 2},
    "a tuple": lambda: (1, 2, 3, 4, 5),
    "an object": object,
    "an object array": lambda: np.array([None, "a"], dtype=object),
    "a string array": lambda: np.array(["a", "b"]),
    "a complex": lambda: 1 + 2j,
    "a complex array": lambda: np.ones((4, 3), complex),
    "True": lambda: True,
    "NaN": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: float("-inf"),
    "a huge int": lambda: 10**30,
    "a large int": lambda: 10**12,
    "-1": lambda: -1,
    "-10": lambda: -10,
    "0": lambda: 0,
    "7": lambda: 7,
    "a float": lambda: 1.5,
    "an empty array": lambda: np.zeros((0, 3), np.float32),
    "a 0-d array": lambda: np.array(1.0, np.float32),
    "seven axes": lambda: np.ones((1,) * 7, np.float32),
    "float16": lambda: np.ones((4, 3), np.float16),
    "float64": lambda: np.ones((4, 3)),
    "int8": lambda: np.ones((4, 3), np.int8),
    "NaNs": lambda: np.full((4, 3), np.nan, np.float32),
    "another length": lambda: np.ones((5, 7), np.float32),
    "one axis": lambda: np.ones(11, np.float32),
    "a Tensor": lambda: md.Tensor(np.ones((4, 3)), requires_grad=True),
    "a datetime": lambda: np.datetime64("2026-01-01"),
    "a slice": lambda: slice(0, 2),
    "Ellipsis": lambda: ...,
    "a class": lambda: int,
    "a module": lambda: np,
    "a function of none": lambda: no_arguments,
    "a function of seven": lambda: many_arguments,
    "a generator": lambda: (i for i in range(2)),
}
EXTRA = ("one too many", "one too few", "an unknown keyword")


def lines(table):
    """The calls of a table; a line that is indented goes on with the one before."""
    return table.strip().replace("\n    ", " ").splitlines()


def calls_in(line):
    """The calls of a line that are its subject: the last one, and those that made its callee."""
    node = ast.parse(line, mode="eval").body
    found = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call):
            found.append(node)
            node = node.func
        else:
            node = node.value
    return found[::-1]


def subject(line):
    """The source of the first callable of a line."""
    return ast.unparse(calls_in(line)[0].func)


@cache
def places(line):
    """(index of the call, index of the argument or one of EXTRA) for each change of the line."""
    found = []
    for i, call in enumerate(calls_in(line)):
        found += [(i, j) for j in range(len(call.args) + len(call.keywords))]
        found += [(i, extra) for extra in EXTRA if extra != EXTRA[1] or call.args]
    return found


@cache
def changed(line, place):
    """The line's code with the argument at a place replaced by the name `hostile`."""
    i, which = place
    tree = ast.parse(line, mode="eval")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    wanted = ast.unparse(calls_in(line)[i])
    call = next(node for node in calls if ast.unparse(node) == wanted)
    hostile = ast.Name("hostile", ast.Load())
    if which == EXTRA[0]:
        call.args.append(hostile)
    elif which == EXTRA[1]:
        call.args.pop()
    elif which == EXTRA[2]:
        call.keywords.append(ast.keyword("hostile", hostile))
    elif which < len(call.args):
        call.args[which] = hostile
    else:
        call.keywords[which - len(call.args)].value = hostile
    ast.fix_missing_locations(tree)
    return compile(tree, line, "eval"), ast.unparse(tree)


def run(code, given):
    """Evaluate, and take the first things out of what is lazy; warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, for NaN and infinity
        warnings.simplefilter("ignore", UserWarning)  # Matplotlib's, for titles of no text
        out = eval(code, {}, given)
        if isinstance(out, Iterator):
            list(islice(out, 2))
    return out
