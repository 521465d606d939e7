"""Do compiled kernels stay within their arrays? Every array ends where a forbidden page begins.

    python benchmarks/reliability/bounds.py            100,000 calls on each of three widths
    python benchmarks/reliability/bounds.py --quick    a few hundred

A call is drawn: a kernel of `cpu` or `loops`, shapes, settings, layouts. Each runs twice. First all
arrays that compiled code sees, scratch memory and results too, end at a page that may not be
touched, and fresh memory holds NaN; then they begin after such a page, and it holds 1e30. Whoever
reads or writes one number beyond ends the process, which is counted, and told with what was drawn.
Both must give the same bits, and about what `generic` gives.

Then public operations are called with what does not fit: another shape, dtype or setting somewhere.
They must raise a documented error, or give what the operation gives on `generic`.
"""

import argparse
import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

PAGE = mmap.PAGESIZE
LARGEST = 1 << 26  # bytes of one array
DOCUMENTED = TypeError, ValueError, IndexError, MemoryError
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 48)


# --- forbidden pages ---


class Region:
    """Memory between two forbidden pages."""

    def __init__(self, size: int):
        self.memory = mmap.mmap(-1, size + 2 * PAGE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory)) + PAGE
        self.end = self.start + size
        libc = ctypes.CDLL(None, use_errno=True)
        for place in (self.start - PAGE, self.end):
            if libc.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def hold(self, array: np.ndarray, at_end: bool) -> np.ndarray:
        """A copy of the array that ends where the region ends, or begins where it begins."""
        place = self.end - array.nbytes if at_end else self.start
        buffer = (ctypes.c_char * array.nbytes).from_address(place)
        held = np.ndarray(array.shape, array.dtype, buffer)
        held[...] = array
        return held


class Guard:
    """Where arrays lie, and what fresh memory holds."""

    def __init__(self) -> None:
        self.regions: list[Region] = []
        self.at_end = True
        self.garbage = np.nan

    def around(self, function: Callable) -> Callable:
        """Compiled code that sees no arrays but those beside forbidden pages."""

        def run(*arguments: Any) -> None:
            packed = len(arguments) == 1 and isinstance(arguments[0], tuple)
            given = arguments[0] if packed else arguments
            while len(self.regions) < len(given):
                self.regions.append(Region(LARGEST))
            held = [
                region.hold(a, self.at_end) if isinstance(a, np.ndarray) else a
                for region, a in zip(self.regions, given)
            ]
            function(tuple(held)) if packed else function(*held)
            for a, copy in zip(given, held):
                if isinstance(a, np.ndarray):
                    a[...] = copy

        return run

    def fresh(self, empty: Callable) -> Callable:
        """np.empty that does not happen to give zeros."""

        def filled(*arguments: Any, **options: Any) -> np.ndarray:
            array = empty(*arguments, **options)
            if array.dtype.kind == "f":
                array.fill(self.garbage)
            return array

        return filled


def guard_kernels() -> Guard:
    """Put the guard around all that is compiled from now on; before any kernel is looked up."""
    from minidiff.kernels import loops
    from minidiff.kernels.cpu import compiled

    guard = Guard()
    compile_ = compiled.compiled
    compiled.compiled = lambda *arguments, **bound: guard.around(compile_(*arguments, **bound))
    compiled.scratch = lambda size: np.full(size, guard.garbage, np.float32)
    np.empty = guard.fresh(np.empty)
    np.empty_like = guard.fresh(np.empty_like)
    for name, value in list(vars(loops).items()):
        if name.endswith("_loop"):
            setattr(loops, name, guard.around(value))
    return guard


# --- what is drawn ---


