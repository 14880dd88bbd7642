"""Which eyes look: all that another process, or another machine, needs to know to load the same backbones."""

from dataclasses import dataclass

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import Precision, PrecisionChoice
from manyeyes.home import network_off


@dataclass(frozen=True)
class Eyes:
    """Cards, and how they are loaded (see :meth:`Backbone.load`).

    ``precision`` is that of all of them, or one for each: what ``auto`` means differs between machines.
    """

    cards: tuple[Card, ...]
    taps: tuple[str, ...]
    precision: PrecisionChoice | tuple[Precision, ...] = "auto"
    engine: str = "auto"
    batch_size: int | None = None
    accept_undeclared_licence: bool = False
    offline: bool = False

    def load(self) -> list[Backbone]:
        """The backbones; weights that are not on this machine are fetched, unless ``offline``."""
        of_each = self.precision if isinstance(self.precision, tuple) else [self.precision] * len(self.cards)
        with network_off(self.offline):
            return [
                Backbone.load(card, self.accept_undeclared_licence, self.taps, precision, self.engine, self.batch_size)
                for card, precision in zip(self.cards, of_each, strict=True)
            ]
