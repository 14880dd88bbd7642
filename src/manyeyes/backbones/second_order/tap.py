"""The second-order tap of one network: what is pooled where, and how that is learnt, kept and read."""

import hashlib
import json
import logging
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.preprocess import frame, normalise
from manyeyes.backbones.second_order.generated import generated_photos
from manyeyes.backbones.second_order.layer import choose_layer, positions
from manyeyes.backbones.second_order.pooling import learn_projection, moments
from manyeyes.progress import waiting
from manyeyes.writing import written_whole

log = logging.getLogger(__name__)

# Raised when the layer or the projection would come out differently; a part of the cache key of what is read.
VERSION = 1
# Generated photos that a projection is learnt from, and how many of them are looked at in one go.
PHOTOS, BATCH = 96, 16


class SecondOrderTap:
    """Listens at a layer of ``network``; after a forward pass, :meth:`read` gives the moments of the same thread."""

    def __init__(self, network: nn.Module, layer: str, projection: Tensor) -> None:
        self.layer = layer
        self.projection = projection
        self._seen = threading.local()

        def listen(module: nn.Module, given: Any, output: Tensor) -> None:
            # Pooled at once: a later layer may write over its input.
            self._seen.moments = moments(positions(output, network), self.projection)

        network.get_submodule(layer).register_forward_hook(listen)

    @classmethod
    def of(cls, network: nn.Module, card: Card, folder: Path) -> Self:
        """The tap of a network that still runs in float32; its projection is kept in ``folder`` and learnt only once.

        Raises CardError when the network has no layer that could be tapped.
        """
        kept = folder / f"second-order-{VERSION}-{_key(card)}.safetensors"
        if (known := _read(kept)) is not None:
            return cls(network, *known)
        with waiting(f"learning what to read of {card.name}"):
            layer, projection = _learn(network, card)
        _keep(kept, layer, projection)
        return cls(network, layer, projection)

    def to(self, device: torch.device) -> Self:
        self.projection = self.projection.to(device)
        return self

    def read(self) -> Tensor:
        """The moments, (B, 64, 64), of the photos that this thread has last put through the network."""
        seen: Tensor = self._seen.moments
        return seen


def _key(card: Card) -> str:
    """Cards with the same weights share a folder; what they put through the network may differ all the same."""
    return hashlib.sha256(json.dumps(asdict(card.preprocessing), sort_keys=True).encode()).hexdigest()[:8]


def _learn(network: nn.Module, card: Card) -> tuple[str, Tensor]:
    layer = choose_layer(network, card.preprocessing.size, card.name)
    framed = [frame(photo, *card.preprocessing.framing) for photo in generated_photos(PHOTOS)]
    seen: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(
        lambda module, given, output: seen.append(positions(output, network).clone())
    )
    try:
        with torch.inference_mode():
            for start in range(0, PHOTOS, BATCH):
                network(torch.from_numpy(normalise(np.stack(framed[start : start + BATCH]), card.preprocessing)))
    finally:
        handle.remove()
    return layer, learn_projection(seen)


def _read(path: Path) -> tuple[str, Tensor] | None:
    """The layer and the projection that were kept; None when they are not there, or not as they were kept."""
    try:
        with safe_open(path, "pt") as file:
            layer, projection = (file.metadata() or {}).get("layer", ""), file.get_tensor("projection")
            is_whole = torch.equal(file.get_tensor("sha256"), _sha256(layer, projection))
    except (OSError, SafetensorError):
        return None
    return (layer, projection) if is_whole else None


def _keep(path: Path, layer: str, projection: Tensor) -> None:
    """Written whole: two processes may learn the same projection at the same time."""
    try:
        tensors = {"projection": projection.contiguous(), "sha256": _sha256(layer, projection)}
        with written_whole(path) as hidden:
            save_file(tensors, hidden, metadata={"layer": layer})
    # On a disk that is full or read-only, safetensors raises an error of its own.
    except (OSError, SafetensorError) as error:
        log.info("%s is not kept: %s; it is learnt again next time", path.name, error)


def _sha256(layer: str, projection: Tensor) -> Tensor:
    digest = hashlib.sha256(f"{layer} {tuple(projection.shape)}".encode())
    digest.update(projection.contiguous().numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
