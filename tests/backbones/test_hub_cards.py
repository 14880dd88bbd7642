"""What our hub cards say is what timm's own record says, and what the network really gives."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from manyeyes.backbones.cards.hub import MODERN, PAPER
from manyeyes.backbones.nets.timm_net import TimmNet
from manyeyes.backbones.sources.hub import timm_record
from manyeyes.backbones.timm_import import timm

CARDS = [pytest.param(card, id=card.name) for card in (*PAPER, *MODERN)]


@pytest.mark.parametrize("card", CARDS)
def test_agrees_with_timms_record(card):
    record = timm_record(card.where)
    wanted = card.preprocessing
    assert card.source == f"timm:{card.architecture}.{record.tag}"
    assert record.input_size == (3, wanted.size, wanted.size)
    assert (record.mean, record.std) == (wanted.mean, wanted.std)
    assert (record.interpolation, record.crop_pct, record.crop_mode) == (wanted.interpolation, wanted.crop, "center")
    assert wanted.channels == "rgb"
    assert record.license == card.licence.lower()
    assert (record.num_classes == 1000) == (card.labels == "imagenet-1k")
    assert not record.label_offset


@pytest.mark.parametrize("card", CARDS)
def test_dimension_labels_and_cost_are_those_measured(card):
    size = card.preprocessing.size
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        features, logits = TimmNet().build(card).eval()(torch.empty(1, 3, size, size))
    assert features.shape == (1, card.dimension)
    assert (logits is None) == (card.labels is None)
    assert logits is None or logits.shape == (1, 1000)
    assert card.macs == pytest.approx(counter.get_total_flops() / 2e9, rel=0.01)


def test_the_five_of_the_paper():
    assert [card.architecture for card in PAPER] == ["vgg16", "vgg19", "resnet50", "inception_v3", "legacy_xception"]


def test_all_are_published():
    assert {card.where for card in (*PAPER, *MODERN)} <= set(timm.list_pretrained())
