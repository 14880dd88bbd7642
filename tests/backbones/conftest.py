"""A backbone small enough for tests: one of timm's own, with random weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from manyeyes.backbones.card import HALF, Card, Preprocessing
from manyeyes.backbones.timm_import import timm

TINY = "test_resnet.r160_in1k"


@pytest.fixture(scope="session")
def tiny_model() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model("test_resnet", pretrained=False).eval()


@pytest.fixture
def tiny_file(tiny_model: torch.nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_file(tiny_model.state_dict(), path)
    return path


@pytest.fixture
def tiny_card(tiny_model: torch.nn.Module, tiny_file: Path) -> Card:
    """A local card for the tiny net."""
    return Card(
        name="tiny",
        source=f"local:{tiny_file}",
        architecture="test_resnet",
        dimension=tiny_model.num_features,
        preprocessing=Preprocessing(size=160, crop=0.95, interpolation="bilinear", mean=HALF, std=HALF),
        labels="imagenet-1k",
    )
