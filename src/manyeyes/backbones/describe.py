"""Make a card for a backbone that no zoo holds, from what timm or the ONNX graph says of it."""

from pathlib import Path

import numpy as np

from manyeyes.backbones.card import Card, Preprocessing
from manyeyes.backbones.nets.onnx_net import open_session
from manyeyes.backbones.timm_import import timm
from manyeyes.errors import CardError


def describe_timm(name: str) -> Card:
    """A card for ``timm:NAME`` from timm's own record of those weights; the dimension is measured by a dry forward."""
    import torch

    config = timm.models.get_pretrained_cfg(name)
    if config is None:
        raise CardError(f"timm {timm.__version__} knows no weights called {name!r}")
    with torch.device("meta"):
        model = timm.create_model(name.partition(".")[0], pretrained=False, num_classes=0).eval()
        dimension = model(torch.empty(1, *config.input_size)).shape[1]
    return Card(
        name=name,
        source=f"timm:{name}",
        architecture=name.partition(".")[0],
        dimension=dimension,
        preprocessing=Preprocessing(
            size=config.input_size[-1],
            crop=config.crop_pct,
            interpolation=config.interpolation,
            mean=config.mean,
            std=config.std,
        ),
        labels="imagenet-1k" if config.num_classes == 1000 else None,
        licence=config.license,
        paper=config.paper_name,
    )


def describe_onnx(path: Path) -> Card:
    """A card for an ONNX image encoder: a ``FILE.json`` beside it when there is one, else ImageNet's usual preprocessing.

    The embedding is the graph's first two-dimensional output (what a dry run on zeros gives).
    """
    path = path.expanduser().resolve()
    beside = path.with_suffix(".json")
    if beside.is_file():
        return Card.from_file(beside)
    if not path.is_file():
        raise CardError(f"there is no ONNX file at {path}")
    session = open_session(path)
    image = session.get_inputs()[0]
    if len(image.shape) != 4 or image.shape[1] not in (3, "3"):
        raise CardError(f"{path.name}: its input is {image.shape}; an image encoder wants (batch, 3, height, width)")
    size = image.shape[2] if isinstance(image.shape[2], int) else 224
    batch = image.shape[0] if isinstance(image.shape[0], int) else 1
    outputs = session.run(None, {image.name: np.zeros((batch, 3, size, size), np.float32)})
    embedding = next((output for output in outputs if output.ndim >= 2), None)
    if embedding is None:
        raise CardError(f"{path.name} gives no output of one row a photo")
    return Card(
        name=path.stem,
        source=f"onnx:{path}",
        architecture="onnx",
        net="onnx",
        dimension=int(np.prod(embedding.shape[1:])),
        preprocessing=Preprocessing(size=size),
    )
