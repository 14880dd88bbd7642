"""Names to classes: one line here, or one packaging entry point in somebody else's package.

A registry maps a name to an import path, so that listing the names imports nothing heavy.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from manyeyes.errors import UnknownNameError


class Registry:
    """The named choices of one kind, from our own table and from the entry points of ``manyeyes.<kind>``.

    >>> rules = Registry("rules", {"mean": "statistics:mean"})
    >>> rules.names()
    ['mean']
    >>> rules["mean"]([1, 2, 3])
    2
    """

    def __init__(self, kind: str, table: dict[str, str]) -> None:
        self.kind = kind
        self._own = table

    def _table(self) -> dict[str, str]:
        # Our own names win: an installed package may add a choice, never silently replace one.
        return _others(self.kind) | self._own

    def names(self) -> list[str]:
        return list(self._table())

    def __contains__(self, name: object) -> bool:
        return name in self._table()

    def __getitem__(self, name: str) -> Any:
        table = self._table()
        if name not in table:
            raise UnknownNameError(f"{name!r} is not one of the {self.kind}: choose from {', '.join(sorted(table))}")
        module, _, attribute = table[name].partition(":")
        return getattr(import_module(module), attribute)


@cache
def _others(kind: str) -> dict[str, str]:
    """What other packages add. Asked once: each time, every installed package is looked through."""
    return {point.name: point.value for point in entry_points(group=f"manyeyes.{kind}")}
