"""ONNX files of other makers as modules."""

import numpy as np
import pytest

import pytorchlike as torch

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")
reference = pytest.importorskip("onnx.reference")


def model_of(nodes, inputs, outputs, weights=None, opset=13):
    info = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in inputs.items()]
    outs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs]
    held = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
    made = [helper.make_node(*n[:3], **(n[3] if len(n) > 3 else {})) for n in nodes]
    graph = helper.make_graph(made, "g", info, outs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 4, 7, 6)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 4, 3, 3)).astype(np.float32)
ONES = np.ones(4, np.float32)
#: Nodes as other exporters write them: (nodes, weights, opset)
CASES = {
    "pads": ([("Conv", ["x", "w"], ["y"], {"pads": [1, 0, 2, 1], "strides": [2, 1]})], {"w": KERNEL}, 13),
    "same": ([("Conv", ["x", "w"], ["y"], {"auto_pad": "SAME_UPPER", "strides": [1, 2]})], {"w": KERNEL}, 13),
    "pool": ([("MaxPool", ["x"], ["y"], {"kernel_shape": [2, 3], "pads": [0, 1, 1, 0]})], {}, 13),
    "global": ([("GlobalAveragePool", ["x"], ["a"]), ("GlobalMaxPool", ["x"], ["b"]), ("Sub", ["a", "b"], ["y"])],
               {}, 13),
    "reduce": ([("ReduceMean", ["x"], ["a"], {"axes": [2], "keepdims": 0}), ("ReduceL2", ["a"], ["y"],
               {"axes": [-1]})], {}, 13),
    "slices": ([("Slice", ["x", "s", "e", "a", "t"], ["y"])],
               {"s": np.array([-1, 5]), "e": np.array([-9, 0]), "a": np.array([2, 3]), "t": np.array([-2, -1])}, 13),
    "shape": ([("Shape", ["x"], ["s"]), ("Gather", ["s", "i"], ["n"], {"axis": 0}), ("Unsqueeze", ["n", "z"], ["u"]),
               ("Concat", ["u", "m"], ["t"], {"axis": 0}), ("Reshape", ["x", "t"], ["y"])],
              {"i": np.array(0), "z": np.array([0]), "m": np.array([-1])}, 13),
    "squeeze": ([("Unsqueeze", ["x"], ["a"], {"axes": [0, 3]}), ("Squeeze", ["a"], ["y"], {"axes": [0]})], {}, 11),
    "gemm": ([("Flatten", ["x"], ["a"], {"axis": 3}), ("Gemm", ["a", "w", "c"], ["y"], {"alpha": 0.5, "beta": 2.0})],
             {"w": KERNEL[0, 0, :2].repeat(3, 0).astype(np.float32), "c": np.ones(3, np.float32)}, 13),
    "instance": ([("InstanceNormalization", ["x", "w", "c"], ["y"])], {"w": ONES * 2, "c": ONES}, 13),
    "depth": ([("DepthToSpace", ["x"], ["y"], {"blocksize": 2})], {}, 13),
    "sums": ([("Sum", ["x", "x", "w"], ["a"]), ("Mean", ["a", "x"], ["b"]), ("Clip", ["b", "w"], ["y"])],
             {"w": np.array(0.5, np.float32)}, 13),
    "cumulative": ([("CumSum", ["x", "k"], ["y"], {"exclusive": 1, "reverse": 1})], {"k": np.array(3)}, 14),
    "hard": ([("HardSigmoid", ["x"], ["a"]), ("ThresholdedRelu", ["x"], ["b"]), ("Add", ["a", "b"], ["y"])], {}, 13),
    "constant": ([("Constant", [], ["c"], {"value_float": 2.0}), ("Mul", ["x", "c"], ["y"])], {}, 13),
    "nearest": ([("Resize", ["x", "", "s"], ["y"], {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                  "nearest_mode": "floor"})], {"s": np.array([1, 1, 2, 3], np.float32)}, 13),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_nodes_of_other_exporters(name):
    nodes, weights, opset = CASES[name]
    proto = model_of(nodes, {"x": [None] * 4}, ["y"], weights, opset)
    (want,) = reference.ReferenceEvaluator(proto).run(None, {"x": IMAGE})
    got = torch.onnx.load(proto)(torch.tensor(IMAGE))
    assert got.shape == want.shape and np.allclose(got.numpy(), want, atol=1e-5)


def test_softmax_of_old_operator_sets_is_over_all_dimensions_from_the_axis_on():
    found = torch.onnx.load(model_of([("Softmax", ["x"], ["y"], {"axis": 2})], {"x": [None] * 4}, ["y"], opset=11))
    assert torch.allclose(found(torch.tensor(IMAGE)).flatten(2).sum(-1), torch.ones(2, 4))


def test_weights_are_parameters_under_their_names():
    proto = model_of([("MatMul", ["x", "layer.0.weight"], ["a"]), ("Add", ["a", "b"], ["y"])], {"x": [None, 4]}, ["y"],
                     {"layer.0.weight": KERNEL[:, :, 0, 0].T.copy(), "b": np.ones(3, np.float32)})  # fmt: skip
    module = torch.onnx.load(proto, requires_grad=True)
    assert {n: tuple(p.shape) for n, p in module.named_parameters()} == {"layer.0.weight": (4, 3), "b": (3,)}
    x = torch.randn(5, 4)
    module(x).sum().backward()
    assert torch.allclose(module.get_parameter("layer.0.weight").grad, x.sum(0)[:, None].expand(4, 3), atol=1e-5)
    exported = torch.onnx.export(module, (x,), dynamic_shapes=(({0: torch.export.Dim("n")},),))
    assert torch.allclose(exported(x[:2])[0], module(x[:2]), atol=1e-5)
    with pytest.raises(TypeError, match="takes"):
        module(x, x)
    assert not any(p.requires_grad for p in torch.onnx.load(proto).parameters())


def test_what_cannot_be_read_is_named_at_once():
    proto = model_of([("Det", ["x"], ["y"])], {"x": [3, 3]}, ["y"])
    with pytest.raises(torch.onnx.errors.UnsupportedOperatorError, match="Det has no reader; run the file by onnx"):
        torch.onnx.load(proto)
