"""The tensors that a TensorFlow Lite file stores."""

import sys
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from manyeyes.backbones.nets.tflite_mobilenet import read_tflite
from manyeyes.errors import CardError, MissingExtraError

WEIGHTS = np.arange(4, dtype=np.float32)


def write_tflite(path: Path) -> Path:
    """A graph that adds stored weights to its input."""
    code, operator, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1], [2]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    stored = schema.BufferT()
    stored.data = WEIGHTS.view(np.uint8)
    graph.tensors = []
    for name, buffer in [(b"pixels", 0), (b"MobilenetV1/weights", 1), (b"sum", 0)]:
        tensor = schema.TensorT()
        tensor.name, tensor.buffer, tensor.shape, tensor.type = name, buffer, [4], schema.TensorType.FLOAT32
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs, graph.operators = [0], [2], [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT(), stored]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_what_is_stored_is_read_and_what_is_computed_is_not(tmp_path: Path) -> None:
    arrays = read_tflite(write_tflite(tmp_path / "net.tflite"))
    assert arrays.keys() == {"MobilenetV1/weights"}
    np.testing.assert_array_equal(arrays["MobilenetV1/weights"], WEIGHTS)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(b"not a flatbuffer at all")
    with pytest.raises(CardError, match=r"net\.tflite"):
        read_tflite(path)


def test_without_the_interpreter_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"manyeyes\[mirror\]"):
        read_tflite(tmp_path / "net.tflite")
