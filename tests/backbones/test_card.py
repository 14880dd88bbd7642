import dataclasses
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyeyes.backbones.card import Card, ChannelOrder, Interpolation, Preprocessing
from manyeyes.errors import CardError

finite = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
preprocessings = st.builds(
    Preprocessing,
    size=st.integers(1, 2000),
    crop=st.floats(0, 1, exclude_min=True),
    interpolation=st.sampled_from(get_args(Interpolation)),
    mean=st.tuples(finite, finite, finite),
    std=st.tuples(positive, positive, positive),
    channels=st.sampled_from(get_args(ChannelOrder)),
)
cards = st.builds(
    Card,
    name=st.text("abz09_-. é", min_size=1).filter(lambda name: not name.startswith(".")),
    source=st.sampled_from(["wheel:toy==1.0#net/w.pth", "timm:resnet18.a1_in1k", "local:/a b/w #2.pth"]),
    architecture=st.text(),
    dimension=st.integers(1, 10**6),
    preprocessing=preprocessings,
    net=st.text(),
    sha256=st.none() | st.from_regex("[0-9a-f]{64}", fullmatch=True),
    labels=st.none() | st.text(),
    macs=st.none() | finite,
    licence=st.none() | st.text(),
    paper=st.none() | st.text(),
    reference=st.lists(finite, max_size=8).map(tuple),
)


@given(cards)
def test_a_card_goes_through_json_and_back(card):
    again = Card.from_dict(json.loads(json.dumps(card.to_dict())))
    assert again == card
    assert again.key == card.key
    assert hash(again) == hash(card)


def test_fields_left_out_have_their_defaults():
    fields = {"name": "a", "source": "timm:a.b", "architecture": "a", "dimension": 3}
    assert Card.from_dict(fields) == Card(**fields)


GOOD = Card("toy", "wheel:toy==1.0#w.pth", "toy", 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "a\\b"},
        {"name": "../a"},
        {"name": ".hidden"},
        {"name": None},
        {"name": 7},
        {"source": "toy==1.0"},
        {"source": 7},
        {"dimension": 0},
        {"dimension": "many"},
        {"sha256": "abc"},
        {"sha256": "0" * 64 + "\n--index-url=http://127.0.0.1"},
        {"reference": "abcdefgh"},
        {"reference": [float("nan")]},
        {"reference": 3},
        {"unheard_of": 1},
        {"preprocessing": 7},
        {"preprocessing": "ab"},
        {"preprocessing": {"size": 0}},
        {"preprocessing": {"size": "224"}},
        {"preprocessing": {"crop": 0}},
        {"preprocessing": {"crop": 1.1}},
        {"preprocessing": {"crop": float("nan")}},
        {"preprocessing": {"interpolation": "linear"}},
        {"preprocessing": {"channels": "rgba"}},
        {"preprocessing": {"mean": [0.5, 0.5]}},
        {"preprocessing": {"mean": "abc"}},
        {"preprocessing": {"mean": 0.5}},
        {"preprocessing": {"mean": [float("nan"), 0.5, 0.5]}},
        {"preprocessing": {"std": [0.5, 0, 0.5]}},
        {"preprocessing": {"std": ["0.5", "0.5", "0.5"]}},
        {"preprocessing": {"unheard_of": 1}},
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields):
    Card.from_dict(GOOD.to_dict())
    with pytest.raises(CardError):
        Card.from_dict(GOOD.to_dict() | fields)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"card"', "{}", '{"name": "toy"}', "\xff"])
def test_a_file_that_is_no_card_is_named(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CardError, match=r"no card can be read from .*card\.json"):
        Card.from_file(path)


def test_a_source_has_three_parts():
    assert (GOOD.scheme, GOOD.where, GOOD.inside, GOOD.is_local) == ("wheel", "toy==1.0", "w.pth", False)
    local = Card("toy", "local:/c#/w.pth", "toy", 3)
    assert (local.scheme, local.where, local.inside, local.is_local) == ("local", "/c#/w.pth", "", True)


@pytest.mark.parametrize(
    ("fields", "is_other"),
    [
        ({"source": "wheel:toy==1.1#w.pth"}, True),
        ({"sha256": "0" * 64}, True),
        ({"architecture": "other"}, True),
        ({"net": "other"}, True),
        ({"labels": "imagenet-1k"}, True),
        ({"licence": "MIT"}, False),
        ({"preprocessing": Preprocessing(size=100)}, False),
    ],
)
def test_the_key_changes_with_the_weights_and_only_with_them(fields, is_other):
    assert (dataclasses.replace(GOOD, **fields).key != GOOD.key) == is_other
