"""``manyeyes fit``: a folder of photos in, a model out."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

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
)
from manyeyes.progress import console, counting, waiting

if TYPE_CHECKING:
    import numpy as np

    from manyeyes.backbones.nets import PrecisionChoice
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.features.extract import Extraction
    from manyeyes.images import PhotoSet
    from manyeyes.study.outcomes import Result


def fit(
    photos: Annotated[str, LABELLED_PHOTOS],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the model.")],
    zoo: Zoo = "lite",
    gate: Annotated[
        str | None, typer.Option(help="Whom the mixture trusts: cnn32, cnn64, embedding, constant or uniform.")
    ] = None,
    training: Annotated[str, typer.Option(help="How the mixture is trained: staged, joint or warm-joint.")] = "staged",
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
    import numpy as np

    from manyeyes.bundle import REJECTED, check_free
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.errors import TooManyRejectedError
    from manyeyes.images import check_rejected, read_photos, write_rejected

    wants_mixture = gate is not None or training != "staged" or label_space is not None
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
    )
    model.check_choices()
    check_free(output)
    found = read_photos(photos)
    _say_found(found)
    # What can be known before looking at photos is said before that.
    found.select(_split(found)[0]).require_classes(2)
    seen = model.look(found.paths)
    _say_seen(seen)
    try:
        check_rejected(seen.rejected, len(found), max_rejected)
    except TooManyRejectedError as error:
        output.mkdir(parents=True, exist_ok=True)
        write_rejected(output / REJECTED, seen.rejected)
        raise TooManyRejectedError(f"{error}; all are listed in {output / REJECTED}") from None
    good = found.select(seen.is_good)
    if lost := set(found.classes) - set(good.classes):
        console.print(f"  note: no photo of {', '.join(sorted(lost))} could be read: not learnt", soft_wrap=True)
    labels = np.array(good.labels)
    groups = seen.together(good.groups)
    train, test = _split(good)
    good.select(train).require_classes(2)
    test = _without_copies(seen.photos, labels, train, test)
    compared: dict[str, Any] = {}
    if compare:
        compared = _compare(model, seen, labels, train, test, groups)
    with waiting("fitting the model"):
        model.fit_seen(seen.select(train), labels[train], None if groups is None else groups[train])
    _say_gate(model)
    model.facts_ |= compared
    model.save(output)
    if seen.rejected:
        write_rejected(output / REJECTED, seen.rejected)
        console.print(f"the photos that could not be read are listed in {output / REJECTED}", soft_wrap=True)
    typer.echo(f"model saved in {output}")


def _say_gate(model: "ManyEyesClassifier") -> None:
    from manyeyes.fusion.mixture import MixtureOfExperts

    fusion = model.fusion_
    if isinstance(fusion, MixtureOfExperts) and fusion.is_uniform and fusion.gate != "uniform":
        console.print(
            "the gate weighs all backbones alike: these photos hold no evidence that weighing them would gain",
            soft_wrap=True,
        )


def _say_found(found: "PhotoSet") -> None:
    splits = "" if found.splits is None else f", splits {', '.join(sorted(set(found.splits)))}"
    console.print(f"{len(found):,} photos of {len(found.classes)} classes{splits}", soft_wrap=True)
    for note in found.notes:
        console.print(f"  note: {note}", soft_wrap=True)


def _say_seen(seen: "Extraction") -> None:
    good = int(seen.is_good.sum())
    console.print(
        f"{good:,} photos seen by {', '.join(_backbones(seen))}; "
        f"{seen.computed:,} looked at now, the others taken from the cache; {len(seen.rejected):,} could not be read",
        soft_wrap=True,
    )
    for one in seen.rejected[:10]:
        console.print(f"  left out: {one}", soft_wrap=True)
    if len(seen.rejected) > 10:
        console.print(f"  … and {len(seen.rejected) - 10} more")


def _split(photos: "PhotoSet") -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Rows to train on and rows held out (none without splits)."""
    import numpy as np

    from manyeyes.errors import PhotoSourceError

    if photos.splits is None:
        return np.arange(len(photos)), np.arange(0)
    is_train = np.array([split == "train" for split in photos.splits])
    if not is_train.any():
        raise PhotoSourceError(
            f"no photo is in the split 'train': the splits are {', '.join(sorted(set(photos.splits)))}"
        )
    return np.flatnonzero(is_train), np.flatnonzero(~is_train)


def _without_copies(
    photos: tuple[str, ...],
    labels: "np.ndarray[Any, Any]",
    train: "np.ndarray[Any, Any]",
    test: "np.ndarray[Any, Any]",
) -> "np.ndarray[Any, Any]":
    """The held-out rows that are no copies of training photos. Copies, and copies under two classes, are told of."""
    import numpy as np

    hashes = np.array(photos)
    pairs = {(photo, label) for photo, label in zip(photos, labels.tolist(), strict=True)}
    contradictions = len(pairs) - len(set(photos))
    if contradictions:
        console.print(
            f"  note: {contradictions} photos lie under two classes, byte for byte; one of them must be wrong"
        )
    leaked = np.isin(hashes[test], hashes[train])
    if leaked.any():
        console.print(
            f"  note: {leaked.sum()} held-out photos are copies of training photos: left out of the comparison"
        )
    own: np.ndarray[Any, Any] = test[~leaked]
    return own


def _compare(
    model: "ManyEyesClassifier",
    seen: "Extraction",
    labels: "np.ndarray[Any, Any]",
    train: "np.ndarray[Any, Any]",
    test: "np.ndarray[Any, Any]",
    groups: "np.ndarray[Any, Any] | None",
) -> dict[str, Any]:
    """Show how the model's rivals do on these photos; what the model card should say of it."""
    import numpy as np

    from manyeyes.cli.tables import out, results_table, title
    from manyeyes.study.compare import compare, cross_validation
    from manyeyes.study.methods import short_list
    from manyeyes.study.outcomes import Split

    known = test[np.isin(labels[test], labels[train])]
    if len(known):
        protocol = f"Trained on {len(train):,} photos, judged on {len(known):,} that were held out from training."
        rows, splits = np.arange(len(labels)), [Split(model.random_state, 0, train, known)]
    else:
        protocol = f"2-fold cross-validation on {len(train):,} photos: half to train, half to judge, both ways."
        grouped = None if groups is None else groups[train]
        rows, splits = train, cross_validation(labels[train], 2, [model.random_state], grouped)
    if not splits:
        console.print("no class has two photos: nothing can be compared")
        return {}
    methods = short_list(_backbones(seen), model.expert, model.gate)
    with counting("comparing", len(methods) * len(splits), "methods") as advance:
        outcomes = compare(
            methods,
            seen.table[rows],
            labels[rows],
            splits,
            None if groups is None else groups[rows],
            model.class_weight,
            lambda name: advance(1),
        )
    results = [one for one in outcomes.results() if not one.failure]
    title(protocol)
    out.print(results_table(results))
    out.print()
    for name, why in outcomes.failures.items():
        console.print(f"  note: {name} could not be compared: {why}", soft_wrap=True)
    return {"protocol": protocol, "results": [_record(one) for one in results]}


def _backbones(seen: "Extraction") -> list[str]:
    from manyeyes.features.table import backbone_of

    return list(dict.fromkeys(map(backbone_of, seen.table.names)))


def _record(result: "Result") -> dict[str, Any]:
    names = [name for name in asdict(result.scores[0]) if name != "photos"]
    method = result.method
    return {"method": method.name, "kind": str(method.kind), **{name: result.mean(name) for name in names}}
