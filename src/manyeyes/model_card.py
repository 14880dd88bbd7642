"""The model card of a bundle: what the model is, what it was made from, how good it is, and whose weights it needs."""

import re
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData

from manyeyes.fusion.cascade import Cascade
from manyeyes.images.photo import readable
from manyeyes.label_space.vectors import PACKAGES
from manyeyes.turns import HOW_FAR
from manyeyes.version import __version__

if TYPE_CHECKING:
    from manyeyes.backbones.card import Card
    from manyeyes.classifier import ManyEyesClassifier


def model_card(model: "ManyEyesClassifier") -> str:
    """Markdown with the classes, photo counts, results and licences."""
    facts = model.facts_
    parts = [
        f"---\n{_metadata(model)}\n---",
        "# A manyeyes classifier",
        f"{len(model.classes_)} classes, {len(model.cards_)} backbones, fused by `{model.fusion}`"
        + (f" with the `{model.gate}` gate" if model.fusion == "mixture" else "")
        + f". Written by manyeyes {__version__}.",
        "```python\nfrom manyeyes import ManyEyesClassifier\n\n"
        'model = ManyEyesClassifier.load("path/to/this/folder")\nmodel.predict_proba(["photo.jpg"])\n```',
        *_budget(model),
        "## Classes",
        _classes(facts),
    ]
    if facts.get("results"):
        whole = "" if model.budget is None else " All of these ask all backbones about every photo."
        parts += ["## Results", facts["protocol"] + whole, _results(facts["results"])]
    if held := facts.get("held"):
        photos, accuracy = held
        parts.append(f"Right on {accuracy:.1%} of the {photos} photos that its training was stopped by.")
    parts += [
        "## Backbones",
        _whereabouts(model),
        _cards(model),
    ]
    if model.fusion == "mixture" and model.label_space in PACKAGES:
        package = PACKAGES[model.label_space]
        parts += [
            "## Label vectors",
            f"Those in this folder were made from the word vectors {_cell(f'{package.scheme}:{package.where}')}, "
            f"licence {package.licence}.",
        ]
    return "\n\n".join(parts) + "\n"


def _metadata(model: "ManyEyesClassifier") -> str:
    """What the hub reads of a card: what the model is for, and how good its kind was on photos that it had not seen.
    Under which licence a model is shared, its user decides."""
    own = f"mixture-{model.gate}" if model.fusion == "mixture" else model.fusion
    # What is compared is trained in stages, without a label space, and asks all backbones.
    is_compared = model.budget is None and model.training == "staged" and model.label_space is None
    results = [
        EvalResult("image-classification", "imagefolder", "photos of its user", metric, one[metric])
        for one in model.facts_.get("results", ())
        for metric in ("accuracy", "macro_f1")
        if is_compared and one["method"] == own
    ]
    data = ModelCardData(
        library_name="manyeyes",
        pipeline_tag="image-classification",
        tags=["manyeyes", "mixture-of-experts"],
        model_name="a manyeyes classifier",
        eval_results=results,
    )
    return str(data.to_yaml())


def _budget(model: "ManyEyesClassifier") -> list[str]:
    """In which order backbones are asked, and what that comes to, where they are asked in turn."""
    fusion = model.fusion_
    if not isinstance(fusion, Cascade):
        return []
    spent = fusion.expected()
    return [
        f"The backbones are asked in turn {HOW_FAR[fusion.by]}: {', '.join(map(_cell, fusion.order_))}. On its "
        f"training photos, by what had not seen them, that takes {spent.cost:.1%} of what all of them take, and "
        f"{spent.accuracy:.1%} are right (by all: {spent.accuracy_of_all:.1%})."
    ]


def _whereabouts(model: "ManyEyesClassifier") -> str:
    """Where the backbones' weights are."""
    if not model.is_adapted:
        return "Their weights are not in this folder; they are fetched when they are needed."
    adapted = model.facts_["adapted"]
    how = adapted["method"] + (f", at {adapted['size']} pixels" if adapted["size"] else "")
    others = adapted["photos"]
    photos = f"{others} of these photos" if others else "these photos, together with experts and gate"
    return (
        f"Adapted ({how}) to {photos}. Their weights, so changed, lie in `backbones/`; the licences are the old ones'."
    )


def _classes(facts: dict[str, Any]) -> str:
    rows = [f"| {_cell(name)} | {count} |" for name, count in facts["classes"].items()]
    total = f"{facts['photos']} photos to train on; {facts['rejected']} could not be read."
    return "\n".join([total, "", "| class | photos |", "|---|---|", *rows])


def _results(results: list[dict[str, Any]]) -> str:
    rows = [
        f"| {_cell(one['method'])} | {100 * one['accuracy']:.1f} | {100 * one['macro_f1']:.1f} | {one['log_loss']:.3f} "
        f"| {100 * one['calibration_error']:.1f} |"
        for one in results
    ]
    head = ["| method | accuracy % | macro F1 % | log loss | calibration error % |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _cards(model: "ManyEyesClassifier") -> str:
    rows = [
        f"| {_cell(card.name)} | {_source(card, model)} | {_cell(card.licence or 'not declared')} "
        f"| `{model.weights_[card.name][:16]}` | {_cell(card.paper or '')} |"
        for card in model.cards_
    ]
    return "\n".join(
        ["| backbone | source | licence of the weights | sha256 | paper |", "|---|---|---|---|---|", *rows]
    )


def _source(card: "Card", model: "ManyEyesClassifier") -> str:
    source = model.facts_["adapted"]["from"][card.name] if model.is_adapted else card.source
    return ("adapted from " if model.is_adapted else "") + _cell(source.partition("#")[0])


def _cell(text: str) -> str:
    """Text that stays in its table cell, whatever is in it: no line breaks, no Markdown, no HTML."""
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", readable(" ".join(str(text).split())))
