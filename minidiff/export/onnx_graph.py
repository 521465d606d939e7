"""An ONNX graph that is written node by node.

Values are names. A node's result gets a name of its own; a weight keeps the name that it has in
the model, and a constant is called constant_1, constant_2, …
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from ..nn import Module
from .files import needed

# Everything here can be said in it, and runtimes since 2022 read it. Newer sets have single nodes
# for a group norm (21), for attention (23) and for silu (24).
OPSET = 17
IR_VERSION = 8  # the file format's, as old as the opset


class Graph:
    """Nodes so far, and the arrays that they use."""

    def __init__(self, model: Module, state: Mapping[str, np.ndarray]):
        """`state` has the model's weights as PyTorch lays them out, which is ONNX's way too."""
        self.onnx = needed("onnx", "an .onnx file")
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self._state = state
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node of the operator `kind` with one result, whose name it gives."""
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def split(self, x: str, parts: int, axis: int) -> list[str]:
        """The results of the operator Split."""
        stem = f"split_{len(self.nodes)}"
        outputs = [f"{stem}_{part}" for part in range(parts)]
        self.nodes.append(self.onnx.helper.make_node("Split", [x], outputs, stem, axis=axis))
        return outputs

    def weight(self, parameter: Tensor) -> str:
        name = self._names[id(parameter)]
        self.arrays[name] = self._state[name]
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.arrays)}"
        self.arrays[name] = np.asarray(values, dtype)
        return name

    def sizes(self, *sizes: int) -> str:
        """A shape, as Reshape wants it: 0 is as before, −1 what is left."""
        return self.constant(sizes, np.int64)

    def to_bytes(
        self, inputs: Mapping[str, tuple], output: str, shape: tuple, metadata: Mapping[str, str]
    ) -> bytes:
        """The file. `inputs` has a dtype and a shape by name; `output` is a node's result."""
        helper = self.onnx.helper
        self.nodes.append(helper.make_node("Identity", [output], ["output"], "output"))
        as_type = lambda dtype: helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        graph = helper.make_graph(
            self.nodes,
            "minidiff",
            [
                helper.make_tensor_value_info(name, as_type(dtype), shape)
                for name, (dtype, shape) in inputs.items()
            ],
            [helper.make_tensor_value_info("output", as_type(np.float32), shape)],
            [self.onnx.numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="minidiff",
        )
        helper.set_model_props(model, dict(metadata))
        self.onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()
