"""A card: everything that must be known to use one backbone rightly. Config as data."""

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from manyeyes.errors import CardError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
ChannelOrder = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)

# Sources that are a path on this machine.
LOCAL_SCHEMES = ("local", "onnx")


def _are_numbers(values: tuple[object, ...]) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


@dataclass(frozen=True)
class Preprocessing:
    """From an upright RGB photo to a backbone's input.

    The shorter side is resized to ``size / crop`` pixels, the centre ``size`` × ``size`` is cut out, the channels are
    put in ``channels`` order, and ``(x - mean) / std`` is applied to values in [0, 1]. Mean and std are in that order.
    """

    size: int = 224
    crop: float = 0.875
    interpolation: Interpolation = "bicubic"
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    channels: ChannelOrder = "rgb"

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.crop <= 1:
            raise CardError(f"preprocessing wants size >= 1 and 0 < crop <= 1, not size={self.size}, crop={self.crop}")
        if self.interpolation not in get_args(Interpolation):
            raise CardError(f"interpolation {self.interpolation!r} is not one of {', '.join(get_args(Interpolation))}")
        if self.channels not in get_args(ChannelOrder):
            raise CardError(f"channels {self.channels!r} is neither 'rgb' nor 'bgr'")
        if len(self.mean) != 3 or len(self.std) != 3 or not _are_numbers(self.mean + self.std) or min(self.std) <= 0:
            raise CardError("mean and std want three numbers each, and a std above zero")

    def at(self, size: int | None) -> "Preprocessing":
        """The same for photos of another size, in pixels; None for its own."""
        return self if size is None else dataclasses.replace(self, size=size)

    @property
    def framing(self) -> tuple[int, float, Interpolation]:
        """What decides the resized pixels: backbones with the same framing share them."""
        return self.size, self.crop, self.interpolation


@dataclass(frozen=True)
class Card:
    """One backbone's record.

    Parameters
    ----------
    name : how the user calls it.
    source : ``scheme:where[#inside]``, for instance ``wheel:PACKAGE==VERSION#FILE`` or ``timm:resnet50.a1_in1k``;
        for a file on this machine ``local:PATH`` or ``onnx:PATH``.
    architecture : the network's name in timm, or a word of its own for other nets.
    dimension : length of the embedding ``h``, as a forward pass gives it.
    preprocessing : what the weights were trained to see.
    net : which of :data:`manyeyes.backbones.nets.NETS` reads the file and builds the network.
    sha256 : of the downloaded package or file; None when the source pins its own content (a hub) or is a local file.
    labels : the label space of the source head, or None when the weights have no head.
    macs : multiply-accumulates for one photo, in units of 10⁹ (GMACs).
    licence : SPDX name of the weights' licence; None when their publisher declares none.
    paper : where the network is described.
    reference : eight numbers of the embedding of a generated photo (:mod:`manyeyes.backbones.verify`).
    bf16_checked : a check on real photos has shown that heads on its bfloat16 features are as accurate as on its
        float32 ones (``benchmarks/precision.py``), so that bfloat16 may be used unasked.
    """

    name: str
    source: str
    architecture: str
    dimension: int
    preprocessing: Preprocessing = Preprocessing()
    net: str = "timm"
    sha256: str | None = None
    labels: str | None = None
    macs: float | None = None
    licence: str | None = None
    paper: str | None = None
    reference: tuple[float, ...] = ()
    bf16_checked: bool = False

    def __post_init__(self) -> None:
        if not self.name or ":" not in self.source or self.dimension < 1:
            raise CardError(f"card {self.name!r} wants a name, a source 'scheme:where' and a dimension of 1 or more")
        if set(self.name) & set("/\\\0") or self.name.startswith("."):
            raise CardError(f"card name {self.name!r} cannot name a folder: leave out slashes and a leading dot")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise CardError(f"card {self.name!r}: its sha256 wants 64 hex digits, not {self.sha256!r}")
        if not _are_numbers(self.reference):
            raise CardError(f"card {self.name!r}: its reference wants finite numbers, not {self.reference}")

    @property
    def scheme(self) -> str:
        return self.source.partition(":")[0]

    @property
    def is_local(self) -> bool:
        """True when the source is a path on this machine."""
        return self.scheme in LOCAL_SCHEMES

    @property
    def where(self) -> str:
        """The source without its scheme and without the part behind ``#`` (which is a letter like others in a path)."""
        place = self.source.partition(":")[2]
        return place if self.is_local else place.partition("#")[0]

    @property
    def inside(self) -> str:
        """The part of the source behind ``#``: a file or folder inside a package, or empty."""
        return "" if self.is_local else self.source.partition("#")[2]

    @property
    def key(self) -> str:
        """Sixteen hex digits that change with whatever changes the weights on disk.

        Where a file on this machine lies changes nothing, if the card pins what is in it.
        """
        source = self.scheme if self.is_local and self.sha256 else self.source
        identity = [source, self.sha256, self.net, self.architecture, self.labels]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Card":
        """The card whose :meth:`to_dict` this is (after a way through JSON too). Raises CardError for any other."""
        try:
            inner = dict(fields.get("preprocessing", {}))
            for name in ("mean", "std"):
                if name in inner:
                    inner[name] = tuple(inner[name])
            others = {name: value for name, value in fields.items() if name not in ("preprocessing", "reference")}
            return cls(**others, preprocessing=Preprocessing(**inner), reference=tuple(fields.get("reference", ())))
        # Foreign JSON can be wrong in any way: a list for the card, a word for a number, a field too many or too few.
        except (TypeError, ValueError, AttributeError) as error:
            raise CardError(f"not a card: {error}") from None

    @classmethod
    def from_file(cls, path: Path) -> "Card":
        """The card in a JSON file. The path of a local source may be relative to the folder that the file lies in."""
        try:
            card = cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, CardError) as error:
            raise CardError(f"no card can be read from {path}: {error}") from None
        if not card.is_local:
            return card
        place = path.expanduser().resolve().parent / Path(card.where).expanduser()
        return dataclasses.replace(card, source=f"{card.scheme}:{place}")
