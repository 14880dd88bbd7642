"""One rule for all networks: each of timm's families is tapped where it is meant to be."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from manyeyes.backbones.nets.timm_net import TimmHeaded
from manyeyes.backbones.nets.whole import Headed
from manyeyes.backbones.second_order.layer import choose_layer, positions
from manyeyes.backbones.timm_import import timm
from manyeyes.errors import CardError

SIZE = 64
TINY_SWIN = {"img_size": SIZE, "embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8), "window_size": 2}
# Architecture, options, and of the tapped layer the name, the channels and the side of its map.
FAMILIES: list[tuple[str, dict[str, Any], str, int, int]] = [
    ("resnet18", {}, "model.layer3", 256, 4),
    ("mobilenetv2_050", {}, "model.blocks.5.0.bn1", 288, 4),
    ("efficientnet_lite0", {}, "model.blocks.5.0.bn1", 672, 4),
    ("convnext_atto", {}, "model.stages.2.blocks.5.mlp.norm", 640, 4),
    ("swin_tiny_patch4_window7_224", TINY_SWIN, "model.layers.2.downsample.norm", 192, 4),
    ("vit_tiny_patch16_224", {"img_size": SIZE}, "model.blocks.8", 192, 4),
    ("deit_tiny_distilled_patch16_224", {"img_size": SIZE}, "model.blocks.8", 192, 4),
]


def headed(architecture: str, **options: Any) -> TimmHeaded:
    model = timm.create_model(architecture, pretrained=False, **options).eval()
    return TimmHeaded(model, has_head=isinstance(model.get_classifier(), nn.Module))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("architecture", "options", "layer", "channels", "side"), FAMILIES, ids=lambda value: str(value)
)
def test_where_a_family_is_tapped(
    architecture: str, options: dict[str, Any], layer: str, channels: int, side: int
) -> None:
    network = headed(architecture, **options)
    assert choose_layer(network, SIZE, architecture) == layer
    assert not any(module._forward_hooks for module in network.modules())
    seen: list[Tensor] = []
    network.get_submodule(layer).register_forward_hook(lambda module, given, output: seen.append(output))
    network(torch.randn(2, 3, SIZE, SIZE))
    assert positions(seen[0], network).shape == (2, channels, side * side)


def test_small_photos_are_read_at_the_same_layer() -> None:
    """The stride counts, however few positions are left."""
    assert {choose_layer(headed("test_resnet"), size, "test_resnet") for size in (32, 64, 160)} == {"model.layer3"}


def test_positions_of_tokens_and_of_both_orders_of_maps() -> None:
    plain, tokens = nn.Module(), nn.Module()
    tokens.num_prefix_tokens = 2  # type: ignore[assignment]
    rows = torch.randn(3, 25, 7)
    expected = rows.transpose(1, 2)
    assert torch.equal(positions(rows, plain), expected)
    assert torch.equal(positions(torch.cat([torch.zeros(3, 2, 7), rows], dim=1), tokens), expected)
    assert torch.equal(positions(rows.unflatten(1, (5, 5)), plain), expected)
    assert torch.equal(positions(expected.unflatten(2, (5, 5)), plain), expected)


class Convolutional(Headed):
    """Its head says the source labels' logits at every position, as SqueezeNet's does."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 70, 3, stride=stride, padding=1)
        self.head = nn.Conv2d(70, 200, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        map = self.body(pixels)
        return map.mean(dim=(2, 3)), self.head(map).mean(dim=(2, 3))


def test_a_head_that_is_a_map_is_not_tapped() -> None:
    assert choose_layer(Convolutional(stride=16), SIZE, "toy") == "body"


def test_a_net_without_a_fine_map_is_refused() -> None:
    with pytest.raises(CardError, match="toy has no map of positions that is fine enough for the second-order tap"):
        choose_layer(Convolutional(stride=32), SIZE, "toy")
