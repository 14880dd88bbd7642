"""Cards whose weights come from a hub: the paper's five backbones, and small modern ones."""

from manyeyes.backbones.card import Card

PAPER: tuple[Card, ...] = ()
MODERN: tuple[Card, ...] = ()
