"""Make a card for a backbone that no zoo holds, from what timm or the ONNX graph says of it."""

from pathlib import Path

import numpy as np

from manyeyes.backbones.card import Card, Preprocessing
from manyeyes.backbones.nets.onnx_net import open_session, run_session
from manyeyes.backbones.nets.timm_net import has_one_head
from manyeyes.backbones.sources.hub import timm_record
from manyeyes.backbones.timm_import import timm
from manyeyes.errors import CardError


def describe_timm(name: str) -> Card:
    """A card for ``timm:NAME`` from timm's own record of those weights; the dimension is measured by a dry forward.

    A NAME without a tag means the weights that this timm prefers; the card names their tag. Raises
    UnknownNameError for weights that timm does not publish, CardError for those that do not look at square photos.
    """
    import torch

    config = timm_record(name)
    channels, height, width = config.input_size
    if channels != 3 or height != width:
        raise CardError(f"{name} looks at inputs of {config.input_size}; manyeyes gives square photos in colour")
    with torch.device("meta"):
        has_labels = (
            has_one_head(timm.create_model(config.architecture, pretrained=False)) and config.num_classes == 1000
        )
        model = timm.create_model(config.architecture, pretrained=False, num_classes=0).eval()
        dimension = model(torch.empty(1, channels, height, width)).shape[1]
    full_name = f"{config.architecture}.{config.tag}"
    return Card(
        name=full_name,
        source=f"timm:{full_name}",
        architecture=config.architecture,
        dimension=dimension,
        preprocessing=Preprocessing(
            size=height,
            crop=config.crop_pct,
            interpolation=config.interpolation,
            mean=config.mean,
            std=config.std,
        ),
        labels="imagenet-1k" if has_labels else None,
        licence=None if config.license == "unknown" else config.license,
        paper=config.paper_name,
    )


def describe_onnx(path: Path) -> Card:
    """A card for an ONNX image encoder: the ``FILE.json`` beside it when there is one, else the usual preprocessing.

    The embedding is the first output with one row of numbers a photo, in a dry run on zeros. Raises CardError for a
    graph that does not take photos or gives no such output.
    """
    path = path.expanduser().resolve()
    beside = path.with_suffix(".json")
    if beside.is_file():
        return Card.from_file(beside)
    if not path.is_file():
        raise CardError(f"there is no ONNX file at {path}")
    session = open_session(path, str(path))
    image, *others = session.get_inputs()
    if others or image.type != "tensor(float)" or len(image.shape) != 4 or image.shape[1] != 3:
        inputs = ", ".join(f"{given.name} {given.type} {given.shape}" for given in (image, *others))
        raise CardError(f"{path.name} wants {inputs}; an image encoder wants one float input (batch, 3, height, width)")
    sides = {side for side in image.shape[2:] if isinstance(side, int)} or {224}
    if len(sides) > 1:
        raise CardError(f"{path.name} looks at photos of {image.shape[2:]} pixels; manyeyes gives square ones")
    (size,) = sides
    batch = image.shape[0] if isinstance(image.shape[0], int) else 1
    outputs = run_session(session, np.zeros((batch, 3, size, size), np.float32), path.name)
    embedding = next((output for output in outputs if _is_row_a_photo(output, batch)), None)
    if embedding is None:
        shapes = [getattr(output, "shape", None) for output in outputs]
        raise CardError(f"{path.name} gives outputs of {shapes}; an image encoder gives one row of numbers a photo")
    return Card(
        name=path.stem,
        source=f"onnx:{path}",
        architecture="onnx",
        net="onnx",
        dimension=embedding.size // batch,
        preprocessing=Preprocessing(size=size),
    )


def _is_row_a_photo(output: object, batch: int) -> bool:
    """(B, D), or (B, D, 1, 1) as pooling leaves it; no map, no token sequence, no number for the whole batch."""
    shape: tuple[int, ...] = getattr(output, "shape", ())
    return len(shape) >= 2 and shape[0] == batch and sum(length > 1 for length in shape[1:]) == 1
