"""How good a model is: all methods side by side before it is fitted, or its own scores after that."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from manyeyes.progress import console, counting

if TYPE_CHECKING:
    import numpy as np

    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.features.extract import Extraction
    from manyeyes.images import PhotoSet
    from manyeyes.study.outcomes import Result


def rows_of(photos: "PhotoSet") -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
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


def without_copies(
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


def compare_methods(
    model: "ManyEyesClassifier",
    seen: "Extraction",
    labels: "np.ndarray[Any, Any]",
    train: "np.ndarray[Any, Any]",
    test: "np.ndarray[Any, Any]",
    groups: "np.ndarray[Any, Any] | None",
    learnt: tuple[str, ...],
) -> dict[str, Any]:
    """Show how the model's rivals do on these photos; what the model card should say of it.

    Photos (sha256) that backbones ``learnt`` from are only trained on: they would flatter.
    """
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
        is_new = ~np.isin(np.array(seen.photos)[train], learnt)
        new, always = np.flatnonzero(is_new), np.flatnonzero(~is_new)
        grouped = None if groups is None else groups[train][new]
        protocol = f"2-fold cross-validation on {len(new):,} photos: half to train, half to judge, both ways."
        folds = cross_validation(labels[train][new], 2, [model.random_state], grouped)
        rows = train
        splits = [Split(one.seed, one.fold, np.concatenate([new[one.train], always]), new[one.test]) for one in folds]
    if not splits:
        console.print("no class has two photos: nothing can be compared")
        return {}
    methods = short_list(backbones_of(seen), model.expert, model.gate)
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


def judge(model: "ManyEyesClassifier", seen: "Extraction", labels: "np.ndarray[Any, Any]") -> dict[str, Any]:
    """Show how a fitted model does on photos that it has not seen; what the model card should say of it."""
    import numpy as np

    from manyeyes.cli.tables import SCORES, out, plain_table, scores_row, title
    from manyeyes.study.metrics import score

    new = ~model.was_trained_on(seen) & np.isin(labels, model.classes_)
    if not new.any():
        console.print("no held-out photo is new to the model: nothing can be judged")
        return {}
    said = model.fusion_.predict_log_proba(seen.table[np.flatnonzero(new)])
    found = score(said, np.searchsorted(model.classes_, labels[new]))
    protocol = f"Judged on {found.photos:,} photos that were held out from training."
    title(protocol)
    table = plain_table(["method", *SCORES])
    table.add_row(*scores_row("trained together", found))
    out.print(table)
    out.print()
    scores = {name: value for name, value in asdict(found).items() if name != "photos"}
    return {"protocol": protocol, "results": [{"method": "trained together", "kind": "ours", **scores}]}


def backbones_of(seen: "Extraction") -> list[str]:
    from manyeyes.features.table import backbone_of

    return list(dict.fromkeys(map(backbone_of, seen.table.names)))


def _record(result: "Result") -> dict[str, Any]:
    names = [name for name in asdict(result.scores[0]) if name != "photos"]
    method = result.method
    return {"method": method.name, "kind": str(method.kind), **{name: result.mean(name) for name in names}}
