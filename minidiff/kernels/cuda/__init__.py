"""The device's kernels: those of `generic` that a network spends its time in, for CuPy's arrays.

A device takes 5 to 10 µs to be given any task, however small, and most layers here are small. So
what counts is how few launches a step has: a kernel of `generic`, in which each operation of the
array library is one, is a launch or a few here. All of it is text that CuPy compiles when it is
first needed; no compiler has to be installed. What is not here runs by `generic`.

In which order to read, and what is there:

    pointwise     a line for one element: activations, the loss, Adam
    source        CUDA C++ becomes a kernel; sums over a block, columns, everything
    norm          group norm and all that follows it, in one launch
    attention     softmax; self-attention
    convolution   im2col, one product, col2im
    layers        dense, embedding, and the MLP's conditioned layer
    tables        one launch for all parameters: gradients in a row, clipping, averages
"""

from ..by_module import ByModule

KERNELS = ByModule(
    __name__,
    {
        "attention": "softmax log_softmax self_attention self_attention_dqkv",
        "convolution": "conv2d conv2d_bias conv2d_dx conv2d_dw conv2d_dw_db",
        "layers": "matmul dense dense_dx dense_dw_db embedding_dtable "
        "conditioned_dense conditioned_dense_grads",
        "norm": "group_norm group_norm_grads group_norm_silu group_norm_silu_grads",
        "pointwise": "sigmoid softplus silu silu_dx gelu gelu_dx erf erfc blend "
        "upsample_nearest mse_loss mse_loss_dx adam ema",
        "tables": "flattened clip_norm ema_all",
    },
)
