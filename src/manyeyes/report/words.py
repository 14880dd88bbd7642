"""What a report says in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from manyeyes.backbones.card import Card
from manyeyes.fusion.cascade import Cascade
from manyeyes.images.photo import readable
from manyeyes.photo_classifier import LOCAL
from manyeyes.predictions import Vote
from manyeyes.report.findings import Findings
from manyeyes.report.judged import Index, Judged
from manyeyes.report.suspects import ALIKE, Pair, can_be_sought

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

SECTIONS = [
    ("good", "How good"),
    ("sure", "Probabilities"),
    ("confused", "Confusions"),
    ("agree", "Agreement"),
    ("photos", "Photos"),
    ("look", "To look at"),
    ("model", "The model"),
]


def about(model: "ManyEyesClassifier", judged: Judged) -> str:
    count, trained = len(model.cards_), int((~judged.is_new).sum())
    text = f"A model of {count} {_plural(count, 'backbone')}, judged on {len(judged.labels):,} photos"
    if not trained:
        return text + " by what had not seen them."
    return text + f", {trained:,} of which it was trained on: new photos will be judged worse."


def figures(judged: Judged, found: Findings) -> list[tuple[str, str]]:
    """Numbers to begin with, and what they are."""
    fused = found.rows[0]
    half = 50 * (fused.high - fused.low)
    wrong = int((~judged.is_right).sum())
    asked = [] if judged.asked is None else [(f"{judged.asked.mean():.1f}", "backbones asked for a photo")]
    return [
        (f"{100 * fused.scores.accuracy:.1f}%", f"right, ± {half:.1f}"),
        (f"{len(judged.labels):,}", "photos"),
        (f"{len(judged.classes):,}", "classes"),
        (f"{wrong:,}", "wrong"),
        *asked,
    ]


def verdict(found: Findings) -> str:
    fused, best = found.rows[0], next((row for row in found.rows if row.name == found.best), None)
    if best is None or len(found.names) < 2:
        return f"It is right about {fused.scores.accuracy:.1%} of these photos."
    text = (
        f"All together are right about {fused.scores.accuracy:.1%} of these photos, the best backbone alone, "
        f"{best.name}, about {best.scores.accuracy:.1%}. "
    )
    if found.better == found.worse == 0:
        return text + "They are right about the same photos."
    which = "more" if found.better > found.worse else "fewer"
    sure = f"{which} than by chance" if found.p_value < 0.05 else "so few photos cannot tell that from chance"
    only = found.better + found.worse
    return text + (
        f"Of {only} {_plural(only, 'photo')} about which only one of the two is right, that is all together for "
        f"{found.better}: {sure} (p = {found.p_value:.2g})."
    )


def confused(found: Findings, classes: Sequence[str], shown: int) -> str:
    mistakes = found.confusion - np.diag(np.diag(found.confusion))
    if not mistakes.any():
        return "No class is taken for another."
    true, taken = divmod(int(mistakes.argmax()), len(classes))
    count = int(mistakes[true, taken])
    text = f"Most often {classes[true]} is taken for {classes[taken]}: {count} {_plural(count, 'photo')}."
    return text if shown == len(classes) else f"{text} These are the {shown} classes with most mistakes."


def agreement(found: Findings) -> str:
    if found.rescue is None:
        return ""
    rescued = 1 - found.rescue.ratio if found.rescue.errors else 0
    return (
        f"{found.rescue.best} is the best backbone alone and wrong about {found.rescue.errors} photos; about "
        f"{rescued:.0%} of these another is right. An oracle that always knew whom to trust would be right about "
        f"{1 - found.rescue.shares[0]:.1%} of all."
    )


def shown(judged: Judged, rows: Index) -> str:
    count = len(judged.labels)
    whose = f"All {count:,}" if len(rows) == count else f"{len(rows):,} of {count:,}"
    return f"{whose}, those first whose label the model believes in least."


def kinds(photos: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Filters of the gallery: key, name, and how many photos pass."""
    right = sum(one["truth"] == one["said"] for one in photos)
    return [
        ("all", "All", len(photos)),
        ("right", "Right", right),
        ("wrong", "Wrong", len(photos) - right),
        ("disagreement", "Disagreement", sum(one["disagree"] for one in photos)),
        ("doubted", "Doubted labels", sum(one["doubted"] for one in photos)),
    ]


def doubted(judged: Judged, rows: Index) -> str:
    if not can_be_sought(judged):
        return "Not sought: that wants photos of each class that the model was not trained on."
    if not len(rows):
        return "None was found by confident learning (cleanlab)."
    count = len(rows)
    return (
        f"Confident learning (cleanlab) doubts the {_plural(count, 'label')} of {count:,} {_plural(count, 'photo')}. "
        "Hard photos are among them too: look before you change anything."
    )


def alike(judged: Judged, pairs: Sequence[Pair]) -> str:
    if not pairs:
        return f"None: no two photos have features whose cosine is {ALIKE} or more."
    across = sum(judged.labels[one.first] != judged.labels[one.second] for one in pairs)
    return (
        f"{len(pairs):,} {_plural(len(pairs), 'pair')} with a cosine of features of {ALIKE} or more, {across:,} of "
        "them across two classes. If one of a pair is trained on and the other judges, the score flatters."
    )


def counted(votes: Sequence[tuple[Vote, ...]]) -> str:
    """What the last column of votes is; nothing where the fusion does not tell."""
    every = [vote for cast in votes for vote in cast]
    if any(vote.weight is not None for vote in every):
        return "weight"
    return "log-odds" if any(vote.contributions for vote in every) else ""


def how_much(vote: Vote) -> str:
    """How much a vote counted; nothing where the fusion does not tell."""
    if vote.weight is not None:
        return f"{100 * vote.weight:.0f}%"
    return f"{sum(vote.contributions.values()):+.2f}" if vote.contributions else ""


def model(fitted: "ManyEyesClassifier") -> str:
    facts, fusion = fitted.facts_, fitted.fusion_
    text = (
        f"{len(fitted.cards_)} backbones, fused by {fitted.fusion}, trained on {facts['photos']:,} photos of "
        f"{len(fitted.classes_)} classes."
    )
    if isinstance(fusion, Cascade):
        text += (
            f" Backbones are asked in turn, within {fusion.budget:.1%} of what all take: {', '.join(fusion.order_)}."
        )
    return text


def cards(fitted: "ManyEyesClassifier") -> list[dict[str, str]]:
    return [
        {
            "name": card.name,
            "source": readable(_origin(fitted, card).partition("#")[0]),
            "licence": card.licence or "not declared",
            "macs": f"{card.macs:.2f}" if card.macs else "",
            "sha256": fitted.weights_[card.name][:16],
        }
        for card in fitted.cards_
    ]


def _origin(fitted: "ManyEyesClassifier", card: Card) -> str:
    """Where weights are from; where a file of the user's lies is nobody's business."""
    if fitted.is_adapted:
        return f"adapted from {fitted.facts_['adapted']['from'][card.name]}"
    return LOCAL if card.is_local else card.source


def short_path(path: str) -> str:
    """A photo's name and its folder's, which mostly is that of its class: where that lies is nobody's business."""
    return readable("/".join(path.replace("\\", "/").split("/")[-2:]))


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
