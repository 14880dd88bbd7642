"""What all torch networks share: weights kept as safetensors, one forward pass for features and logits."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import FINAL, SECOND_ORDER, Encoder, FloatArray, Look, Precision
from manyeyes.backbones.second_order.tap import SecondOrderTap
from manyeyes.errors import CardError

WEIGHTS = "model.safetensors"


class Headed(nn.Module, ABC):
    """A network whose forward gives features (B, D) and, when it has a source head, logits (B, L)."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and logits of normalised pixels (B, 3, S, S)."""


class TorchNet(ABC):
    """A :class:`~manyeyes.backbones.nets.Net` that needs only to say how to build and how to convert."""

    taps = (FINAL, SECOND_ORDER)
    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    @abstractmethod
    def build(self, card: Card) -> Headed:
        """The architecture, its weights still to be filled in."""

    @abstractmethod
    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        """The fetched file's tensors under the names that :meth:`build`'s network gives them."""

    def prepare(self, fetched: Path, card: Card, folder: Path) -> None:
        tensors = self.convert(fetched, card)
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / WEIGHTS)

    def load(self, card: Card, folder: Path, taps: Sequence[str] = (FINAL,), precision: Precision = "fp32") -> Encoder:
        network = self.build(card).eval().requires_grad_(False)
        try:
            network.load_state_dict(load_file(folder / WEIGHTS))
        except RuntimeError as error:
            raise CardError(f"{card.name}: the weights do not fit {card.architecture}: {_summary(error)}") from None
        tap = SecondOrderTap.of(network, card, folder) if SECOND_ORDER in taps else None
        return TorchEncoder(network, tap, precision)


class TorchEncoder:
    """Runs a frozen network on the GPU when there is one, else on the CPU. Its outputs are float32 in any precision."""

    def __init__(self, network: Headed, tap: SecondOrderTap | None = None, precision: Precision = "fp32") -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # Weights are cast once; casting them at every call, as autocast does, costs more than it gains.
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self._network = network.to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._tap = None if tap is None else tap.to(self._device)

    @torch.inference_mode()
    def __call__(self, pixels: FloatArray) -> Look:
        batch = torch.from_numpy(pixels).to(self._device, self._dtype, memory_format=torch.channels_last)
        features, logits = self._network(batch)
        blocks = {FINAL: _to_numpy(features)}
        if self._tap is not None:
            blocks[SECOND_ORDER] = _to_numpy(self._tap.read())
        return Look(blocks, None if logits is None else _to_numpy(logits))


def _to_numpy(tensor: Tensor) -> FloatArray:
    numbers: FloatArray = tensor.float().cpu().numpy()
    return numbers


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
