"""What ``manyeyes adapt --method supernet`` tells of its search: all paths as data, the best as table and figure."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manyeyes.adapt.supernet.finding import Budget, Found
    from manyeyes.adapt.supernet.search import Candidate
    from manyeyes.study.paths import PathSearch

SEARCH, TABLE, FIGURE = "search.json", "front.md", "front"


def write_search(found: "Found", facts: dict[str, Any], folder: Path) -> None:
    """Every path that was judged, and what the chosen one takes."""
    from manyeyes.adapt.supernet.supernet import seconds_of

    supernet, full = found.supernet, found.supernet.space.full
    supernet.bank.cpu()  # where the path has been since it was folded
    costs = {
        "full": dataclasses.asdict(supernet.cost(full)) | {"seconds": supernet.seconds(full)},
        "chosen": dataclasses.asdict(supernet.cost(found.chosen.path)) | {"seconds": seconds_of(found.bank)},
    }
    record = facts | {
        "genes": [dataclasses.asdict(gene) for gene in supernet.space.genes],
        "chosen": found.chosen.path,
        "costs": costs,
        "paths": [
            {"path": one.path, "macs": one.macs, "loss": one.score.loss, **one.score.metrics}
            for one in found.candidates
        ],
    }
    _write(json.dumps(record, indent=1), folder / SEARCH)


def draw_search(shown: "PathSearch", title: str, folder: Path) -> bool:
    """Write the front as a table, and draw it where matplotlib is installed: whether it is."""
    from manyeyes.study.paths_text import front_table, front_text

    _write(f"# {title}\n\n{front_text(shown)}\n\n{front_table(shown)}\n", folder / TABLE)
    try:
        from manyeyes.study.figures.pareto import draw_front
    except ImportError:
        return False
    from manyeyes.study.figures.style import house_style, save

    with house_style():
        save(draw_front(shown, title), folder, FIGURE)
    return True


def search_text(shown: "PathSearch", folder: Path, is_drawn: bool) -> str:
    """What there is to see, and where."""
    from manyeyes.study.paths_text import front_text

    words = f"{front_text(shown)} All of the front is in {folder / TABLE}"
    figure = f", and drawn in {folder / FIGURE}.svg" if is_drawn else "; to draw it: pip install 'manyeyes[study]'"
    return words + figure


def _write(text: str, file: Path) -> None:
    from manyeyes.errors import AdaptError
    from manyeyes.writing import written_whole

    try:
        with written_whole(file) as hidden:
            hidden.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AdaptError(f"{file} cannot be written: {error.strerror}") from None


def shown_search(found: "Found", budget: "Budget") -> "PathSearch":
    """The search as its table and figure show it."""
    from manyeyes.study.paths import Choice, JudgedPath, Metric, PathSearch

    space = found.supernet.space

    def judged(one: "Candidate") -> JudgedPath:
        choices = tuple(Choice(_own(block), kind, value) for (block, kind), value in space.choices(one.path).items())
        return JudgedPath(one.macs, one.score.loss, next(iter(one.score.metrics.values())), choices)

    full = next(one for one in found.candidates if one.path == space.full)
    objective, name = found.course.objective, next(iter(full.score.metrics))
    metric, limit = Metric(name, objective.unit, objective.more_is_better, decimals=1), budget.macs(full.macs)
    behind = {number: frozenset(map(_own, blocks)) for number, blocks in space.behind.items()}
    return PathSearch(tuple(map(judged, found.candidates)), judged(full), judged(found.chosen), limit, metric, behind)


def _own(block: str) -> str:
    """As timm calls it."""
    return block.removeprefix("model.")
