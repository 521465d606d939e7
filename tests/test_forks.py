"""A fork while another thread computes: in the child that thread is gone, and so is what it did."""

import ast
import os
import select
import signal
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import minidiff as md
from minidiff import ops
from minidiff.autograd.blas import one_thread
from minidiff.optim import average

X = np.random.default_rng(0).standard_normal((300, 64))


def in_a_fork(act):
    """What it gives in a child of this process; None where the child hangs."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, repr(act()).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        ready, _, _ = select.select([pipe], [], [], 20)
        if not ready:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return ast.literal_eval(pipe.read()) if ready else None


def blas_threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def shard_then_count():
    with md.optim.EMA(md.models.LeNet5()).applied():
        md.sharded(lambda x: ops.mean(x))(X)
    return blas_threads()


@contextmanager
def another_thread_in(block):
    """A block, in which another thread is in that one."""
    is_in = threading.Event()
    end = threading.Event()

    def be_in():
        with block:
            is_in.set()
            end.wait()

    thread = threading.Thread(target=be_in)
    thread.start()
    is_in.wait()
    try:
        yield end
    finally:
        end.set()
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_while_another_thread_computes_leaves_nothing_behind():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with another_thread_in(one_thread):
            assert in_a_fork(blas_threads) == before
            assert in_a_fork(shard_then_count) == before
            with one_thread:
                assert set(in_a_fork(blas_threads)) == {1}, "this thread goes on in its block"
        for lock in one_thread.lock, average._APPLYING:
            with another_thread_in(lock) as end:
                threading.Timer(0.1, end.set).start()  # the fork waits for it
                assert in_a_fork(shard_then_count) == before
        assert blas_threads() == before
