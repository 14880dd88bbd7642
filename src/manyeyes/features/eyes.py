"""Which eyes look: all that another process, or another machine, needs to know to load the same backbones."""

from dataclasses import dataclass

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import Precision
from manyeyes.home import network_off


@dataclass(frozen=True)
class Eyes:
    """Cards, and how they are loaded (see :meth:`Backbone.load`)."""

    cards: tuple[Card, ...]
    taps: tuple[str, ...]
    precision: Precision = "fp32"
    accept_undeclared_licence: bool = False
    offline: bool = False

    def load(self) -> list[Backbone]:
        """The backbones; weights that are not on this machine are fetched, unless ``offline``."""
        with network_off(self.offline):
            return [
                Backbone.load(card, self.accept_undeclared_licence, self.taps, self.precision) for card in self.cards
            ]
