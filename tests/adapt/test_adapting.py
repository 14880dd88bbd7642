"""From a card and photos to a domain, and from its file back to a bank."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_world import write_encoder, write_local
from tiny import bank_of, framed, same, shaken, some_photos, state_of

from manyeyes.adapt.adapting import Course, adapt, load_bank, open_bank, split_off
from manyeyes.adapt.compress import compressed
from manyeyes.adapt.domain_file import save_domains
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.training.pixels import Photos
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.backbones.weights import weights_sha256
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import AdaptError

RECIPE = Recipe(epochs=1, batch=12, optimiser="sgd", rate=0.05)


@pytest.fixture
def card(tmp_path):
    return read_zoo(f"local:{write_local(tmp_path / 'tiny')}")[0]


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    grouped=st.booleans(),
    seed=st.integers(0, 3),
)
def test_held_out_photos_are_of_known_classes_and_of_no_group_that_is_trained_on(labels, grouped, seed):
    labels = np.array(labels)
    groups = np.arange(len(labels)) // 3 if grouped else None
    rows = np.arange(len(labels))[::-1]
    course = split_off("x", Photos(np.empty((len(labels), 1, 1, 3)), labels, tuple("abcd"), 1), seed, groups, rows)
    assert sorted([*course.train, *course.held]) == sorted(rows)
    assert set(labels[course.held]) <= set(labels[course.train])
    if grouped:
        unknown = set(labels[course.train]) - set(labels[course.held])
        shared = set(groups[course.train]) & set(groups[course.held])
        # Only to learn a class that would else be unknown.
        assert not shared or unknown
    elif len(labels) >= 8 and min(np.bincount(labels)[np.unique(labels)]) >= 8:
        assert len(course.held) <= len(labels) / 4


def test_an_eighth_of_each_class_is_held_out():
    photos = some_photos(48)
    course = split_off("x", photos)
    assert np.bincount(photos.labels[course.held]).tolist() == [2, 2, 2]
    assert not np.array_equal(split_off("x", photos, seed=1).held, course.held)
    assert np.array_equal(split_off("x", photos).held, course.held)


def test_a_domain_learns_and_begins_with_a_head_that_serves():
    photos = some_photos(24)
    bank = bank_of()
    training = adapt(bank, [Course("one", photos, np.arange(18), np.arange(18, 24))], Plan(), RECIPE)
    assert training.held.accuracy == 1
    assert bank.names == ("one",)
    assert not bank.training
    none = adapt(
        bank, [Course("two", photos, np.arange(18), np.arange(18, 24))], Plan(), dataclasses.replace(RECIPE, epochs=0)
    )
    assert none.held.accuracy == 1


def test_the_seed_alone_decides_what_is_learnt():
    def learnt(seed):
        bank = bank_of()
        adapt(bank, [split_off("one", some_photos(24))], Plan(), dataclasses.replace(RECIPE, seed=seed))
        return state_of(bank["one"])

    first = learnt(0)
    torch.manual_seed(99)
    torch.rand(7)
    before = torch.get_rng_state()
    assert same(learnt(0), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(learnt(1), first)


@pytest.mark.parametrize("statistics", ["source", "own"])
def test_a_domain_that_joins_those_that_share_shares_too(statistics):
    bank = bank_of(one=Plan(statistics=statistics), two=Plan(statistics=statistics))
    for number, name in enumerate(bank.names):
        shaken(bank[name], by=0.05, seed=number)
    for name, domain in compressed({name: bank[name] for name in bank.names}).items():
        bank.put(name, domain)
    before = {name: state_of(bank[name]) for name in bank.names}
    rows = np.arange(24)
    adapt(bank, [Course("later", some_photos(24), rows, rows[:0])], Plan("norms"), RECIPE)
    assert all(same(state_of(bank[name]), state) for name, state in before.items())
    assert all(one.map.beta is bank["two"].adapters[site].map.beta for site, one in bank["later"].adapters.items())
    norm, source = (norms["model.bn1"] for norms in (bank["later"].norms, bank.source_norms))
    assert torch.equal(norm.running_mean, source.running_mean) == (statistics == "source")


def test_a_bank_comes_back_from_its_file_and_its_card(card, tmp_path):
    bank, sized = open_bank(card, size=48)
    assert (bank.size, sized.preprocessing.size) == (48, 48)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), np.uint8)
    photos = Photos(pixels, np.arange(12) % 2, ("a", "b"), 48)
    adapt(bank, [split_off("one", photos)], Plan(), RECIPE)
    save_domains(bank, card, weights_sha256(card), tmp_path / "d", {})
    again, card_again = load_bank(tmp_path / "d")
    assert card_again == sized
    assert torch.equal(again(torch.from_numpy(pixels), "one"), bank(torch.from_numpy(pixels), "one"))


def test_other_weights_than_those_it_was_trained_on_are_refused(card, tmp_path):
    bank, _ = open_bank(card, size=32)
    bank.put_new("one", ("a", "b"), Plan("norms"))
    save_domains(bank, card, "0" * 64, tmp_path / "d", {})
    with pytest.raises(AdaptError, match=r"d was trained on other weights of tiny than those on this machine"):
        load_bank(tmp_path / "d")


def test_a_backbone_that_is_no_torch_network_is_refused(tmp_path):
    (card,) = read_zoo(f"onnx:{write_encoder(tmp_path / 'tint.onnx', 1, size=24, dimension=6)}")
    with pytest.raises(AdaptError, match=r"tint is no torch network \(its net is 'onnx'\): it cannot be adapted"):
        open_bank(card)


def test_opening_a_bank_leaves_the_stored_weights_alone(card):
    bank, _ = open_bank(card, size=32)
    before = weights_sha256(card)
    bank.put_new("one", ("a", "b"), Plan())
    shaken(bank["one"])
    assert bank.switch("one").features(framed()).isfinite().all()
    assert weights_sha256(card) == before
    assert json.dumps(card.to_dict())
