"""Two tiny backbones that need no network: one with a source head, one without, and with different framings."""

import copy
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import HALF, Card, Preprocessing
from manyeyes.backbones.timm_import import timm
from manyeyes.features.table import FeatureTable

from .stored import run, same_chunks

CARDS = {
    "resnet": ("test_resnet", "imagenet-1k", Preprocessing(size=32, crop=0.95, interpolation="bilinear")),
    "byobnet": ("test_byobnet", None, Preprocessing(size=40, crop=0.875, mean=HALF, std=HALF)),
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    home = tmp_path_factory.mktemp("weights")
    backbones = {}
    with pytest.MonkeyPatch.context() as environment, torch.random.fork_rng():
        environment.setenv("MANYEYES_HOME", str(home))
        torch.manual_seed(0)
        for name, (architecture, labels, preprocessing) in CARDS.items():
            model = timm.create_model(architecture, pretrained=False)
            save_file(model.state_dict(), home / f"{name}.safetensors")
            source = f"local:{home / name}.safetensors"
            card = Card(name, source, architecture, model.num_features, preprocessing, labels=labels)
            backbones[name] = Backbone.load(card)
    return backbones


@pytest.fixture
def backbones(prepared: dict[str, Backbone]) -> list[Backbone]:
    """The backbones of ``CARDS``, their networks not built yet."""
    return [copy.copy(backbone) for backbone in prepared.values()]


def write_photos(folder: Path, count: int) -> list[str]:
    """That many photos in a new folder, each unlike the others; their paths."""
    folder.mkdir()
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        colours = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((48, 36), Image.Resampling.BICUBIC).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def photos(tmp_path: Path) -> Callable[[int], list[str]]:
    return lambda count: write_photos(tmp_path / "photos", count)


@pytest.fixture(scope="session")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two hundred photos that no test may change."""
    return write_photos(tmp_path_factory.mktemp("many") / "photos", 200)


@pytest.fixture
def paths(many_photos: list[str]) -> list[str]:
    return many_photos


@pytest.fixture(scope="session")
def keys(many_photos: list[str]) -> list[str]:
    """What the store calls the two hundred photos."""
    hashes = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in many_photos]
    assert len(set(hashes)) == len(many_photos)
    return hashes


@pytest.fixture(scope="session")
def truth(
    many_photos: list[str], prepared: dict[str, Backbone], tmp_path_factory: pytest.TempPathFactory
) -> FeatureTable:
    """What an uninterrupted run gives for them."""
    return run(many_photos, list(prepared.values()), tmp_path_factory.mktemp("truth")).table


@pytest.fixture(name="same_chunks")
def in_same_chunks() -> Iterator[None]:
    """Runs in this process write the chunks that those of children write."""
    with same_chunks():
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store of a test lies, or will lie."""
    return tmp_path / "features"
