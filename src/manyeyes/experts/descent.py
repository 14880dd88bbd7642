"""Search a small grid of parameters by walking downhill: a tenth of the evaluations of trying every point."""

from collections.abc import Callable, Mapping, Sequence

Point = dict[str, float]


def descend(loss: Callable[..., float], axes: Mapping[str, Sequence[float]], start: Point) -> Point:
    """The point from which no single step along one axis lowers the loss, reached from ``start`` (one of the grid's).

    ``loss`` takes a point's coordinates by name. Each point is evaluated at most once; deterministic.
    """
    known: dict[tuple[int, ...], float] = {}

    def at(place: tuple[int, ...]) -> float:
        if place not in known:
            known[place] = loss(**_point(axes, place))
        return known[place]

    here = tuple(axis.index(start[name]) for name, axis in axes.items())
    improved = True
    while improved:
        improved = False
        for axis, values in enumerate(axes.values()):
            for step in (1, -1):
                # Once a direction is good, it is followed to its end.
                while 0 <= here[axis] + step < len(values):
                    there = (*here[:axis], here[axis] + step, *here[axis + 1 :])
                    if at(there) >= at(here):
                        break
                    here, improved = there, True
    return _point(axes, here)


def _point(axes: Mapping[str, Sequence[float]], place: tuple[int, ...]) -> Point:
    return {name: values[index] for (name, values), index in zip(axes.items(), place, strict=True)}
