"""What all torch networks share: weights kept as safetensors, one forward pass for features and logits."""

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import Encoder, FloatArray, Look
from manyeyes.errors import CardError

WEIGHTS = "model.safetensors"


class Headed(nn.Module, ABC):
    """A network whose forward gives features (B, D) and, when it has a source head, logits (B, L)."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and logits of normalised pixels (B, 3, S, S)."""


class TorchNet(ABC):
    """A :class:`~manyeyes.backbones.nets.Net` that needs only to say how to build and how to convert."""

    @abstractmethod
    def build(self, card: Card) -> Headed:
        """The architecture, its weights still to be filled in."""

    @abstractmethod
    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        """The fetched file's tensors under the names that :meth:`build`'s network gives them."""

    def prepare(self, fetched: Path, card: Card, folder: Path) -> None:
        tensors = self.convert(fetched, card)
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / WEIGHTS)

    def load(self, card: Card, folder: Path) -> Encoder:
        network = self.build(card)
        try:
            network.load_state_dict(load_file(folder / WEIGHTS))
        except RuntimeError as error:
            raise CardError(f"{card.name}: the weights do not fit {card.architecture}: {_summary(error)}") from None
        return TorchEncoder(network)


class TorchEncoder:
    """Runs a frozen network on the GPU when there is one, else on the CPU."""

    def __init__(self, network: Headed) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.eval().requires_grad_(False)
        self._network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, pixels: FloatArray) -> Look:
        batch = torch.from_numpy(pixels).to(self._device, memory_format=torch.channels_last)
        features, logits = self._network(batch)
        return Look(features.float().cpu().numpy(), None if logits is None else logits.float().cpu().numpy())


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a torch checkpoint read without running any code in it."""
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises errors of many kinds for files that are not checkpoints; none of them may pass for weights.
    except Exception as error:
        raise CardError(f"{path.name} cannot be read as weights: {_summary(error)}") from None
    return state


def _summary(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
