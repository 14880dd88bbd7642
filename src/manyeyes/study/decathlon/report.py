"""The decathlon's table, and the page that it stands on."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.stats import permutation_test

from manyeyes.study.decathlon.methods import TITLES, Method
from manyeyes.study.decathlon.run import LEAST_STEPS, Race, Result
from manyeyes.study.decathlon.score import decathlon_score


@dataclass(frozen=True)
class Table:
    """head, rows : of cells. words : how many of the first columns are words; the others are numbers."""

    head: list[str]
    rows: list[list[str]]
    words: int

    def markdown(self) -> str:
        rule = ["---"] * self.words + ["---:"] * (len(self.head) - self.words)
        return "\n".join("| " + " | ".join(line) + " |" for line in [self.head, rule, *self.rows])


def make_table(results: Sequence[Result], backbone: int) -> Table:
    """A column for each method: accuracy (%) in each domain as mean ± standard deviation over seeds, and below them the
    mean over domains, all domains' parameters as a multiple of the backbone's, the score where full fine-tuning was
    run, seconds of training. Once more for each number of photos a class, where there are several."""
    known = {one.method for one in results}
    methods = [method for method in TITLES if method in known]
    counts = sorted({one.per_class for one in results}, key=lambda count: count or 10**9)
    first = ["photos a class"] if len(counts) > 1 else []
    rows: list[list[str]] = []
    for count in counts:
        mine = [[one for one in results if (one.method, one.per_class) == (method, count)] for method in methods]
        baseline = _accuracies(results, "full", count)
        columns = [_column(some, baseline, backbone) for some in mine]
        for lines in zip(*columns, strict=True):
            label = lines[0][0]
            rows += [[*([str(count or "all")] if first else []), label, *(cell for _, cell in lines)]]
    return Table([*first, "", *(TITLES[method] for method in methods)], rows, len(first) + 1)


def _column(mine: Sequence[Result], baseline: Mapping[str, float], backbone: int) -> list[tuple[str, str]]:
    """What is told of one method, line by line: label and cell."""
    seeds = sorted({one.seed for one in mine})
    accuracies = _accuracies(mine, mine[0].method, mine[0].per_class)
    means = [float(np.mean([one.accuracy for one in mine if one.seed == seed])) for seed in seeds]
    score = [("score", f"{decathlon_score(accuracies, baseline):,.0f}")] if baseline else []
    return [
        *((name, _spread([one.accuracy for one in mine if one.domain == name])) for name in accuracies),
        ("mean", _spread(means)),
        ("parameters", f"{multiple(mine, backbone):.2f}×"),
        *score,
        ("seconds", f"{sum(one.seconds for one in mine) / len(seeds):,.0f}"),
    ]


def page(race: Race, results: Sequence[Result], table: Table, command: str, figure: Path | None = None) -> str:
    """The table with what made it, and a figure beside the page."""
    counts = []
    for domain in race.domains:
        mine = [one for one in results if one.domain == domain.name]
        trained, judged = (sorted({getattr(one, name) for one in mine}) for name in ("trained_on", "judged"))
        sizes = " / ".join(str(number) for number in trained)
        counts.append(f"{domain.name} ({len(domain.photos.classes)} classes, {sizes} to train, {judged[-1]} to judge)")
    packages = ", ".join(f"{name} {number}" for name, number in versions().items())
    parts = [
        f"# A decathlon of {len(race.domains)} domains, from {race.card.name}",
        f"{'; '.join(counts)}.",
        table.markdown(),
        f"Accuracy in %, mean ± standard deviation over {len(race.seeds)} draws of the photos. All but *from scratch* "
        "begin with the softmax regression on the frozen features for a head, and are trained for "
        f"{race.recipe.epochs} epochs or {LEAST_STEPS} steps, whichever is more (twice as many from scratch; "
        f"compressed adapters for {race.recipe.epochs} epochs more), and judged once, after the last. *Parameters*: of "
        "all domains together, without heads, in units of the backbone's. *Score*: the decathlon's, with full "
        "fine-tuning at 250 for each domain. *Seconds*: of one core's time, to train all domains.",
    ]
    if tests := against_full(results):
        parts.append(tests)
    if figure is not None:
        parts.append(f"![accuracy by photos a class]({figure.name})")
    parts.append(f"Made by `{command}` with {packages}, on {platform.machine()}, a process for each core.")
    return "\n\n".join(parts) + "\n"


def against_full(results: Sequence[Result]) -> str:
    """Each method's gain over full fine-tuning on the same photos, with a paired test; empty where that was not run."""
    lines = []
    for count in sorted({one.per_class for one in results}, key=lambda count: count or 10**9):
        full = _accuracies(results, "full", count)
        gains = {method: _accuracies(results, method, count) for method in TITLES if method != "full"}
        told = [f"{TITLES[method]} {_gain(found, full)}" for method, found in gains.items() if found and full]
        if told:
            lines.append(f"{f'{count} photos a class: ' if count else ''}{'; '.join(told)}.")
    if not lines:
        return ""
    head = (
        "**Against full fine-tuning**, in points, with the p-value of the exact paired permutation test over the "
        "domains (a domain's mean over draws is one observation)."
    )
    return " ".join([head, *lines])


def _gain(found: Mapping[str, float], full: Mapping[str, float]) -> str:
    gains = np.array([found[name] - full[name] for name in full])
    words = f"{gains.mean():+.1f}"
    if len(gains) < 2:
        return words
    # Of one sample, permutations flip signs; there are few enough domains to try them all.
    tested = permutation_test((gains,), np.mean, permutation_type="samples", n_resamples=2**16)
    return f"{words} (p = {tested.pvalue:.2g})"


def versions() -> dict[str, str]:
    """Of the packages that the figures depend on."""
    return {name: version(name) for name in ("manyeyes", "torch", "timm")}


def multiple(results: Sequence[Result], backbone: int) -> float:
    """Parameters of all domains by one method, in units of the backbone's.

    A backbone that each domain has for itself is not needed a further time.
    """
    first = [one for one in results if one.seed == results[0].seed]
    own = sum(one.own for one in first) + first[0].shared
    return own / backbone + (0 if first[0].method in ("scratch", "full") else 1)


def _accuracies(results: Sequence[Result], method: Method, per_class: int) -> Mapping[str, float]:
    """Mean accuracy in %, by domain."""
    mine = [one for one in results if (one.method, one.per_class) == (method, per_class)]
    return {
        name: 100 * float(np.mean([one.accuracy for one in mine if one.domain == name]))
        for name in dict.fromkeys(one.domain for one in mine)
    }


def _spread(values: Sequence[float]) -> str:
    percent = 100 * np.asarray(values)
    return f"{percent.mean():.1f}" + (f" ± {percent.std(ddof=1):.1f}" if len(percent) > 1 else "")
