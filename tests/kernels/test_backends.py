"""Which kernel an array gets: by its own type, then by those it derives from; and anew when a backend is registered."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minidiff import kernels, ops


class Marked(np.ndarray):
    """An array with a backend of its own, though its type derives from NumPy's."""


@pytest.fixture
def marked(monkeypatch):
    """A function that registers Marked arrays with an `exp` that gives a certain number; they are forgotten after."""

    def register(answer):
        table = {"exp": lambda x: np.full_like(x, answer)}
        monkeypatch.setitem(sys.modules, "marked_kernels", SimpleNamespace(KERNELS=table))
        kernels.register(kernels.Backend(Marked, "marked", np, "marked_kernels"))
        return np.zeros(2).view(Marked)

    yield register
    del kernels._backends[Marked]
    kernels.forget()


def test_an_array_of_a_derived_type_gets_its_own_kernels(marked):
    x = marked(5.0)
    assert kernels.backend_of(x).device == "marked"
    np.testing.assert_array_equal(ops.exp(x), [5, 5])
    np.testing.assert_array_equal(ops.exp(np.zeros(2)), [1, 1])


def test_a_backend_registered_again_is_asked_again(marked):
    np.testing.assert_array_equal(ops.exp(marked(5.0)), [5, 5])
    np.testing.assert_array_equal(ops.exp(marked(6.0)), [6, 6])


def test_an_array_of_a_type_that_nobody_registered_is_one_of_those_it_derives_from():
    class Plain(np.ndarray):
        pass

    assert kernels.backend_of(np.zeros(2).view(Plain)).device == "cpu"
    with pytest.raises(TypeError, match=r"expected an array of one of the types numpy\.ndarray"):
        kernels.backend_of("no array")
