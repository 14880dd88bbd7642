"""Which of several are best: each of two figures the lower the better."""

from collections.abc import Sequence


def on_front(losses: Sequence[float], costs: Sequence[float]) -> list[int]:
    """The numbers of those to which no other is both as good and as cheap, and in one of these better; from the
    cheapest on.

    >>> on_front([2.0, 1.0, 3.0, 2.0], [30, 50, 30, 30])
    [0, 1]
    """
    front: list[int] = []
    for index in sorted(range(len(losses)), key=lambda index: (costs[index], losses[index])):
        if not front or losses[index] < losses[front[-1]]:
            front.append(index)
    return front
