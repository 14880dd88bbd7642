"""``manyeyes study``: every method on a folder of photos, with statistics and figures."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

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
    command_line,
)
from manyeyes.places import is_url
from manyeyes.progress import console, counting, waiting

if TYPE_CHECKING:
    from manyeyes.backbones.backbone import Backbone
    from manyeyes.backbones.card import Card
    from manyeyes.images import PhotoSet
    from manyeyes.study.methods import Method
    from manyeyes.study.outcomes import Outcomes


def study(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write the study to.")],
    photos: Annotated[str | None, LABELLED_PHOTOS] = None,
    dataset: Annotated[
        str | None, typer.Option(help="In place of PHOTOS, one of the paper's: flowers17, caltech101, pets …")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="With --dataset: the folder into which it was unpacked.")] = None,
    zoo: Zoo = "lite",
    methods: Annotated[
        str, typer.Option(help="Names or shell patterns, comma-separated, such as 'concat+*,stacking,auto'.")
    ] = "*",
    words: Annotated[
        list[str] | None,
        typer.Option(
            help="Word vectors for the mixtures with a label space: glove-50d, wink-100d or the path of a glove.*.txt; "
            "may be given several times."
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Of the cross-validation; the paper has 2.")] = 2,
    seeds: Annotated[int, typer.Option(min=1, help="How often the cross-validation is repeated.")] = 3,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Train on no more than so many photos of a class (by default on all).")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Splits side by side (by default one a core).")] = None,
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    batch_size: BatchSize = None,
    features: Features = None,
    max_rejected: MaxRejected = 0.2,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Compare every method on labelled photos, as the paper does, and write the tables, the tests and the figures.

    Half of the photos to train and half to judge, both ways, with several seeds; splits that the photos come with are
    not used. What the backbones see is kept, so that a second study takes minutes.
    """
    import joblib
    import numpy as np

    from manyeyes.backbones.zoo import read_zoo
    from manyeyes.errors import PhotoSourceError, StudyError
    from manyeyes.features.extract import extract
    from manyeyes.features.store import FeatureStore
    from manyeyes.images import check_rejected
    from manyeyes.label_space.vectors import check_name
    from manyeyes.study.compare import cross_validation
    from manyeyes.study.folder import check_free
    from manyeyes.study.methods import all_methods, choose
    from manyeyes.study.parallel import compare_in_parallel
    from manyeyes.study.record import Facts
    from manyeyes.study.write import write_study

    # What can be known before looking at photos is said before that.
    cards = read_zoo(zoo)
    for name in words or []:
        check_name(name)
    patterns = [word for part in methods.split(",") if (word := part.strip())]
    chosen = choose(all_methods([card.name for card in cards], words or []), patterns)
    check_free(output)
    found = _find(photos, dataset, root)
    found.require_classes(2)
    backbones = _load(cards, chosen, words or [], engine, precision, batch_size, accept_undeclared_licence)
    seen = extract(found.paths, backbones, FeatureStore(features))
    check_rejected(seen.rejected, len(found), max_rejected)
    for one in seen.rejected:
        console.print(f"  left out: {one}", soft_wrap=True)
    good = found.select(seen.is_good)
    labels = np.array(good.labels)
    groups = seen.together(good.groups)
    splits = cross_validation(labels, folds, range(seeds), groups, per_class)
    if not splits:
        raise PhotoSourceError("no class has two photos: nothing can be compared")
    processes = min(jobs or joblib.cpu_count(), len(splits))
    start = time.perf_counter()
    with counting("comparing", len(splits) * len(chosen), "methods") as advance:
        outcomes = compare_in_parallel(chosen, seen.table, labels, splits, groups, None, processes, advance)
    failures = "; ".join(f"{name}: {why}" for name, why in outcomes.failures.items())
    if not outcomes.names():
        raise StudyError(f"every method failed, nothing was written: {failures}")
    facts = Facts(
        name=dataset or _name(cast(str, photos)),
        zoo=zoo,
        cards=cards,
        weights={backbone.card.name: backbone.weights for backbone in backbones},
        precision=", ".join(sorted({backbone.precision for backbone in backbones})),
        folds=folds,
        seeds=seeds,
        per_class=per_class,
        rejected=len(seen.rejected),
        notes=good.notes,
        command=command_line(),
        seconds=time.perf_counter() - start,
        processes=processes,
    )
    with waiting("drawing figures"):
        write_study(output, outcomes, seen.table, good.paths, facts)
    _show(outcomes)
    typer.echo(f"study written to {output}")
    if outcomes.failures:
        raise StudyError(f"{len(outcomes.failures)} of {len(chosen)} methods failed and are in no table: {failures}")


def _name(photos: str) -> str:
    return photos.rstrip("/").rpartition("/")[2] if is_url(photos) else Path(photos).resolve().name


def _find(photos: str | None, dataset: str | None, root: Path | None) -> "PhotoSet":
    from manyeyes.images import read_dataset, read_photos

    if (photos is None) == (dataset is None):
        raise typer.BadParameter("give either PHOTOS or --dataset.")
    if (dataset is None) != (root is None):
        raise typer.BadParameter("--dataset and --root go together.")
    found = read_photos(cast(str, photos)) if dataset is None else read_dataset(dataset, cast(Path, root))
    console.print(f"{len(found):,} photos of {len(found.classes)} classes", soft_wrap=True)
    for note in found.notes:
        console.print(f"  note: {note}", soft_wrap=True)
    return found


def _load(
    cards: "tuple[Card, ...]",
    chosen: "tuple[Method, ...]",
    words: list[str],
    engine: str,
    precision: str,
    batch_size: int | None,
    accept_undeclared_licence: bool,
) -> "list[Backbone]":
    """The backbones, read at all taps that the methods use; and everything else that might have to be fetched."""
    from manyeyes.backbones.backbone import Backbone
    from manyeyes.backbones.nets import FINAL, PrecisionChoice
    from manyeyes.fusion import FUSIONS
    from manyeyes.label_space.vectors import label_vectors

    used = [tap for method in chosen if method.fusion for tap in FUSIONS[method.fusion].taps]
    taps = tuple(dict.fromkeys([FINAL, *used]))
    for name in words:
        label_vectors(name, 0)
    how = (cast("PrecisionChoice", precision), engine, batch_size)
    return [Backbone.load(card, accept_undeclared_licence, taps, *how) for card in cards]


def _show(outcomes: "Outcomes") -> None:
    from manyeyes.cli.tables import out, results_table

    out.print(results_table([one for one in outcomes.results() if not one.failure]))
    out.print()
