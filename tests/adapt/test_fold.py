"""A folded domain is an ordinary backbone that sees what the adapted one saw."""

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
import torch
from tiny import KINDS, MODELS, SIZE, bank_of, card_of, distance, framed, same, shaken, state_of, whole_of

from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.fold import check_folder, folded_state, write_folded
from manyeyes.adapt.plan import Plan
from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.nets.timm_net import TimmNet
from manyeyes.backbones.nets.whole import FEATURES, WholeNet
from manyeyes.backbones.weights import is_here
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import AdaptError

# Card, by how timm calls a network that takes photos of these sizes: (architecture, dimension).
CARDS = {"resnet": ("test_resnet", 96), "efficientnet": ("test_efficientnet", 256), "convnext": ("test_convnext", 64)}


@pytest.mark.parametrize(
    ("kind", "method"),
    [("efficientnet-lite", "parallel"), *itertools.product(KINDS, ["parallel", "lowrank", "norms"])],
)
def test_it_sees_what_the_adapted_network_sees(kind, method):
    bank = bank_of(kind, learnt=Plan(method))
    before = bank.features(framed())
    shaken(bank["learnt"], by=0.1)
    adapted = bank.switch("learnt").features(framed())
    assert distance(adapted, before) > 0.05 or not bank.norms_size() + bank.domain_size("learnt")
    folded = whole_of(kind).eval()
    folded.network.load_state_dict(folded_state(bank, "learnt"))
    assert distance(folded(framed())[FEATURES], adapted) < 1e-5
    # The bank's own tensors were left alone.
    assert torch.equal(bank.features(framed()), adapted)
    assert torch.equal(bank.switch(None).features(framed()), before)


@pytest.fixture(params=CARDS)
def learnt(request):
    """A bank with a domain that has learnt something, and its backbone's card."""
    card = card_of(*CARDS[request.param])
    bank = bank_of(request.param, learnt=Plan())
    shaken(bank["learnt"], by=0.1)
    return bank, card


def test_it_is_a_local_backbone_like_any_other(learnt, tmp_path):
    bank, card = learnt
    made = write_folded(bank, "learnt", card, tmp_path / "made")
    (read,) = read_zoo(f"local:{tmp_path / 'made'}")
    assert read == made
    assert (made.name, made.dimension, made.labels, len(made.reference)) == ("made", card.dimension, None, 8)
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["card.json", "weights.safetensors"]
    assert not is_here(made)
    embedded = Backbone.load(made).embed(framed().numpy())
    adapted = bank.switch("learnt").features(framed())
    assert distance(torch.from_numpy(embedded.blocks[FINAL]), adapted) < 1e-5
    assert embedded.label_index is None


def test_a_source_head_is_left_behind(tmp_path):
    card = dataclasses.replace(card_of(), labels="imagenet-1k")
    bank = DomainBank(WholeNet(TimmNet().build(card), card.preprocessing), SIZE)
    bank.put_new("learnt", ("a", "b"), Plan())
    shaken(bank["learnt"], by=0.1)
    before = state_of(bank)
    made = write_folded(bank.train(), "learnt", card, tmp_path / "made")
    assert made.labels is None
    assert bank.training
    assert bank.active is None
    assert same(state_of(bank), before)
    assert Backbone.load(made).embed(framed().numpy()).blocks[FINAL].shape == (3, 96)


def test_the_same_domain_folds_to_the_same_bytes(learnt, tmp_path):
    bank, card = learnt
    for name in ("one", "two"):
        write_folded(bank, "learnt", card, tmp_path / name / "made")
    for file in ("card.json", "weights.safetensors"):
        assert (tmp_path / "one" / "made" / file).read_bytes() == (tmp_path / "two" / "made" / file).read_bytes()
    card = json.loads((tmp_path / "one" / "made" / "card.json").read_text())
    assert card["source"] == "local:weights.safetensors"


def test_series_adapters_cannot_be_folded(tmp_path):
    bank = bank_of(learnt=Plan("series"))
    with pytest.raises(AdaptError, match="series adapters cannot be folded into weights: adapt with parallel"):
        write_folded(bank, "learnt", card_of(), tmp_path / "made")
    with pytest.raises(AdaptError, match="series adapters cannot be folded"):
        check_folder(tmp_path / "made", "series")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".", ".half", "file/half"])
def test_a_folder_that_can_name_no_backbone_is_told_before_any_work(tmp_path, monkeypatch, name):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AdaptError, match=r"names no backbone|is not empty|cannot be written: Not a directory"):
        check_folder(Path(name))


def test_what_the_folded_network_misses_is_noticed(tmp_path, monkeypatch):
    """Weights that a layer standardises before it uses them, for one."""
    monkeypatch.setitem(MODELS, "nfnet", lambda: TimmNet().build(card_of("test_nfnet", 192)).model)
    bank = bank_of("nfnet", learnt=Plan())
    shaken(bank["learnt"])
    with pytest.raises(AdaptError, match=r"the folded network misses what the adapted one sees by .* of the largest"):
        write_folded(bank, "learnt", card_of("test_nfnet", 192), tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_free_is_refused_and_left_alone(tmp_path):
    bank = bank_of(learnt=Plan("norms"))
    (tmp_path / "empty").mkdir()
    write_folded(bank, "learnt", card_of(), tmp_path / "empty")
    (tmp_path / "file").write_text("years of work")
    for name in ("empty", "file"):
        with pytest.raises(AdaptError, match=f"{name} is not empty: choose another folder"):
            write_folded(bank, "learnt", card_of(), tmp_path / name)
    assert (tmp_path / "file").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    bank = bank_of(learnt=Plan("norms"))
    (tmp_path / "file").touch()
    with pytest.raises(AdaptError, match=r"file/made cannot be written: Not a directory"):
        write_folded(bank, "learnt", card_of(), tmp_path / "file" / "made")
