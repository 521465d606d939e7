"""The CPU's kernels: the heavy ones of `generic`, on register tiles and vectors, compiled by Numba.

A kernel takes any NumPy arrays and gives what `generic`'s kernel of that name gives. Where its fast
way does not apply (float64, no elements), it calls `generic` itself. Kernels are sequential and
release the GIL, so several threads may run them at once. Numba is imported with the first kernel
that is looked up.

In which order to read, and what is there:

    interpreter      the steps that vector bodies are written in: what each means, in NumPy
    emitter          the same steps as LLVM instructions
    vector           a body becomes a function of compiled code; how wide vectors are
    views, plans     arrays with axes, and sizes with names, inside a body
    compiled         a body becomes a kernel, cached on disk; scratch memory
    functions        eˣ, sigmoid and swish of a vector
    sweeps           loops along memory: copies, formulas, sums
    pointwise, embedding, mlp_layer, norm, norm_tangent, attention       the first kernels
    tiles            register tiles: the innermost loops of all products
    convolution      the ways that a convolution may go, in one table: the first that fits
    borders, correlate, direct, weight_gradient            the direct way
    runs, transforms, winograd                             a quarter of the products
    rare/            ways for layers that no network here has; skip them
    counters, malloc                                       what ran; memory that is kept
"""

from ..by_module import ByModule
from .malloc import keep_freed_memory

KERNELS = ByModule(
    __name__,
    {
        "convolution": "conv2d conv2d_bias conv2d_dx conv2d_dw conv2d_dw_db dense dense_dw_db",
        "pointwise": "silu silu_dx gelu gelu_dx blend adam ema",
        "attention": "self_attention self_attention_dqkv self_attention_tangent",
        "norm": "group_norm_silu group_norm_silu_grads",
        "norm_tangent": "group_norm_silu_tangent",
        "mlp_layer": "conditioned_dense conditioned_dense_grads",
        "embedding": "embedding embedding_dtable",
    },
)
keep_freed_memory()
