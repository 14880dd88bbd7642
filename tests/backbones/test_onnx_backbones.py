"""An ONNX file as a backbone."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import HALF, Card, Preprocessing
from manyeyes.backbones.describe import describe_onnx
from manyeyes.backbones.nets import SECOND_ORDER
from manyeyes.backbones.nets.onnx_net import open_session
from manyeyes.backbones.preprocess import normalise
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import CardError

PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
NET = nn.Sequential(nn.Conv2d(3, 7, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
HEAD = nn.Linear(7, 4)


def write_encoder(path: Path, batch: int | str, with_head: bool = False) -> Path:
    """``NET`` (and ``HEAD`` behind it) as an ONNX graph of (batch, 3, 32, 32)."""
    weights = {"w": NET[0].weight, "b": NET[0].bias, "hw": HEAD.weight, "hb": HEAD.bias}
    nodes = [
        helper.make_node("Conv", ["photo", "w", "b"], ["map"], strides=[2, 2]),
        helper.make_node("Relu", ["map"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["h"]),
    ]
    outputs = [helper.make_tensor_value_info("h", TensorProto.FLOAT, [batch, 7])]
    if with_head:
        nodes.append(helper.make_node("Gemm", ["h", "hw", "hb"], ["logits"], transB=1))
        outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4]))
    photo = helper.make_tensor_value_info("photo", TensorProto.FLOAT, [batch, 3, 32, 32])
    initializers = [numpy_helper.from_array(tensor.detach().numpy(), name) for name, tensor in weights.items()]
    return write(path, nodes, [photo], outputs, initializers)


def write(path: Path, nodes: list, inputs: list, outputs: list, initializers: list = ()) -> Path:
    graph = helper.make_graph(nodes, "toy", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("batch", ["n", 1, 2, 5])
def test_equals_torch(tmp_path, batch):
    (card,) = read_zoo(f"onnx:{write_encoder(tmp_path / 'toy.onnx', batch)}")
    assert (card.name, card.dimension, card.preprocessing.size, card.labels) == ("toy", 7, 32, None)
    embedding = Backbone.load(card).embed(PHOTOS)
    with torch.inference_mode():
        expected = NET(torch.from_numpy(normalise(PHOTOS, card.preprocessing)))
    np.testing.assert_allclose(embedding.blocks[FINAL], expected, atol=1e-5)
    assert embedding.label_index is None


def test_it_has_no_other_tap_and_no_other_precision(tmp_path):
    (card,) = read_zoo(f"onnx:{write_encoder(tmp_path / 'toy.onnx', 'n')}")
    backbone = Backbone.load(card, taps=(FINAL, SECOND_ORDER), precision="bf16")
    assert (backbone.taps, backbone.precision) == ((FINAL,), "fp32")
    blocks = backbone.embed(PHOTOS).blocks
    assert blocks.keys() == {FINAL}
    np.testing.assert_array_equal(blocks[FINAL], Backbone.load(card).embed(PHOTOS).blocks[FINAL])


@pytest.mark.parametrize("batch", ["n", 2])
def test_a_card_beside_it_is_read(tmp_path, batch):
    path = write_encoder(tmp_path / "toy.onnx", batch, with_head=True)
    described = describe_onnx(path).to_dict()
    preprocessing = Preprocessing(size=32, crop=1.0, mean=HALF, std=HALF)
    fields = {**described, "name": "mine", "source": "onnx:toy.onnx", "labels": "four", "licence": "MIT"}
    path.with_suffix(".json").write_text(json.dumps({**fields, "preprocessing": vars(preprocessing)}))
    (card,) = read_zoo(f"onnx:{path}")
    assert (card.name, card.preprocessing) == ("mine", preprocessing)
    embedding = Backbone.load(card).embed(PHOTOS)
    with torch.inference_mode():
        features = NET(torch.from_numpy(normalise(PHOTOS, preprocessing)))
        probabilities, index = HEAD(features).softmax(dim=1).sort(descending=True)
    np.testing.assert_allclose(embedding.blocks[FINAL], features, atol=1e-5)
    np.testing.assert_allclose(embedding.label_probability, probabilities, atol=1e-5)
    np.testing.assert_array_equal(embedding.label_index, index)


def value(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize(
    ("operator", "shapes", "words"),
    [
        pytest.param("Relu", [[1, 9]], "wants x", id="not-photos"),
        pytest.param("Relu", [[1, 32, 32, 3]], "wants x", id="channels-last"),
        pytest.param("Relu", [[1, 1, 32, 32]], "wants x", id="grey"),
        pytest.param("Add", [[1, 3, 8, 8], [1]], "wants x .*, y", id="two-inputs"),
        pytest.param("Relu", [["n", 3, 8, 8]], "gives outputs of", id="photos-to-photos"),
        pytest.param("ReduceMax", [[2, 3, 8, 8]], "gives outputs of", id="one-number-in-all"),
    ],
)
def test_a_graph_that_is_no_image_encoder_is_refused(tmp_path, operator, shapes, words):
    inputs = [value(name, shape) for name, shape in zip("xy", shapes, strict=False)]
    node = helper.make_node(operator, [given.name for given in inputs], ["out"])
    path = write(tmp_path / "toy.onnx", [node], inputs, [value("out", ["a", "b", "c", "d"][: len(shapes[0])])])
    with pytest.raises(CardError, match=rf"toy\.onnx {words}"):
        describe_onnx(path)


@pytest.mark.parametrize("batch", [1, "n"])
def test_a_graph_of_oblong_photos_is_refused(tmp_path, batch):
    node = helper.make_node("GlobalAveragePool", ["x"], ["out"])
    path = write(tmp_path / "toy.onnx", [node], [value("x", [batch, 3, 8, 16])], [value("out", [batch, 3, 1, 1])])
    with pytest.raises(CardError, match=r"toy\.onnx looks at photos of \[8, 16\] pixels; manyeyes gives square ones"):
        describe_onnx(path)


@pytest.mark.parametrize("sides", [[24, "w"], ["h", 24], [24, 24]])
def test_one_fixed_side_is_the_size(tmp_path, sides):
    node = helper.make_node("GlobalAveragePool", ["x"], ["out"])
    path = write(tmp_path / "toy.onnx", [node], [value("x", ["n", 3, *sides])], [value("out", ["n", 3, 1, 1])])
    assert describe_onnx(path).preprocessing.size == 24


def write_picky(path: Path) -> Path:
    """A graph that says it takes photos of any size and takes 8 × 8 alone."""
    shape = numpy_helper.from_array(np.array([1, 192]), "shape")
    node = helper.make_node("Reshape", ["x", "shape"], ["out"])
    return write(path, [node], [value("x", [1, 3, "h", "w"])], [value("out", [1, 192])], [shape])


def test_a_graph_that_fails_on_photos_is_refused(tmp_path):
    with pytest.raises(CardError, match=r"toy\.onnx cannot look at inputs of \(1, 3, 224, 224\): .*Reshape"):
        describe_onnx(write_picky(tmp_path / "toy.onnx"))


def test_a_card_of_another_size_is_refused(tmp_path):
    path = write_picky(tmp_path / "toy.onnx")
    card = Card("mine", f"onnx:{path}", "onnx", 192, Preprocessing(size=8), net="onnx")
    assert Backbone.load(card).encoder
    with pytest.raises(CardError, match=r"mine cannot look at inputs of \(1, 3, 9, 9\)"):
        Backbone.load(dataclasses.replace(card, preprocessing=Preprocessing(size=9)))


def test_a_graph_with_weights_in_other_files_is_refused(tmp_path):
    split = tmp_path / "split.onnx"
    whole = onnx.load(write_encoder(tmp_path / "whole.onnx", 1))
    onnx.save(whole, split, save_as_external_data=True, location="split.data", size_threshold=0)
    with pytest.raises(CardError, match=r"split keeps weights in other files.*: save it as one, onnx\.save"):
        Backbone.load(describe_onnx(split))
    onnx.save(onnx.load(split), tmp_path / "one.onnx")
    assert Backbone.load(describe_onnx(tmp_path / "one.onnx")).encoder


def test_a_pass_stays_on_one_core(tmp_path):
    session = open_session(write_encoder(tmp_path / "toy.onnx", 1), "toy")
    assert session.get_session_options().intra_op_num_threads == 1


def test_a_graph_of_other_numbers_is_refused(tmp_path):
    photo = value("x", [1, 3, 8, 8], TensorProto.FLOAT16)
    out = value("out", [1, 3, 8, 8], TensorProto.FLOAT16)
    path = write(tmp_path / "toy.onnx", [helper.make_node("Relu", ["x"], ["out"])], [photo], [out])
    with pytest.raises(CardError, match="one float input"):
        describe_onnx(path)


@pytest.mark.parametrize("cut", [0, 50])
def test_a_corrupted_file_is_refused(tmp_path, cut):
    path = write_encoder(tmp_path / "toy.onnx", 1)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CardError, match=r"toy\.onnx is not an ONNX graph"):
        describe_onnx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CardError, match=r"there is no ONNX file at .*gone\.onnx"):
        describe_onnx(tmp_path / "gone.onnx")
