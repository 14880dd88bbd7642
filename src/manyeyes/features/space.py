"""A space: all that decides an embedding but the photo itself. Its key names a folder of the feature store."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.backbones.second_order.tap import VERSION

# Raised when the meaning of what is stored changes, so that older rows are no longer found.
FORMAT = 3


@dataclass(frozen=True)
class Space:
    """``name`` is for people; ``content`` and ``format`` are what the key is made of."""

    name: str
    content: dict[str, Any]
    format: int = FORMAT

    @property
    def key(self) -> str:
        """Sixteen hex digits of the content's sha256."""
        text = json.dumps(self.content | {"format": self.format}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.key}"

    @property
    def record(self) -> bytes:
        """JSON that tells people, and :func:`space_of`, what the space is."""
        return json.dumps({"name": self.name, **self.content}, indent=1).encode()


def space_of(folder: str, record: bytes) -> Space | None:
    """The space, of this format or an older one, that a record tells of; None when its folder is called otherwise."""
    try:
        content = json.loads(record)
        name = content.pop("name")
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    spaces = (Space(name, content, version) for version in range(1, FORMAT + 1))
    return next((space for space in spaces if space.folder == folder), None)


def embedding_space(backbone: Backbone, tap: str = FINAL) -> Space:
    """The space of one tap of one backbone: weights (sha256) × preprocessing × tap × precision.

    The dimension and the label space belong to it because an ONNX graph's outputs are chosen by them.
    """
    card = backbone.card
    content = {
        "weights": backbone.weights,
        "net": card.net,
        "architecture": card.architecture,
        "dimension": card.dimension,
        "labels": card.labels,
        "preprocessing": dataclasses.asdict(card.preprocessing),
        "tap": tap,
        "precision": backbone.precision,
    }
    if tap == SECOND_ORDER:
        content["second_order"] = VERSION
    return Space(card.name if tap == FINAL else f"{card.name}.{tap}", content)


THUMBNAIL_SIDE = 64
THUMBNAILS = Space("thumbnails", {"thumbnail": THUMBNAIL_SIDE})
