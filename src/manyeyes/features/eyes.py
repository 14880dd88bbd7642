"""Which eyes look: all that another process, or another machine, needs to know to load the same backbones."""

from dataclasses import dataclass

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import PrecisionChoice
from manyeyes.home import network_off


@dataclass(frozen=True)
class Eyes:
    """Cards, and how they are loaded (see :meth:`Backbone.load`)."""

    cards: tuple[Card, ...]
    taps: tuple[str, ...]
    precision: PrecisionChoice = "auto"
    engine: str = "auto"
    batch_size: int | None = None
    accept_undeclared_licence: bool = False
    offline: bool = False

    def load(self) -> list[Backbone]:
        """The backbones; weights that are not on this machine are fetched, unless ``offline``."""
        how = (self.accept_undeclared_licence, self.taps, self.precision, self.engine, self.batch_size)
        with network_off(self.offline):
            return [Backbone.load(card, *how) for card in self.cards]
