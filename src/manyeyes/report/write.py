"""A report as one file of HTML."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from manyeyes.images.photo import readable
from manyeyes.predictions import Vote
from manyeyes.report import words
from manyeyes.report.findings import Findings, find
from manyeyes.report.judged import Index, Judged
from manyeyes.report.pictures import pictures
from manyeyes.report.reliability import reliability_diagram
from manyeyes.report.suspects import Pair, likely_mislabelled, near_duplicates
from manyeyes.version import __version__
from manyeyes.writing import written_whole

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

# Photos in the gallery, and what all their pictures may take.
MOST_PHOTOS, MOST_BYTES = 1000, 4_200_000
# Classes beyond which the confusion matrix shows only those that are confused; pairs and doubts that are shown.
MOST_CLASSES, MOST_SHOWN = 40, 24
# Probable classes and votes of a photo that are told.
TOP = 5


def write_report(model: "ManyEyesClassifier", judged: Judged, output: Path, title: str) -> None:
    """Write the page, whole or not at all. Raises OSError."""
    found, doubted, pairs = find(judged), likely_mislabelled(judged), near_duplicates(judged)
    rows = _rows(judged, doubted, pairs[:MOST_SHOWN])
    page = (
        _environment().get_template("report.html").render(_context(model, judged, found, doubted, pairs, rows, title))
    )
    with written_whole(output) as path:
        path.write_text(page, encoding="utf-8")


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("manyeyes.report", "page"), autoescape=select_autoescape(), trim_blocks=True
    )


def _asset(name: str) -> Markup:
    return Markup((files("manyeyes.report") / "page" / name).read_text(encoding="utf-8"))


def _rows(judged: Judged, doubted: Index, pairs: Sequence[Pair]) -> Index:
    """Photos for the gallery, those first whose label is least probable; with those that are shown elsewhere too."""
    every = np.arange(len(judged.labels))
    elsewhere = {*doubted[:MOST_SHOWN].tolist(), *(row for pair in pairs for row in (pair.first, pair.second))}
    belief = judged.log_proba[every, judged.labels]
    wanted = np.lexsort((belief, ~np.isin(every, list(elsewhere))))[:MOST_PHOTOS]
    return wanted[np.argsort(belief[wanted], kind="stable")]


def _context(
    model: "ManyEyesClassifier",
    judged: Judged,
    found: Findings,
    doubted: Index,
    pairs: Sequence[Pair],
    rows: Index,
    title: str,
) -> dict[str, Any]:
    place = {int(row): position for position, row in enumerate(rows)}
    classes = [readable(name) for name in judged.classes]
    votes = judged.votes(rows)
    photos = _photos(judged, rows, votes, set(doubted.tolist()))
    # The axis begins below the lowest interval, at a round number.
    lowest = 5 * int(100 * min(row.low for row in found.rows) // 5)
    matrix = _matrix(found)
    return {
        "title": title,
        "about": words.about(model, judged),
        "figures": words.figures(judged, found),
        "sections": [one for one in words.SECTIONS if found.rescue or one[0] != "agree"],
        "verdict": words.verdict(found),
        "found": found,
        "lowest": lowest,
        "place": lambda share: round(100 * (100 * share - lowest) / (100 - lowest), 2),
        "reliability": reliability_diagram(found.bins),
        "confused": words.confused(found, classes, len(matrix)),
        "matrix": matrix,
        "totals": found.confusion.sum(axis=1).tolist(),
        "classes": classes,
        "agreement": words.agreement(found),
        "won_of": len(np.unique(judged.labels)),
        "least_kappa": float(found.kappas.min()) if found.kappas.size else 0.0,
        "shown": words.shown(judged, rows),
        "kinds": words.kinds(photos),
        "photos": photos,
        "doubted": words.doubted(judged, doubted),
        "doubts": [place[row] for row in doubted[:MOST_SHOWN].tolist() if row in place],
        "alike": words.alike(judged, pairs),
        "pairs": [(place[one.first], place[one.second], one.cosine) for one in pairs[:MOST_SHOWN]],
        "rejected": [(readable(Path(one.path).name), f"{one.reason}: {one.detail}") for one in judged.rejected],
        "model": words.model(model),
        "cards": words.cards(model),
        "version": __version__,
        "data": {
            "classes": classes,
            "experts": list(judged.opinions),
            "backbones": len(model.cards_),
            "counted": words.counted(votes),
            "photos": photos,
        },
        "css": _asset("report.css"),
        "script": _asset("report.js"),
    }


def _matrix(found: Findings) -> list[int]:
    """The classes that the confusion matrix shows: all, or, of many, those with most mistakes."""
    mistakes = found.confusion - np.diag(np.diag(found.confusion))
    by_mistakes = np.argsort(-(mistakes.sum(axis=0) + mistakes.sum(axis=1)), kind="stable")
    return sorted(by_mistakes[:MOST_CLASSES].tolist())


def _photos(judged: Judged, rows: Index, votes: Sequence[tuple[Vote, ...]], doubted: set[int]) -> list[dict[str, Any]]:
    found = pictures([judged.paths[row] for row in rows], MOST_BYTES)
    proba, disagree, numbers = np.exp(judged.log_proba), judged.disagree, {n: k for k, n in enumerate(judged.classes)}
    experts = {name: k for k, name in enumerate(judged.opinions)}

    def photo(row: int, cast: tuple[Vote, ...]) -> dict[str, Any]:
        top = np.argsort(-proba[row])[:TOP].tolist()
        return {
            "path": words.short_path(judged.paths[row]),
            "picture": found.get(judged.paths[row], ""),
            "truth": int(judged.labels[row]),
            "said": int(judged.predicted[row]),
            "probabilities": [[one, round(float(proba[row, one]), 4)] for one in top],
            "disagree": bool(disagree[row]),
            "doubted": row in doubted,
            "asked": int(judged.asked[row]) if judged.asked is not None else 0,
            "votes": [
                [experts[vote.backbone], numbers[vote.label], round(vote.probability, 4), words.how_much(vote)]
                for vote in cast
            ],
        }

    return [photo(row, cast) for row, cast in zip(rows.tolist(), votes, strict=True)]
