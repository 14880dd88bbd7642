"""A world small enough for tests: coloured shapes for photos, and three nets that see colours."""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from manyeyes.backbones.card import HALF, Card, Preprocessing
from manyeyes.backbones.timm_import import timm

COLOURS = {"apple": (190, 40, 40), "leaf": (40, 170, 50), "sea": (40, 60, 180)}


def draw(colour: tuple[int, int, int], seed: int) -> Image.Image:
    """A blob of about this colour on a grey ground, never twice the same."""
    random = np.random.default_rng(seed)
    width, height = random.integers(40, 60, 2).tolist()
    image = Image.new("RGB", (width, height), (int(random.integers(90, 160)),) * 3)
    left, top = random.integers(2, 14, 2).tolist()
    right, bottom = left + int(random.integers(20, 26)), top + int(random.integers(20, 26))
    fill = tuple(int(part + random.integers(-30, 30)) for part in colour)
    shape = ImageDraw.Draw(image).ellipse if seed % 2 else ImageDraw.Draw(image).rectangle
    shape((left, top, right, bottom), fill=fill)
    return image


def write_photos(root: Path, names: list[str], count: int = 12, first: int = 0) -> list[Path]:
    """``count`` photos for each class, in class folders; the i-th class has the i-th colour."""
    paths = []
    for index, (name, colour) in enumerate(zip(names, COLOURS.values(), strict=False)):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            paths.append(root / name / f"{number:02}.png")
            draw(colour, 1000 * index + number).save(paths[-1])
    return paths


def write_encoder(path: Path, seed: int, size: int, dimension: int) -> Path:
    """A random convolution, ReLU and mean over the image, as an ONNX graph."""
    random = np.random.default_rng(seed)
    weights = {"w": random.normal(0, 0.5, (dimension, 3, 3, 3)), "b": random.normal(0, 0.5, dimension)}
    nodes = [
        helper.make_node("Conv", ["photo", "w", "b"], ["map"], strides=[2, 2]),
        helper.make_node("Relu", ["map"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["h"]),
    ]
    photo = helper.make_tensor_value_info("photo", TensorProto.FLOAT, ["n", 3, size, size])
    h = helper.make_tensor_value_info("h", TensorProto.FLOAT, ["n", dimension])
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, path.stem, [photo], [h], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def write_local(folder: Path) -> Path:
    """One of timm's own test nets with random weights, as a folder with a card."""
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = timm.create_model("test_resnet", pretrained=False)
    save_file(net.state_dict(), folder / "weights.safetensors")
    card = Card(
        name="tiny",
        source="local:weights.safetensors",
        architecture="test_resnet",
        dimension=net.num_features,
        preprocessing=Preprocessing(size=64, crop=1.0, interpolation="bilinear", mean=HALF, std=HALF),
        labels="imagenet-1k",
        licence="Apache-2.0",
    )
    (folder / "card.json").write_text(json.dumps(card.to_dict()))
    return folder
