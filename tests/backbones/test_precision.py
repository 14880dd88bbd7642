"""What `auto` means as a precision: bfloat16 only where it was checked, on what multiplies in it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from manyeyes.backbones.card import Card
from manyeyes.backbones.cards.mirror import MIRROR
from manyeyes.backbones.engines import precision
from manyeyes.backbones.engines.cuda_engine import CudaEngine
from manyeyes.backbones.engines.precision import resolve
from manyeyes.errors import UnknownNameError

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "precision.json"


def test_cards_are_marked_as_the_check_on_real_photos_says() -> None:
    checked = [card.name for card in MIRROR if card.bf16_checked]
    assert checked == json.loads(RESULTS.read_text())["passed"]


@pytest.mark.parametrize("is_checked", [False, True])
@pytest.mark.parametrize("processor", [set(), {"avx512_bf16"}, {"amx_bf16"}])
@pytest.mark.parametrize(
    ("gpu", "engine"), [(None, "auto"), (None, "torch"), (True, "torch"), (True, "auto"), (False, "cuda")]
)
def test_auto(tiny_card: Card, monkeypatch, is_checked, processor, gpu, engine) -> None:
    """``gpu``: whether it multiplies in bfloat16; None where there is none."""
    monkeypatch.setattr(CudaEngine, "why_not", lambda self: "" if gpu is not None else "none")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    monkeypatch.setattr(precision, "processor", lambda: dict.fromkeys(processor, True))
    card = replace(tiny_card, bf16_checked=is_checked)
    has_bf16 = bool(processor) if gpu is None or engine == "torch" else gpu
    assert resolve("auto", card, engine) == ("bf16" if is_checked and has_bf16 else "fp32")
    for choice in ("fp32", "bf16"):
        assert resolve(choice, card, engine) == choice


def test_a_precision_that_does_not_exist(tiny_card: Card) -> None:
    with pytest.raises(UnknownNameError, match="'fp16' is not one of the precisions: choose from auto, fp32, bf16"):
        resolve("fp16", tiny_card, "auto")