class Draw:
    """Random arguments; `hostile` ones may be float64 beside float32, or in another byte order."""

    def __init__(self, *seed: int, hostile: bool = False):
        self.rng = np.random.default_rng(seed)
        self.hostile = hostile

    def one_of(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return self.whole(low, high), self.whole(low, high)

    def floats(self, *shape: int) -> np.ndarray:
        """Normal float32 in some layout."""
        dtype = self.one_of(*[np.float32] * 19, np.float64) if self.hostile else np.float32
        return self.laid_out(np.asarray(self.rng.standard_normal(shape), dtype))

    def ids(self, rows: int, *shape: int) -> np.ndarray:
        return self.laid_out(self.rng.integers(0, rows, shape))

    def laid_out(self, array: np.ndarray) -> np.ndarray:
        kind = self.whole(0, 11) if array.ndim else -1
        if kind == 0:
            return np.asfortranarray(array)
        if kind == 1:
            return np.ascontiguousarray(array[::-1])[::-1]
        if kind == 2:
            spaced = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            spaced[..., ::2] = array
            return spaced[..., ::2]
        if kind == 3:
            array.flags.writeable = False
        if kind == 4:  # not aligned
            raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
            held = raw.view(array.dtype).reshape(array.shape)
            held[...] = array
            return held
        if kind == 5 and self.hostile:
            return array.astype(array.dtype.newbyteorder())
        if kind == 6 and array.size:
            return np.broadcast_to(array.reshape(-1)[0], array.shape)
        return array


def convolution(draw: Draw) -> Iterator[tuple]:
    """(kernel, arguments) of all corners of one convolution."""
    groups = draw.one_of(1, 1, 1, 2, 3, 4, 8)
    inputs = draw.one_of(*CHANNELS) if groups == 1 else draw.one_of(1, 2, 3, 4, 8)
    outputs = draw.one_of(*CHANNELS) if groups == 1 else draw.one_of(1, 2, 3, 4, 8)
    kernel = draw.one_of((1, 1), (3, 3), (3, 3), draw.pair(1, 5))
    stride = draw.one_of((1, 1), (1, 1), (2, 2), draw.pair(1, 3))
    dilation = draw.one_of((1, 1), (1, 1), (1, 1), draw.pair(1, 3))
    padding = draw.one_of((0, 0), (1, 1), draw.pair(0, 4))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    size = [max(1, r - 2 * p) + draw.whole(0, 9) for r, p in zip(reach, padding)]
    x = draw.floats(draw.whole(1, 3), *size, inputs * groups)
    w = draw.floats(*kernel, inputs, outputs * groups)
    b = draw.floats(outputs * groups)
    out = [(n + 2 * p - r) // s + 1 for n, p, r, s in zip(size, padding, reach, stride)]
    g = draw.floats(len(x), *out, outputs * groups)
    settings = stride, padding, dilation, groups
    yield "conv2d", (x, w, *settings)
    yield "conv2d_bias", (x, w, b, *settings)
    yield "conv2d_dx", (g, w, tuple(size), *settings)
    yield "conv2d_dw", (g, x, kernel, *settings)
    yield "conv2d_dw_db", (g, x, kernel, *settings)


def dense(draw: Draw) -> Iterator[tuple]:
    inputs, outputs = draw.one_of(*CHANNELS, 128), draw.one_of(*CHANNELS, 128)
    rows = draw.one_of((draw.whole(1, 9),), (2, draw.whole(1, 300)), (draw.whole(1, 3000),))
    x = draw.floats(*rows, inputs)
    yield "dense", (x, draw.floats(inputs, outputs), draw.floats(outputs))
    yield "dense_dw_db", (draw.floats(*rows, outputs), x)


def conditioned_dense(draw: Draw) -> Iterator[tuple]:
    batch, inputs, dim = (draw.whole(1, 40) for _ in range(3))
    out, rows = draw.one_of(*CHANNELS), draw.whole(1, 5)
    x, e = draw.floats(batch, inputs), draw.floats(batch, dim)
    w, v = draw.floats(inputs, out), draw.floats(dim, out)
    b, c, table = draw.floats(out), draw.floats(out), draw.floats(rows, out)
    ids = draw.ids(rows, batch)
    yield "conditioned_dense", (x, w, b, e, v, c, table, ids)
    g, z = draw.floats(batch, out), np.array(draw.floats(batch, out), order="C")
    yield "conditioned_dense_grads", (g, x, w, e, v, z, ids, rows, [True] * 8)


def norm(draw: Draw) -> Iterator[tuple]:
    groups = draw.one_of(1, 2, 4, 8)
    shape = [draw.whole(1, 3), *draw.one_of((), (5,), draw.pair(1, 9))]
    channels = groups * draw.whole(1, 9)
    x, g = draw.floats(*shape, channels), draw.floats(*shape, channels)
    weight, bias = draw.floats(channels), draw.floats(channels)
    scale = draw.one_of(None, draw.floats(len(x), channels))
    shift = draw.one_of(None, draw.floats(len(x), channels))
    skip = draw.one_of(None, draw.floats(*x.shape))
    yield "group_norm_silu", (x, weight, bias, scale, shift, skip, groups, 1e-5)
    aux = tuple(np.abs(draw.floats(len(x), 1, groups, 1)) for _ in range(2))
    yield "group_norm_silu_grads", (g, x, weight, bias, scale, shift, aux, groups)


def attention(draw: Draw) -> Iterator[tuple]:
    heads, depth = draw.whole(1, 4), draw.whole(1, 20)
    shape = draw.whole(1, 3), draw.whole(1, 40)
    yield "self_attention", (draw.floats(*shape, 3 * heads * depth), heads)


def pointwise(draw: Draw) -> Iterator[tuple]:
    shape = [draw.whole(1, 9) for _ in range(draw.whole(0, 4))]
    x, g = draw.floats(*shape), draw.floats(*shape)
    yield "silu", (x,)
    yield "silu_dx", (g, x)
    yield "gelu", (x, "none")
    yield "gelu_dx", (g, x, "none")
    yield "blend", (x, g, 0.5, -2.0)
    if shape:
        column = draw.rng.standard_normal((shape[0], *[1] * (len(shape) - 1)))
        yield "blend", (x, g, column, 1 - column)
    state = [np.abs(draw.floats(*shape)) for _ in range(4)]
    yield "adam", (*state, 1e-3, 0.9, 0.999, 1e-8, 0.01, draw.whole(1, 9))
    yield "ema", (*state[:2], 0.9)


def embedding(draw: Draw) -> Iterator[tuple]:
    rows, columns = draw.whole(1, 9), draw.one_of(*CHANNELS)
    shape = [draw.whole(1, 9) for _ in range(draw.whole(1, 2))]
    ids = draw.ids(rows, *shape)
    yield "embedding", (draw.floats(rows, columns), ids)
    yield "embedding_dtable", (draw.floats(*shape, columns), ids, rows)


DRAWS = [convolution, dense, conditioned_dense, norm, attention, pointwise, embedding]


# --- one call ---


def compare(guard: Guard, module: Any, name: str, arguments: tuple) -> None:
    """Run it beside both pages; ValueError unless both give the same, and what `generic` gives."""
    from minidiff.kernels import generic

    def run(kernel: Callable) -> list[np.ndarray]:
        own = [a.copy() if name in IN_PLACE and hasattr(a, "copy") else a for a in arguments]
        result = kernel(*own)
        return flat(own if result is None else result)

    guard.at_end, guard.garbage = True, np.nan
    kernel = module.KERNELS[name]
    first = run(kernel)
    guard.at_end, guard.garbage = False, np.float32(1e30)
    second = run(kernel)
    for a, b in zip(first, second, strict=True):
        if a.tobytes() != b.tobytes():
            raise ValueError("what it gives depends on what memory held before")
    if name != "self_attention":  # its probabilities have a layout of their own
        for a, b in zip(first, run(getattr(generic, name)), strict=True):
            np.testing.assert_allclose(
                a, b, rtol=1e-3, atol=1e-3 * max(1, np.abs(b).max(initial=0))
            )
        return
    y, p = kernel(*arguments)
    g = np.cos(np.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    wanted, probabilities = generic.self_attention(*arguments)
    np.testing.assert_allclose(y, wanted, rtol=1e-3, atol=1e-3)
    dqkv = module.KERNELS["self_attention_dqkv"](g, arguments[0], p, arguments[1])
    wanted = generic.self_attention_dqkv(g, arguments[0], probabilities, arguments[1])
    np.testing.assert_allclose(dqkv, wanted, rtol=1e-3, atol=1e-3)


IN_PLACE = {"adam", "ema"}


def flat(result: Any) -> list[np.ndarray]:
    """The arrays in it."""
    if isinstance(result, list | tuple):
        return [array for part in result for array in flat(part)]
    return [np.asarray(result)] if isinstance(result, np.ndarray | np.generic) else []


def described(arguments: Any) -> str:
    parts = []
    for a in arguments:
        if isinstance(a, np.ndarray):
            parts.append(f"{a.dtype.str} {a.shape} strides {a.strides}")
        else:
            parts.append(described(a) if isinstance(a, tuple) else repr(a))
    return f"({', '.join(parts)})"


# --- public operations, called with what does not fit ---


def calls(draw: Draw) -> Iterator[tuple[str, list]]:
    """(public operation, arguments that fit it)"""
    for name, arguments in convolution(draw):
        if name != "conv2d_dw_db":
            yield name.removesuffix("_bias"), list(arguments)
            yield name.removesuffix("_bias"), list(arguments)
    x, w = draw.floats(2, draw.whole(1, 6), 5, 4), draw.floats(3, 2, 8, 4)
    yield "conv_transpose2d", [x, w, draw.floats(8), draw.whole(1, 3), 0, 0, 1, 1]
    for kind in dense, conditioned_dense, attention:
        name, arguments = next(kind(draw))
        yield name, list(arguments)
    for name, arguments in embedding(draw):
        yield name, list(arguments)
    _, (x, weight, bias, scale, shift, skip, groups, _) = next(norm(draw))
    yield "group_norm_silu", [x, groups, weight, bias, scale, shift, skip]
    yield "group_norm", [x, groups, weight, bias]
    image = draw.floats(2, 6, 6, draw.one_of(1, 3, 8))
    yield "max_pool2d", [image, 2, 2]
    yield "max_pool2d_dx", [image[:, ::2, ::2], draw.ids(4, 2, 3, 3, image.shape[3]), (6, 6), 2, 2]
    yield "windows", [image, (2, 2), (2, 2)]
    yield "upsample_nearest_dx", [image, 2]
    yield "silu", [image]
    yield "gelu", [image]
    yield "cross_entropy", [draw.floats(5, 4), draw.ids(4, 5)]
    yield "mse_loss", [image, draw.floats(*image.shape)]


def unfitting(draw: Draw, value: Any) -> Any:
    """Something else in its place."""
    if not isinstance(value, np.ndarray):
        numbers = 0, -1, 1, 2, 3, 5, 7, True, None, 1 << 40, 2.0, "same"
        return draw.one_of(*numbers, (0, 0), (1, 0), (2, 1), (-1, -1), (1, 2, 3), (9, 9))
    axis = draw.whole(0, max(0, value.ndim - 1))
    kind = draw.whole(0, 9)
    if kind == 0:
        return draw.one_of(*value) if len(value) else value  # one axis less
    if kind == 1:
        return value[None]
    if kind == 2:
        return value.T
    if kind == 3:
        return value.astype(draw.one_of(np.float64, np.int64, np.int8, np.uint64, np.bool_))
    if kind == 4:
        return np.delete(value, 0, axis)
    if kind == 5:
        return np.concatenate([value, value], axis)
    if kind == 6:
        return np.take(value, [], axis)
    if kind == 7:
        return draw.rng.permutation(np.repeat(value, 2, axis), axis)[..., :1]
    if kind == 8:
        return np.broadcast_to(value.reshape(-1)[0], value.shape) if value.size else value
    return value - 9 if value.dtype.kind == "i" else value * 1e9


def outcome(kernels: str, name: str, arguments: list) -> Any:
    """The arrays that an operation and its derivatives give with a set of kernels, or its error."""
    import minidiff as md
    from minidiff.kernels import forget

    os.environ["MINIDIFF_KERNELS"] = kernels
    forget()

    def leaf(a: Any) -> Any:
        is_float = isinstance(a, np.ndarray) and a.dtype.kind == "f"
        return md.Tensor(a, requires_grad=True) if is_float else a

    try:
        operands = [leaf(a) for a in arguments]
        out = getattr(md.ops, name)(*operands)
        if isinstance(out, md.Tensor) and out.requires_grad:
            out.backward(np.ones(out.shape, out.dtype))
        grads = [a.grad for a in operands if isinstance(a, md.Tensor)]
        out = out.data if isinstance(out, md.Tensor) else np.asarray(out)
        return [out, *(g for g in grads if g is not None)]
    except Exception as error:
        return error


def call_wrongly(guard: Guard, name: str, arguments: list) -> None:
    """ValueError unless the operation raises a documented error, or gives what `generic` does."""
    wanted = outcome("generic", name, arguments)
    for kernels in "vector", "loops":
        guard.at_end = not guard.at_end
        found = outcome(kernels, name, arguments)
        if isinstance(found, Exception):
            if not isinstance(found, DOCUMENTED):
                raise ValueError(f"on {kernels}: {found!r}")
            continue
        if isinstance(wanted, Exception):
            raise ValueError(f"on {kernels} it gives what generic refuses: {wanted!r}")
        for a, b in zip(found, wanted, strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise ValueError(
                    f"on {kernels}: {a.dtype} {a.shape}, on generic {b.dtype} {b.shape}"
                )
            largest = np.abs(b[np.isfinite(b)]).max(initial=1) if b.dtype.kind == "f" else 1
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * largest)


# --- many calls ---


def drawn(part: str, k: int, lanes: int) -> Iterator[tuple[str, Any, str, Any]]:
    """The calls of draw k: (set of kernels, its module, kernel or operation, arguments)."""
    from minidiff.kernels import cpu, loops

    draw = Draw(k, lanes, hostile=part == "wrong")
    if part == "wrong":
        for name, arguments in calls(draw):
            for _ in range(draw.whole(0, 2)):
                place = draw.whole(0, len(arguments) - 1)
                arguments[place] = unfitting(draw, arguments[place])
            yield "ops", None, name, arguments
        return
    for name, arguments in DRAWS[k % len(DRAWS)](draw):
        for title, module in {"cpu": cpu, "loops": loops}.items():
            if name in module.KERNELS:
                yield title, module, name, arguments


def child(part: str, lanes: int, first: int, wanted: int, progress: Path) -> None:
    """Make calls from draw `first` on, until there were `wanted`; note each before it is made."""
    import minidiff  # noqa: F401

    guard = guard_kernels()
    from minidiff.kernels.cpu import vector

    vector.set_lanes(lanes)
    counts: Counter = Counter()
    k = first
    np.seterr(all="ignore")
    with progress.open("r+b", buffering=0) as file:
        while counts.total() < wanted:
            for title, module, name, arguments in drawn(part, k, lanes):
                label = f"{title}.{name}{described(arguments)}"
                file.seek(0)
                file.write(f"{k} {counts.total()} {label}\n".encode().ljust(2000)[:2000])
                counts[f"{title}.{name}"] += 1
                try:
                    if part == "wrong":
                        call_wrongly(guard, name, arguments)
                    else:
                        compare(guard, module, name, arguments)
                except (ValueError, AssertionError) as error:
                    text = " ".join(str(error).split())[:300]
                    print(f"draw {k}, {lanes} lanes: {label}: {text}", flush=True)
            k += 1
    print(f"# {counts.total()} {len(counts)}")


def run(part: str, lanes: int, wanted: int) -> tuple[int, int, list[str]]:
    """(calls, different kernels, faults): in a process that is started anew where it dies."""
    faults: list[str] = []
    made = 0
    kinds = 0
    first = 0
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder) / "progress"
        progress.write_bytes(b"")
        while made < wanted:
            command = [sys.executable, __file__, "--child", part, str(lanes), str(first)]
            command += [str(wanted - made), str(progress)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = done.stdout.splitlines()
            faults += [line for line in lines if not line.startswith("# ")]
            if done.returncode == 0:
                _, count, kinds_here = lines[-1].split()
                kinds = max(kinds, int(kinds_here))
                made += int(count)
                continue
            reached = progress.read_bytes().decode().rstrip()
            if done.returncode > 0 or not reached:
                raise SystemExit(f"{command}: {done.stderr}")
            k, count, label = reached.split(" ", 2)
            faults.append(f"draw {k}, {lanes} lanes: {label}: ended by signal {-done.returncode}")
            made += int(count) + 1
            first = int(k) + 1
    return made, kinds, faults


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few hundred calls")
    parser.add_argument("--calls", type=int, help="how many on each width")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        part, lanes, first, wanted, progress = args.child
        child(part, int(lanes), int(first), int(wanted), Path(progress))
        return 0
    count = args.calls or (400 if args.quick else 100_000)
    failed = 0
    for part, what, share in (
        ("right", "calls of compiled kernels beside forbidden pages", 1),
        ("wrong", "public operations called with what does not fit", 10),
    ):
        for lanes in (4, 8, 16):
            made, kinds, faults = run(part, lanes, count // share)
            print(*faults, sep="\n", end="\n" * bool(faults))
            failed += len(faults)
            print(f"| {what}, {lanes} lanes | {made:,} of {kinds} kinds | {len(faults)} faults |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
