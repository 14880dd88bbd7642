"""What each figure shows, in words and with its main numbers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from manyeyes.images.photo import readable
from manyeyes.study.agreement import accuracy_where, classes_won, contested_classes, kappas, rescue
from manyeyes.study.methods import Kind
from manyeyes.study.outcomes import Outcomes

PAIR_TEXT = (
    "The two classes with the most mistakes between them, over all backbones. A and B: photos of either that most "
    "backbones take for the other. C and D: what each backbone takes photos of either class for. E: the photos of both "
    "in each backbone's features, laid out by t-SNE."
)


def weights_text(name: str) -> str:
    return (
        f"How much {name} trusts each expert on photos of each class, and on all. Where a row has no colour, the gate "
        "trusts the experts on that class as on any other."
    )


def contributions_text(name: str) -> str:
    return (
        f"By how much each block moves {name} towards the class that it predicts, measured by taking the block away. "
        "Log-odds add up over blocks only roughly: blocks that say the same can stand in for each other."
    )


def accuracy_text(outcomes: Outcomes) -> str:
    ranked = sorted(
        (one for one in outcomes.results() if one.scores and one.method.kind is not Kind.BOUND),
        key=lambda one: -one.mean("accuracy"),
    )
    if not ranked:
        return "Only the bound was looked at."
    best = ranked[0]
    text = f"Best is **{readable(best.method.name)}** with {100 * best.mean('accuracy'):.2f}%"
    alone = next((one for one in ranked if one.method.kind is Kind.SINGLE), None)
    if alone is None or alone is best:
        return f"{text}."
    return (
        f"{text}; the best backbone alone, chosen with hindsight, is {readable(alone.method.name)} "
        f"with {100 * alone.mean('accuracy'):.2f}%."
    )


def kappa_text(outcomes: Outcomes, backbones: Sequence[str]) -> str:
    matrix = kappas(outcomes, backbones)
    pairs = matrix[np.tril_indices(len(backbones), -1)]
    return (
        f"Cohen's κ of what each pair of backbones predicts: from {pairs.min():.2f} to {pairs.max():.2f}, median "
        f"{np.median(pairs):.2f}. The lower it is, the more there is to gain from looking with both."
    )


def rescue_text(outcomes: Outcomes, backbones: Sequence[str]) -> str:
    found = rescue(outcomes, backbones)
    return (
        f"Every backbone is right on {100 * found.shares[-1]:.1f}% of the photos, none on "
        f"{100 * found.shares[0]:.1f}%. "
        f"Of the {found.errors} errors of the best, {readable(found.best)}, {found.all_wrong} "
        f"({100 * found.ratio:.0f}%) are errors of all; some other backbone is right on the rest."
    )


def f1_text(outcomes: Outcomes, backbones: Sequence[str]) -> str:
    found = contested_classes(outcomes, backbones)
    told = "; ".join(
        f"*{readable(outcomes.classes[one.index])}* is {readable(outcomes.method(one.winner).backbone)}'s"
        for one in found
    )
    return f"For each of these winners, the class that it tells better than all others by most: {told}."


def won_text(outcomes: Outcomes, backbones: Sequence[str], fused: Sequence[str]) -> str:
    wins = classes_won(outcomes, backbones)
    most = max(wins, key=lambda name: (wins[name].alone, wins[name].tied))
    text = (
        f"Among the backbones {readable(outcomes.method(most).backbone)} wins most classes by itself, "
        f"{wins[most].alone}, and shares {wins[most].tied}."
    )
    for name in fused:
        with_it = classes_won(outcomes, [*backbones, name])[name]
        text += f" {name} beside them wins {with_it.alone} by itself and shares {with_it.tied}."
    return (
        f"{text} A class is won by the best accuracy on its photos, over all seeds; ties count for all who share them."
    )


def disagreement_text(outcomes: Outcomes, where: npt.NDArray[np.bool_]) -> str:
    share = where.sum() / max(outcomes.judged.sum(), 1)
    rows = [
        (accuracy_where(outcomes, name, where), name)
        for name in outcomes.names()
        if outcomes.method(name).kind is not Kind.BOUND
    ]
    value, best = max(rows)
    return (
        f"On {100 * share:.1f}% of the photos the backbones do not all say the same. Only there "
        f"does it matter whom one trusts; best there is {readable(best)} with {100 * value:.1f}%."
    )
