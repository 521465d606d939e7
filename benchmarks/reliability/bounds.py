"""Do compiled kernels stay within their arrays? Every array ends where a forbidden page begins.

    python benchmarks/reliability/bounds.py              100,000 calls on each of three widths
    python benchmarks/reliability/bounds.py 400          as many as that
    python benchmarks/reliability/bounds.py --lanes 8    on one width

A width that the processor has not is made of narrower vectors by the compiler.

A call is drawn: a kernel of `cpu` or `loops`, shapes, settings, layouts. Each runs twice. First all
arrays that compiled code sees, scratch memory and results too, end at a page that may not be
touched, and fresh memory holds NaN; then they begin after such a page, and it holds 1e30. Whoever
reads or writes one number beyond ends the process, which is counted, and told with what was drawn.
Both must give the same bits, and about what `generic` gives.

Then public operations are called with what does not fit: another shape, dtype or setting somewhere.
They must raise a documented error, or give what the operation gives on `generic`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from calls import DRAWS, Draw, calls, unfitting
from forbidden_pages import Guard, guard_kernels

LANES = (4, 8, 16)
DOCUMENTED = TypeError, ValueError, IndexError, MemoryError


# --- one call of a kernel ---


def compare(guard: Guard, module: Any, name: str, arguments: tuple) -> None:
    """Run it beside both pages; ValueError unless both give the same, and what `generic` gives."""
    from minidiff.kernels import generic

    def run(kernel: Callable) -> list[np.ndarray]:
        own = [a.copy() if name in IN_PLACE and hasattr(a, "copy") else a for a in arguments]
        result = kernel(*own)
        return flat(own if result is None else result)

    guard.at_end = True
    guard.garbage = np.nan
    kernel = module.KERNELS[name]
    first = run(kernel)
    guard.at_end = False
    guard.garbage = np.float32(1e30)
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


# --- one call of a public operation ---


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
            # Where all is equal a norm divides rounding by √eps, 0.003, and sums that cancel are
            # rounding alone.
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2 * largest(arguments, b))


def largest(arguments: list, result: np.ndarray) -> float:
    """The largest number among them, of those that are finite; 1 at least."""
    arrays = [a for a in (*arguments, result) if isinstance(a, np.ndarray)]
    return max(float(np.abs(a[np.isfinite(a)]).max(initial=1)) for a in arrays)


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
            done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
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
    parser.add_argument("calls", type=int, nargs="?", default=100_000, help="on each width")
    parser.add_argument("--lanes", type=int, nargs="+", choices=LANES, default=LANES)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        part, lanes, first, wanted, progress = args.child
        child(part, int(lanes), int(first), int(wanted), Path(progress))
        return 0
    failed = 0
    for part, what, share in (
        ("right", "calls of compiled kernels beside forbidden pages", 1),
        ("wrong", "public operations called with what does not fit", 10),
    ):
        for lanes in args.lanes:
            made, kinds, faults = run(part, lanes, args.calls // share)
            print(*faults, sep="\n", end="\n" * bool(faults))
            failed += len(faults)
            print(
                f"| {what}, {lanes} lanes | {made:,} of {kinds} kinds | {len(faults)} faults |",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
