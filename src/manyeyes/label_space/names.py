"""The names of ImageNet's classes, and the words they are made of."""

import re
from collections.abc import Container
from functools import cache

# How dictionaries and word vectors join the words of a name.
_JOINERS = ("_", "-", "")


@cache
def class_names() -> tuple[tuple[str, ...], ...]:
    """For each of ImageNet's 1,000 classes, in the order of every source head, its synonyms, best known first."""
    from manyeyes.backbones.timm_import import timm

    info = timm.data.ImageNetInfo("imagenet-1k")
    descriptions = (info.index_to_description(index) for index in range(info.num_classes()))
    return tuple(tuple(name.strip() for name in description.split(",")) for description in descriptions)


def joined(name: str) -> list[str]:
    """The tokens that may stand for the whole name.

    >>> joined("Ice cream")
    ['ice_cream', 'ice-cream', 'icecream']
    """
    return list(dict.fromkeys(joiner.join(_words(name)) for joiner in _JOINERS))


def tokens_of(name: str, known: Container[str]) -> list[str]:
    """The one token for the whole name when it is known, else the known words of the name.

    >>> tokens_of("ice cream", {"ice", "cream", "ice-cream"})
    ['ice-cream']
    >>> tokens_of("ice cream", {"ice", "cream"})
    ['ice', 'cream']
    """
    whole = [token for token in joined(name) if token in known]
    return whole[:1] or [word for word in _words(name) if word in known]


def all_tokens() -> frozenset[str]:
    """Every token that could be of use for some class."""
    names = [name for synonyms in class_names() for name in synonyms]
    return frozenset(token for name in names for token in (*joined(name), *_words(name)))


def _words(name: str) -> list[str]:
    return re.findall(r"\w+", name.lower().replace("'s", ""))
