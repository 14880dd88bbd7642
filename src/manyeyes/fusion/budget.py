"""What photos may cost, as people say it: a share of what all cost, MACs, milliseconds; or what is to be kept."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self, get_args

from manyeyes.backbones.card import Card
from manyeyes.errors import ChoiceError

Unit = Literal["share", "macs", "ms", "kept"]
SCALES = {"": 1.0, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Budget:
    """What a photo may cost on the mean.

    number : above 0; a share is 1 at most. unit : of the number, and of the costs that it is about: "share" of the
    multiply-accumulates of all backbones, "macs", or "ms", milliseconds measured on this machine. Or "kept": as little
    as keeps such a share of the accuracy of all backbones.

    Raises ChoiceError for others.
    """

    number: float
    unit: Unit = "share"

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise ChoiceError(f"a budget is a share, macs, ms or kept, not {self.unit!r}")
        is_share = self.unit in ("share", "kept")
        if not 0 < self.number < float("inf") or (is_share and self.number > 1):
            what = "what is to be kept" if self.unit == "kept" else "a budget"
            raise ChoiceError(f"{what} is a number above 0{' and up to 1' if is_share else ''}, not {self.number:g}")

    @classmethod
    def read(cls, text: str, unit: Unit) -> Self:
        """As people write it in a unit: ``0.2``, ``500M``, ``12``. Raises ChoiceError for anything else."""
        if unit == "macs":
            return cls.of_macs(text)
        try:
            return cls(float(text), unit)
        except ValueError:
            raise ChoiceError(f"a budget is a number here, not {text!r}") from None

    @classmethod
    def of_macs(cls, text: str) -> Self:
        """``500M`` or ``1.2G``. Raises ChoiceError for anything else.

        >>> Budget.of_macs("1.2G")
        Budget(number=1200000000.0, unit='macs')
        """
        found = re.fullmatch(r"(\d*\.?\d+)([MG]?)", text)
        if found is None:
            raise ChoiceError(f"a budget of MACs is a number such as 500M or 1.2G, not {text!r}")
        return cls(float(found[1]) * SCALES[found[2]], "macs")

    def check(self, costs: Mapping[str, float]) -> None:
        """Raise ChoiceError for a budget within which not even the cheapest backbone is."""
        share, least = self.share(costs), min(costs.values()) / sum(costs.values())
        if least > share * (1 + 1e-9):
            raise ChoiceError(
                f"a budget of {share:.1%} of what all backbones take is too small: the cheapest takes {least:.1%}"
            )

    def share(self, costs: Mapping[str, float]) -> float:
        """Of what all backbones cost, in the budget's unit; 1 for a budget that is enough for all.

        >>> Budget(2.0, "ms").share({"small": 1.0, "large": 4.0})
        0.4
        """
        return self.number if self.unit == "share" else min(self.number / sum(costs.values()), 1.0)


def macs_of(cards: Iterable[Card]) -> dict[str, float]:
    """For one photo of a card's own size, by name. Raises ChoiceError for a card that does not tell."""
    macs = {card.name: 1e9 * (card.macs or 0) for card in cards}
    if unknown := [name for name, number in macs.items() if not number]:
        raise ChoiceError(
            f"the card of {', '.join(unknown)} does not tell its MACs: write them there, or give a budget in ms"
        )
    return macs
