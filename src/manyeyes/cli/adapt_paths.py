"""What ``manyeyes adapt --method supernet`` tells of its search: all paths as data, the best as table and figure."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manyeyes.adapt.supernet.search import Candidate
    from manyeyes.adapt.supernet.supernet import Supernet
    from manyeyes.study.paths import Metric, PathSearch

SEARCH, TABLE, FIGURE = "search.json", "front.md", "front"


def write_search(
    supernet: "Supernet", candidates: "list[Candidate]", chosen: "Candidate", facts: dict[str, Any], folder: Path
) -> None:
    """Every path that was judged, and what it would take."""
    from manyeyes.errors import AdaptError
    from manyeyes.writing import written_whole

    genes = [dataclasses.asdict(gene) for gene in supernet.space.genes]
    paths = [{"path": one.path, "macs": one.macs, "loss": one.score.loss, **one.score.metrics} for one in candidates]
    cost, full = supernet.cost(chosen.path), supernet.cost(supernet.space.full)
    measured = {
        name: dataclasses.asdict(one) | {"seconds": supernet.seconds(path)}
        for name, path, one in (("full", supernet.space.full, full), ("chosen", chosen.path, cost))
    }
    found = facts | {"genes": genes, "chosen": chosen.path, "costs": measured, "paths": paths}
    try:
        with written_whole(folder / SEARCH) as hidden:
            hidden.write_text(json.dumps(found, indent=1), encoding="utf-8")
    except OSError as error:
        raise AdaptError(f"{folder / SEARCH} cannot be written: {error.strerror}") from None


def draw_search(
    supernet: "Supernet",
    candidates: "list[Candidate]",
    chosen: "Candidate",
    budget: float,
    title: str,
    folder: Path,
) -> str:
    """Write the front as a table, and draw it where matplotlib is installed. Returns what there is to see in words."""
    from manyeyes.study.paths_text import front_table, front_text

    found = _found(supernet, candidates, chosen, budget)
    (folder / TABLE).write_text(f"# {title}\n\n{front_text(found)}\n\n{front_table(found)}\n", encoding="utf-8")
    words = f"{front_text(found)} All of the front is in {folder / TABLE}"
    try:
        from manyeyes.study.figures.pareto import draw_front
    except ImportError:
        return f"{words}; to draw it: pip install 'manyeyes[study]'"
    from manyeyes.study.figures.style import house_style, save

    with house_style():
        save(draw_front(found, title), folder, FIGURE)
    return f"{words}, and drawn in {folder / FIGURE}.svg"


def _found(supernet: "Supernet", candidates: "list[Candidate]", chosen: "Candidate", budget: float) -> "PathSearch":
    from manyeyes.study.paths import Choice, JudgedPath, PathSearch

    space = supernet.space
    metric = _metric(next(iter(chosen.score.metrics)))

    def judged(one: "Candidate") -> JudgedPath:
        choices = tuple(Choice(block, kind, value) for (block, kind), value in space.choices(one.path).items())
        return JudgedPath(one.macs, one.score.loss, next(iter(one.score.metrics.values())), choices)

    full = next(one for one in candidates if one.path == space.full)
    paths = tuple(map(judged, candidates))
    return PathSearch(paths, judged(full), judged(chosen), budget, metric, space.behind)


def _metric(name: str) -> "Metric":
    from manyeyes.study.paths import Metric

    if name == "mean absolute error":
        return Metric(name, "years", more_is_better=False, decimals=1)
    return Metric(name, "%", decimals=1)
