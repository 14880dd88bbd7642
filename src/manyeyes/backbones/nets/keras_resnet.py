"""ResNet-50 as Keras first published it: the original Caffe weights, with biases and the stride in front."""

from pathlib import Path

from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.foreign import TENSORFLOW_EPSILON, NamedArrays, batch_norm, kernel, set_epsilon, tensor
from manyeyes.backbones.nets.tfjs import read_tfjs
from manyeyes.backbones.nets.timm_net import TimmHeaded, create
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.nets.whole import Headed

BLOCKS = (3, 4, 6, 3)


class KerasResNet(TorchNet):
    """A folder with the TensorFlow.js export of Keras's ResNet50, on timm's ``resnet50``."""

    def build(self, card: Card) -> Headed:
        model = create(card)
        set_epsilon(model, TENSORFLOW_EPSILON)
        _put_stride_in_first_convolution(model)
        return TimmHeaded(model, has_head=card.labels is not None)

    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        arrays = read_tfjs(fetched)
        state: dict[str, Tensor] = {}
        for keras, keras_norm, ours, our_norm in _layer_names():
            state |= _convolution(arrays, keras, keras_norm, f"model.{ours}", f"model.{our_norm}")
        if card.labels is not None:
            state["model.fc.weight"] = tensor(arrays["fc1000/kernel"].T)
            state["model.fc.bias"] = tensor(arrays["fc1000/bias"])
        return state


def _put_stride_in_first_convolution(model: nn.Module) -> None:
    """Halve the map in the 1 × 1 convolution, as the paper did; today's ResNets do it in the 3 × 3 one."""
    for stage in (model.layer2, model.layer3, model.layer4):
        block = stage[0]  # type: ignore[index]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)  # type: ignore[union-attr]


def _layer_names() -> list[tuple[str, str, str, str]]:
    """Keras's convolution and its normalisation, and timm's names of both."""
    names = [("conv1", "bn_conv1", "conv1", "bn1")]
    for stage, count in enumerate(BLOCKS, start=1):
        for index in range(count):
            theirs, ours = f"{stage + 1}{'abcdef'[index]}_branch", f"layer{stage}.{index}"
            for number, letter in enumerate("abc", start=1):
                names.append(
                    (f"res{theirs}2{letter}", f"bn{theirs}2{letter}", f"{ours}.conv{number}", f"{ours}.bn{number}")
                )
            if index == 0:
                names.append((f"res{theirs}1", f"bn{theirs}1", f"{ours}.downsample.0", f"{ours}.downsample.1"))
    return names


def _convolution(arrays: NamedArrays, keras: str, keras_norm: str, ours: str, our_norm: str) -> dict[str, Tensor]:
    gamma, beta, mean, variance = (
        arrays[f"{keras_norm}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    # A bias in front of a normalisation only shifts the mean that is subtracted.
    norm = batch_norm(our_norm, gamma, beta, mean - arrays[f"{keras}/bias"], variance)
    return {f"{ours}.weight": kernel(arrays[f"{keras}/kernel"]), **norm}
