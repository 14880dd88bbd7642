"""Zoos and cards by name, and cards made on the spot from what a user points at."""

from pathlib import Path
from typing import Any

from manyeyes.backbones.card import Card
from manyeyes.backbones.sources import SOURCES
from manyeyes.errors import CardError, UnknownNameError
from manyeyes.registry import Registry

ZOOS = Registry(
    "zoos",
    {
        "lite": "manyeyes.backbones.cards.lite:LITE",
        "mirror": "manyeyes.backbones.cards.mirror:MIRROR",
        "paper": "manyeyes.backbones.cards.hub:PAPER",
        "modern": "manyeyes.backbones.cards.hub:MODERN",
    },
)


def known_cards() -> dict[str, Card]:
    """Every card of every zoo, by name."""
    return {card.name: card for zoo in ZOOS.names() for card in ZOOS[zoo]}


def read_zoo(text: str) -> tuple[Card, ...]:
    """The cards that ``text`` names: a zoo, or a comma-separated list of zoos, cards and sources, in that order.

    A source is ``timm:NAME``, ``onnx:FILE``, or ``local:FOLDER`` with a ``card.json`` in it.

    >>> [card.name for card in read_zoo("mobilenet-v2,lite")]
    ['mobilenet-v2', 'efficientnet-lite0', 'efficientnet-lite2']
    """
    words = [word for part in text.split(",") if (word := part.strip())]
    if not words:
        raise UnknownNameError(f"the zoo is empty: name a zoo ({', '.join(ZOOS.names())}), cards or sources")
    cards: dict[str, Card] = {}
    for word in words:
        for card in _read_word(word):
            if cards.setdefault(card.name, card) != card:
                raise CardError(f"two different cards are called {card.name!r}")
    return tuple(cards.values())


def card_from_others(fields: dict[str, Any]) -> Card:
    """The card in a file that somebody else may have made. Raises CardError for one that would run code."""
    card = Card.from_dict(fields)
    # pip runs a source package's build script: only our own cards may name one.
    if card.scheme == "sdist" and known_cards().get(card.name) != card:
        raise CardError(f"its card {card.name!r} would run code of {card.where}, and it is not one of ours")
    return card


def _read_word(word: str) -> tuple[Card, ...]:
    scheme, colon, where = word.partition(":")
    if colon and scheme in _MAKERS:
        return (_MAKERS[scheme](where),)
    if colon and scheme in SOURCES:
        raise UnknownNameError(
            f"{word!r} does not say how its network looks at photos: write a card with this source into "
            "FOLDER/card.json, and name local:FOLDER"
        )
    if word in ZOOS:
        zoo: tuple[Card, ...] = ZOOS[word]
        return zoo
    known = known_cards()
    if word not in known:
        raise UnknownNameError(
            f"{word!r} is no zoo ({', '.join(ZOOS.names())}), no card (see `manyeyes backbones list`) "
            "and no source (timm:NAME, onnx:FILE, local:FOLDER)"
        )
    return (known[word],)


def _from_timm(name: str) -> Card:
    # A card of ours for these weights knows more of them than timm's record does.
    for card in known_cards().values():
        if card.source == f"timm:{name}":
            return card
    from manyeyes.backbones.describe import describe_timm

    return describe_timm(name)


def _from_onnx(path: str) -> Card:
    from manyeyes.backbones.describe import describe_onnx

    return describe_onnx(Path(path))


def _from_folder(path: str) -> Card:
    return Card.from_file(Path(path) / "card.json")


_MAKERS = {"timm": _from_timm, "onnx": _from_onnx, "local": _from_folder}
