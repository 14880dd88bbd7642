"""Any architecture of timm, which is imported when a network is built: photos whose features are cached need none."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.torch_net import TorchNet, read_state_dict
from manyeyes.backbones.nets.whole import Headed
from manyeyes.errors import CardError


class TimmHeaded(Headed):
    """A timm model, read just before its classifier and after it."""

    def __init__(self, model: nn.Module, has_head: bool) -> None:
        super().__init__()
        self.model = model
        self.has_head = has_head

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        final_map = self.model.forward_features(pixels)  # type: ignore[operator]
        features = self.model.forward_head(final_map, pre_logits=True)  # type: ignore[operator]
        if not self.has_head:
            return features, None
        return features, self.model.get_classifier()(features)  # type: ignore[operator]


class TimmNet(TorchNet):
    """Checkpoints whose tensors have timm's names, or stand in timm's order (other people's ports of the same net)."""

    def build(self, card: Card) -> Headed:
        model = create(card)
        if card.labels is not None and not has_one_head(model):
            raise CardError(f"{card.name}: {card.architecture} has two heads, so its card wants no labels")
        return TimmHeaded(model, has_head=card.labels is not None)

    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        model = create(card)
        own = model.state_dict()
        state = read_state_dict(fetched)
        if state.keys() != own.keys():
            state = _by_order(state, own) or _by_timm(card, fetched)
        return {f"model.{name}": tensor for name, tensor in state.items()}


def has_one_head(model: nn.Module) -> bool:
    """False for distilled nets, one of whose heads was taught by labels and the other by another net."""
    return isinstance(model.get_classifier(), nn.Module)  # type: ignore[operator]


def create(card: Card, **options: Any) -> nn.Module:
    """The card's architecture with random weights, with its source head when the card has a label space."""
    from manyeyes.backbones.timm_import import timm

    if card.labels is None:
        options["num_classes"] = 0
    try:
        model: nn.Module = timm.create_model(card.architecture, pretrained=False, **options)
    except RuntimeError as error:
        raise CardError(f"{card.name}: timm {timm.__version__} cannot build {card.architecture!r}: {error}") from None
    return model


def _by_order(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Two ports of one net define the same tensors in the same order: pair them when every shape agrees."""
    pairs = list(zip(own.items(), state.values(), strict=False))
    if len(own) != len(state) or any(tensor.shape != found.shape for (_, tensor), found in pairs):
        return None
    return {name: found for (name, _), found in pairs}


def _by_timm(card: Card, fetched: Path) -> dict[str, Tensor]:
    """Let timm's own checkpoint filters rename and reshape (DINOv2, CLIP towers, dropped heads …)."""
    from manyeyes.backbones.timm_import import timm

    options = {} if card.labels is not None else {"num_classes": 0}
    try:
        model = timm.create_model(
            card.architecture, pretrained=True, pretrained_cfg_overlay={"file": str(fetched)}, **options
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise CardError(f"{card.name}: {fetched.name} does not fit {card.architecture}: {str(error)[:200]}") from None
    state: dict[str, Tensor] = model.state_dict()
    return state
