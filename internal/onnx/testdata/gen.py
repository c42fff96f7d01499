"""Writes onnx.descriptor, the messages of onnx.proto as a FileDescriptorProto, and
model.onnx, the model that encode_test.go writes, by the reference implementation.

    python gen.py          # wants onnx
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, onnx_ml_pb2

here = pathlib.Path(__file__).parent

graph = helper.make_graph(
    [
        helper.make_node("Conv", ["image", "weight"], ["conv"], name="Conv_0", kernel_shape=[1, 1], group=1),
        helper.make_node("LeakyRelu", ["conv"], ["relu"], name="LeakyRelu_1", alpha=0.25),
        helper.make_node("Resize", ["relu", "", "scales"], ["larger"], name="Resize_2", mode="nearest"),
        helper.make_node("Reshape", ["larger", "shape"], ["map"], name="Reshape_3"),
    ],
    "tiny",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 2, 2])],
    [helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", 16])],
    [
        numpy_helper.from_array(np.array([[[[0.5]], [[-1.5]], [[3e-8]]]], np.float32), "weight"),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
        numpy_helper.from_array(np.array([-1, 16], np.int64), "shape"),
    ],
)
model = helper.make_model(
    graph, producer_name="surrogaze", ir_version=8, doc_string="für Tests", opset_imports=[helper.make_opsetid("", 18)]
)
helper.set_model_props(model, {"classes": '["live","spoof"]', "kind": "classifier"})
onnx.checker.check_model(model, full_check=True)
(here / "model.onnx").write_bytes(model.SerializeToString())
(here / "onnx.descriptor").write_bytes(onnx_ml_pb2.DESCRIPTOR.serialized_pb)
