"""``manyeyes evaluate``: how good a model is on labelled photos."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manyeyes.cli.options import (
    LABELLED_PHOTOS,
    AcceptUndeclared,
    AsJson,
    Bundle,
    EngineName,
    Features,
    Offline,
    Quiet,
    Verbose,
)
from manyeyes.progress import console

if TYPE_CHECKING:
    import numpy as np

    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.features.extract import Extraction
    from manyeyes.study.metrics import Scores


def evaluate(
    model: Bundle,
    photos: Annotated[str, LABELLED_PHOTOS],
    as_json: AsJson = False,
    engine: EngineName = "auto",
    features: Features = None,
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Judge a model on labelled photos: each backbone alone and the fusion, and what is taken for what.

    Of photos with splits, those of `train` are left out.
    """
    import numpy as np

    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.fusion.cascade import Cascade
    from manyeyes.images.photo import readable
    from manyeyes.study.metrics import score

    loaded = ManyEyesClassifier.load(model, offline, accept_undeclared_licence, engine, features)
    seen, labels, _ = look_at_labelled(loaded, photos)
    names = [str(name) for name in loaded.classes_]
    run = loaded.fusion_.run_on(seen.table) if isinstance(loaded.fusion_, Cascade) else None
    log_proba = run.log_proba if run else loaded.fusion_.predict_log_proba(seen.table)
    alone = {name: score(said, labels) for name, said in loaded.fusion_.opinions(seen.table).items()}
    rows = {**alone, f"fused ({loaded.fusion})": score(log_proba, labels)}
    confusion = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(confusion, (labels, log_proba.argmax(axis=1)), 1)
    if as_json:
        record = {
            "scores": {name: asdict(scores) for name, scores in rows.items()},
            "classes": names,
            "confusion": confusion.tolist(),
            "rejected": [asdict(one) for one in seen.rejected],
        }
        typer.echo(json.dumps(record, indent=1, ensure_ascii=False))
    else:
        _show(rows, confusion, [readable(name) for name in names])
        if run and isinstance(loaded.fusion_, Cascade):
            cost, asked = loaded.fusion_.spent(run.stages)
            typer.echo(f"within its budget: {cost:.1%} of what all backbones take, {asked:.1f} asked on the mean")


def look_at_labelled(
    model: "ManyEyesClassifier", photos: str
) -> "tuple[Extraction, np.ndarray[Any, np.dtype[np.int64]], list[str]]":
    """Look at labelled photos, but for those of the split `train`, and say what is amiss; with the numbers of their
    classes, and their paths. Raises PhotoSourceError where nothing can be judged."""
    import numpy as np

    from manyeyes.errors import PhotoSourceError
    from manyeyes.images import read_photos

    found = read_photos(photos)
    if found.splits is not None:
        found = found.select(np.array([split != "train" for split in found.splits]))
        if not len(found):
            raise PhotoSourceError(f"all photos of {photos} are in the split 'train': there is none to judge by")
    names = [str(name) for name in model.classes_]
    if unknown := set(found.classes) - set(names):
        raise PhotoSourceError(
            f"the model does not know the classes {', '.join(sorted(unknown))}: it knows {', '.join(names)}"
        )
    seen = model.look(found.paths)
    for one in seen.rejected:
        console.print(f"left out: {one}", soft_wrap=True)
    if copies := int(model.was_trained_on(seen).sum()):
        console.print(
            f"note: {copies:,} of these {len(seen.photos):,} photos were trained on; new photos will be judged worse",
            soft_wrap=True,
        )
    if not seen.is_good.any():
        raise PhotoSourceError(f"none of the {len(found)} photos of {photos} can be read")
    index = {name: position for position, name in enumerate(names)}
    good = found.select(seen.is_good)
    return seen, np.array([index[label] for label in good.labels]), list(good.paths)


def _show(rows: "dict[str, Scores]", confusion: "np.ndarray[Any, Any]", names: list[str]) -> None:
    import numpy as np
    from rich.text import Text

    from manyeyes.cli.tables import SCORES, out, plain_table, scores_row, title

    photos = next(iter(rows.values())).photos
    title(f"{photos:,} photos")
    scores = plain_table(["", *SCORES])
    for name, one in rows.items():
        scores.add_row(*scores_row(name, one), style="bold" if name.startswith("fused") else "")
    out.print(scores)
    out.print()
    if len(names) <= 12:
        title("confusion (rows: true class, columns: predicted)")
        matrix = plain_table(["", *names])
        for index, name in enumerate(names):
            cells = [
                Text(str(count) if count else "·", "bold green" if index == other else "red" if count else "dim")
                for other, count in enumerate(confusion[index])
            ]
            matrix.add_row(name, *cells)
        out.print(matrix)
        return
    mistakes = confusion - np.diag(np.diag(confusion))
    worst = [divmod(int(flat), len(names)) for flat in np.argsort(-mistakes, axis=None)[:10]]
    title("most confused")
    listed = plain_table(["true class", "taken for", "photos"], numeric_from=2)
    for true, taken in worst:
        if mistakes[true, taken]:
            listed.add_row(names[true], names[taken], str(mistakes[true, taken]))
    out.print(listed)
