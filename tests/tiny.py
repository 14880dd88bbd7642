"""Networks small enough to adapt in a test, photos for them to learn, and what changes a domain as training would."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.training.pixels import Photos
from manyeyes.backbones.card import HALF, Card, Preprocessing
from manyeyes.backbones.nets.timm_net import TimmHeaded
from manyeyes.backbones.nets.whole import WholeNet
from manyeyes.backbones.timm_import import timm

SIZE = 32
METHODS = ("parallel", "series", "lowrank", "norms")
CLASSES = ("apple", "leaf", "sea")


def make_vgg() -> nn.Module:
    """Its shape with few channels: pooled between, and a convolution of 7×7 before the head."""
    return timm.models.vgg.VGG(cfg=[8, "M", 16, "M"], num_classes=0, mlp_ratio=0.002)


def make_grouped() -> nn.Module:
    """Bottlenecks whose filters come in two groups."""
    block, layers, channels = timm.models.resnet.Bottleneck, (1, 1, 1, 1), (8, 8, 16, 16)
    return timm.models.resnet.ResNet(block, layers, 0, cardinality=2, base_width=16, stem_width=8, channels=channels)


def _of_timm(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, num_classes=0, **options)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet": _of_timm("test_resnet"),
    "efficientnet": _of_timm("test_efficientnet"),
    # Padded as TensorFlow does, the odd pixel last.
    "efficientnet-same": _of_timm("test_efficientnet", pad_type="same"),
    "efficientnet-lite": _of_timm("tf_efficientnet_lite0"),
    "convnext": _of_timm("test_convnext"),
    "vit": _of_timm("test_vit", img_size=SIZE),
    "vgg": make_vgg,
    # Strides become dilations; filters in groups.
    "dilated": _of_timm("test_resnet", output_stride=8),
    "grouped": make_grouped,
}


# All but the one that is not small.
KINDS = tuple(kind for kind in MODELS if kind != "efficientnet-lite")


def shaken(module: nn.Module, by: float = 0.2, seed: int = 0) -> None:
    """Nothing is zero or one any more: training starts many numbers at what hides a mistake."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and (tensor.ndim == 1 or name.startswith(("_adapters", "head"))):
                noise = torch.randn(tensor.shape, generator=random) * by
                tensor.copy_(tensor * (noise.abs() + 1) if "running_var" in name else tensor + noise)


def whole_of(kind: str) -> WholeNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS[kind]()
    shaken(model)
    return WholeNet(TimmHeaded(model, has_head=False), Preprocessing(size=SIZE, crop=1.0, mean=HALF, std=HALF))


def bank_of(kind: str = "resnet", **domains: Plan) -> DomainBank:
    """A bank in evaluation mode, with a domain of three classes for each plan."""
    bank = DomainBank(whole_of(kind), SIZE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, plan in domains.items():
            bank.put_new(name, CLASSES, plan)
    return bank.eval()


def card_of(architecture: str = "test_resnet", dimension: int = 96) -> Card:
    return Card(
        name="tiny",
        source="local:/nowhere/weights.safetensors",
        architecture=architecture,
        dimension=dimension,
        preprocessing=Preprocessing(size=SIZE, crop=1.0, mean=HALF, std=HALF),
        licence="Apache-2.0",
    )


def framed(count: int = 3, seed: int = 0) -> Tensor:
    return torch.randint(
        0, 256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def some_photos(count: int = 24, seed: int = 0, margin: int = 4) -> Photos:
    """Noise with a tint for each of the three classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    pixels = random.integers(0, 120, (count, SIZE + margin, SIZE + margin, 3))
    pixels[np.arange(count), :, :, labels] += 130
    return Photos(pixels.astype(np.uint8), labels.astype(np.int64), CLASSES, SIZE)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, in units of the largest number."""
    return float((one - other).detach().abs().max() / other.detach().abs().max())
