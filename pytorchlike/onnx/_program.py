"""An ONNX model in memory: saving, running and checking it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..export import ExportedProgram
from ..tensor import Tensor, tensor
from ..utils import _pytree as pytree
from ._builder import needs_onnx
from .errors import OnnxExporterError

__all__ = ["ONNXProgram"]

#: Bytes of weights from which on they go into a file of their own; protocol buffers end at 2 GiB.
LARGE = 1_500_000_000


class ONNXProgram:
    """What ``torch.onnx.export`` makes.

    model_proto: the ``onnx.ModelProto``.   exported_program: what it was made of, or None.
    Calling it runs the model by onnxruntime, or by onnx's (slow) reference where that is not installed.
    """

    def __init__(self, model: Any, exported_program: ExportedProgram | None = None) -> None:
        needs_onnx()
        self.model_proto, self.exported_program = model, exported_program
        self._session: Any = None

    @property
    def model(self) -> NoReturn:
        """NotImplementedError: models are protocol buffers here, see ``model_proto``."""
        raise NotImplementedError("ONNXProgram.model: there is no onnx_ir model; use model_proto, an onnx.ModelProto")

    # ---- files -------------------------------------------------------------------------------------------------

    def save(self, destination: str | os.PathLike | Any, *, include_initializers: bool = True,
             keep_initializers_as_inputs: bool = False, external_data: bool | None = None) -> None:  # fmt: skip
        """Write the model to a path or a binary file.

        include_initializers: whether weights are written.   keep_initializers_as_inputs: they are inputs, too.
        external_data: weights of 1 KiB and more in ``<destination>.data``; None: only if they are large.
        """
        onnx = needs_onnx()
        proto = onnx.ModelProto()
        proto.CopyFrom(self.model_proto)
        graph = proto.graph
        if keep_initializers_as_inputs or not include_initializers:
            known = {i.name for i in graph.input}
            for w in graph.initializer:
                if w.name not in known:
                    graph.input.append(needs_onnx("onnx.helper").make_tensor_value_info(w.name, w.data_type, w.dims))
        if not include_initializers:
            del graph.initializer[:]
        if hasattr(destination, "write"):
            destination.write(proto.SerializeToString())
            return
        path = Path(destination)
        nbytes = sum(len(w.raw_data) for w in graph.initializer)
        apart = nbytes > LARGE if external_data is None else external_data
        if not apart or all(len(w.raw_data) < 1024 for w in graph.initializer):
            onnx.save_model(proto, str(path))
            return
        data = path.with_name(path.name + ".data")
        data.unlink(missing_ok=True)  # onnx would append to it
        onnx.save_model(proto, str(path), save_as_external_data=True, all_tensors_to_one_file=True,
                        location=data.name, size_threshold=1024)  # fmt: skip

    def apply_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        """Replace the weights of the names in ``state_dict``. KeyError for others than the model has."""
        numpy_helper = needs_onnx("onnx.numpy_helper")
        found = {w.name: w for w in self.model_proto.graph.initializer}
        missing = sorted(set(state_dict) - set(found))
        if missing:
            raise KeyError(f"ONNXProgram.apply_weights: the model has no weights {missing}")
        for name, x in state_dict.items():
            found[name].CopyFrom(numpy_helper.from_array(x.detach().cpu().numpy(), name))
        self.release()

    def rename_axes(self, rename_mapping: Mapping[str, str]) -> None:
        """Give the named sizes of inputs and outputs other names."""
        graph = self.model_proto.graph
        for info in (*graph.input, *graph.output):
            for d in info.type.tensor_type.shape.dim:
                if d.dim_param in rename_mapping:
                    d.dim_param = rename_mapping[d.dim_param]

    def optimize(self) -> NoReturn:
        """NotImplementedError: runtimes optimise models when they load them."""
        raise NotImplementedError("ONNXProgram.optimize: onnxruntime optimises a model when it loads it; the packages "
                                  "onnxsim and onnxscript rewrite model_proto beforehand")  # fmt: skip

    # ---- running -----------------------------------------------------------------------------------------------

    def initialize_inference_session(self, initializer: Any = None) -> None:
        """Make what runs the model: ``initializer`` of the model's bytes, or an ``onnxruntime.InferenceSession``."""
        if initializer is not None:
            self._session = initializer(self.model_proto.SerializeToString())
            return
        try:
            import onnxruntime
        except ImportError:
            self._session = needs_onnx("onnx.reference").ReferenceEvaluator(self.model_proto)
        else:
            self._session = onnxruntime.InferenceSession(self.model_proto.SerializeToString(),
                                                         providers=["CPUExecutionProvider"])  # fmt: skip

    def release(self) -> None:
        """Give up what runs the model; it is made anew when needed."""
        self._session = None

    def _feed(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, np.ndarray]:
        given = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        weights = {w.name for w in self.model_proto.graph.initializer}
        names = [i.name for i in self.model_proto.graph.input if i.name not in weights]
        if len(names) != len(given):
            raise ValueError(f"the ONNX model takes {len(names)} tensors ({', '.join(names)}), got {len(given)}")
        return {n: x.detach().cpu().numpy() for n, x in zip(names, given, strict=True)}

    def __call__(self, *args: Any, **kwargs: Any) -> Sequence[Tensor]:
        """The results, as a list of tensors; arguments as of the model, of which the tensors are taken."""
        if self._session is None:
            self.initialize_inference_session()
        found = self._session.run(None, self._feed(args, kwargs))
        return [tensor(np.asarray(x)) for x in found]

    def call_reference(self, *args: Any, **kwargs: Any) -> Sequence[Tensor]:
        """The same by onnx's own evaluator in Python."""
        evaluator = needs_onnx("onnx.reference").ReferenceEvaluator(self.model_proto)
        return [tensor(np.asarray(x)) for x in evaluator.run(None, self._feed(args, kwargs))]

    def compute_values(self, value_names: Sequence[str], args: tuple = (),
                       kwargs: dict[str, Any] | None = None) -> Sequence[Tensor]:  # fmt: skip
        """The values of these names inside the graph, by onnx's own evaluator."""
        onnx = needs_onnx()
        proto = onnx.ModelProto()
        proto.CopyFrom(self.model_proto)
        made = {o for node in proto.graph.node for o in node.output}
        missing = [n for n in value_names if n not in made]
        if missing:
            raise ValueError(f"ONNXProgram.compute_values: no node makes {missing}")
        del proto.graph.output[:]
        for name in value_names:
            proto.graph.output.append(onnx.ValueInfoProto(name=name))
        evaluator = needs_onnx("onnx.reference").ReferenceEvaluator(proto)
        return [tensor(np.asarray(x)) for x in evaluator.run(None, self._feed(args, kwargs or {}))]

    def verify(self, tolerance: float = 1e-4) -> None:
        """Check the model, and compare its results for the example with the program's. OnnxExporterError if they differ
        by more than ``tolerance``, relative to the largest; ValueError without an example.
        """
        if self.exported_program is None or self.exported_program.example_inputs is None:
            raise ValueError("ONNXProgram.verify: there is no example to compare with")
        needs_onnx("onnx.checker").check_model(self.model_proto, full_check=True)
        args, kwargs = self.exported_program.example_inputs
        want = [x for x in pytree.tree_leaves(self.exported_program.module()(*args, **kwargs)) if isinstance(x, Tensor)]
        for k, (x, y) in enumerate(zip(want, self(*args, **kwargs), strict=True)):
            x, y = (np.asarray(v.detach().cpu().double().numpy()) for v in (x, y))
            far = x.shape != y.shape or np.abs(x - y).max(initial=0) > tolerance * max(np.abs(x).max(initial=0), 1)
            if far:
                raise OnnxExporterError(f"torch.onnx.export: result {k} of the ONNX model, of shape {y.shape}, is not "
                                        f"the program's, of shape {x.shape}")  # fmt: skip

    def __repr__(self) -> str:
        graph = self.model_proto.graph
        return (f"ONNXProgram(opset {self.model_proto.opset_import[0].version}, {len(graph.node)} nodes, "
                f"inputs: {[i.name for i in graph.input]}, outputs: {[o.name for o in graph.output]})")  # fmt: skip
