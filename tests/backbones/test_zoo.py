import json

import pytest

from manyeyes.backbones.card import Card
from manyeyes.backbones.cards.hub import PAPER
from manyeyes.backbones.cards.lite import LITE
from manyeyes.backbones.zoo import ZOOS, known_cards, read_zoo
from manyeyes.errors import CardError, UnknownNameError


@pytest.mark.parametrize("name", ZOOS.names())
def test_every_zoo_is_read_by_name(name):
    assert read_zoo(name) == ZOOS[name]
    assert ZOOS[name]


def test_names_are_unique_over_all_zoos():
    for zoo in ZOOS.names():
        for card in ZOOS[zoo]:
            assert known_cards()[card.name] == card


def test_every_card_is_read_by_name():
    for name, card in known_cards().items():
        assert read_zoo(name) == (card,)


def test_zoos_cards_and_sources_keep_their_order_and_come_once():
    first, second, third = LITE
    assert read_zoo(f" {second.name}, lite ,{third.name},lite") == (second, first, third)


def test_weights_that_we_have_a_card_for_are_described_by_it():
    assert read_zoo("paper,timm:resnet50.tv_in1k") == PAPER


def test_other_weights_of_timm_are_described():
    (card,) = read_zoo("timm:test_vit.r160_in1k")
    assert (card.name, card.source, card.labels) == ("test_vit.r160_in1k", "timm:test_vit.r160_in1k", "imagenet-1k")


@pytest.mark.parametrize("text", ["no-such", "lite,no-such", "ftp:x", "lite mobilenet-v2"])
def test_unknown_names_are_told_what_there_is(text):
    with pytest.raises(UnknownNameError, match=r"is no zoo \(lite, .*\), no card .* and no source"):
        read_zoo(text)


def test_empty_words_are_passed_over():
    assert read_zoo(" ,lite,, ") == LITE


@pytest.mark.parametrize("text", ["", " , "])
def test_an_empty_zoo_is_refused(text):
    with pytest.raises(UnknownNameError, match=r"the zoo is empty: name a zoo \(lite, .*\), cards or sources"):
        read_zoo(text)


@pytest.mark.parametrize("text", ["hf-hub:timm/resnet18", "wheel:toy==1.0#w.pth", "npm:toy@1.0#w"])
def test_sources_that_need_a_card_say_so(text):
    with pytest.raises(
        UnknownNameError, match=r"write a card with this source into FOLDER/card\.json, and name local:"
    ):
        read_zoo(text)


def test_two_cards_of_one_name_are_refused(tmp_path):
    for number in "12":
        (tmp_path / number).mkdir()
        card = Card("mine", "local:w.pth", "resnet18", 512)
        (tmp_path / number / "card.json").write_text(json.dumps(card.to_dict()))
    assert len(read_zoo(f"local:{tmp_path}/1,local:{tmp_path}/1")) == 1
    with pytest.raises(CardError, match="two different cards are called 'mine'"):
        read_zoo(f"local:{tmp_path}/1,local:{tmp_path}/2")
