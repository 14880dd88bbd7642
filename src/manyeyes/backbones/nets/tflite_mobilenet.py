"""MobileNetV1 out of a TensorFlow Lite file, whose normalisations were folded into its convolutions."""

from pathlib import Path

import torch
from torch import Tensor

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.foreign import NamedArrays, depthwise_kernel, kernel, tensor
from manyeyes.backbones.nets.timm_net import TimmHeaded, create
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.nets.whole import Headed
from manyeyes.errors import CardError, MissingExtraError

BLOCKS = (1, 2, 2, 6, 2)
EPSILON = 1e-5


class TfliteMobileNet(TorchNet):
    """A float32 TF-slim export with 1,001 classes, on timm's ``mobilenetv1_100`` with TensorFlow's padding."""

    def build(self, card: Card) -> Headed:
        return TimmHeaded(create(card, pad_type="same"), has_head=card.labels is not None)

    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        arrays = read_tflite(fetched)
        state = _convolution(arrays, "Conv2d_0", "conv_stem", "bn1")
        blocks = [f"blocks.{stage}.{index}" for stage, count in enumerate(BLOCKS) for index in range(count)]
        for number, block in enumerate(blocks, start=1):
            state |= _depthwise(arrays, f"Conv2d_{number}_depthwise", f"{block}.conv_dw", f"{block}.bn1")
            state |= _convolution(arrays, f"Conv2d_{number}_pointwise", f"{block}.conv_pw", f"{block}.bn2")
        if card.labels is not None:
            # The first of the 1,001 classes is the background.
            weights = arrays["MobilenetV1/Logits/Conv2d_1c_1x1/weights"]
            state["classifier.weight"] = tensor(weights[1:, 0, 0])
            state["classifier.bias"] = tensor(arrays["MobilenetV1/Logits/Conv2d_1c_1x1/convolution_bias"][1:])
        return {f"model.{name}": value for name, value in state.items()}


def read_tflite(path: Path) -> NamedArrays:
    """The float32 tensors that a TensorFlow Lite file stores, under its own names. Nothing of its graph is run."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        raise MissingExtraError(
            "TensorFlow Lite weights need ai-edge-litert to be read: pip install 'manyeyes[mirror]'"
        ) from None
    try:
        # Delegates would repack the weights.
        interpreter = Interpreter(
            model_path=str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
    except ValueError as error:
        raise CardError(f"{path.name} is no TensorFlow Lite file: {error}") from None
    arrays = {}
    for entry in interpreter.get_tensor_details():
        try:
            arrays[entry["name"]] = interpreter.get_tensor(entry["index"])
        except ValueError:
            # What is computed, rather than stored, has no values before a run.
            continue
    return NamedArrays(path.name, arrays)


def _convolution(arrays: NamedArrays, theirs: str, ours: str, norm: str) -> dict[str, Tensor]:
    # (out, height, width, in) → (height, width, in, out)
    weights = arrays[f"MobilenetV1/{theirs}/weights"].transpose(1, 2, 3, 0)
    bias = tensor(arrays[f"MobilenetV1/MobilenetV1/{theirs}/convolution_bias"])
    return {f"{ours}.weight": kernel(weights), **_only_a_bias(norm, bias)}


def _depthwise(arrays: NamedArrays, theirs: str, ours: str, norm: str) -> dict[str, Tensor]:
    # (1, height, width, channels) → (height, width, channels, 1)
    weights = arrays[f"MobilenetV1/{theirs}/depthwise_weights"].transpose(1, 2, 3, 0)
    bias = tensor(arrays[f"MobilenetV1/MobilenetV1/{theirs}/depthwise_bias"])
    return {f"{ours}.weight": depthwise_kernel(weights), **_only_a_bias(norm, bias)}


def _only_a_bias(name: str, bias: Tensor) -> dict[str, Tensor]:
    """A normalisation that does nothing but add ``bias``."""
    ones = torch.ones_like(bias)
    return {
        f"{name}.weight": ones,
        f"{name}.bias": bias,
        f"{name}.running_mean": torch.zeros_like(bias),
        f"{name}.running_var": ones - EPSILON,
    }
