"""Every method that a study compares, as one list: the paper's by its names, the rivals, ours, and the oracle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from manyeyes.errors import UnknownNameError
from manyeyes.experts import ClassWeight
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.fusion import Fusion
from manyeyes.label_space.vectors import RANDOM


class Kind(StrEnum):
    """What a method is; tables and figures group and colour by it."""

    SINGLE = "backbone alone"
    CONCATENATION = "concatenation"
    STACKING = "stacking"
    MIXTURE = "mixture of experts"
    RIVAL = "rival"
    OURS = "ours"
    BOUND = "bound"


@dataclass(frozen=True)
class Method:
    """A named row of the study.

    name : unique; what tables show and ``choose`` matches.
    paper : the row of the paper's Table 2 that it is a reading of, or "".
    fusion, settings : what is fitted; no fusion for a backbone alone and for the oracle.
    backbone, expert : the expert of a backbone alone; for a fusion of experts their kind.
    """

    name: str
    kind: Kind
    paper: str = ""
    fusion: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    backbone: str = ""
    expert: str = "softmax"

    def make(self, class_weight: ClassWeight, random_state: int) -> Fusion:
        """The unfitted fusion."""
        kind = FUSIONS[self.fusion]
        common: dict[str, Any] = {"class_weight": class_weight, "random_state": random_state}
        if "expert" in kind().get_params(deep=False):
            common["expert"] = self.expert
        fusion: Fusion = kind(**common, **self.settings)
        return fusion


UNIFORM, ORACLE, AUTO = "mixture-uniform", "oracle", "auto"
SINGLE_EXPERTS = ("softmax", "gated", "linear-svm", "kernel-ridge")
CONCATENATIONS = {
    "concat+softmax": "",
    "concat+raw+svm": "all + SVM",
    "concat+svm": "all + SVM",
    "concat+pca+svm": "all + PCA + SVM",
    "concat+ridge": "",
    "concat+kernel-ridge": "",
    "concat+lda": "",
}
STACKINGS = ("stacking", "stacking-product", "stacking-in-sample", "stacking-product-in-sample")
GATES = {
    "uniform": "",
    "constant": "",
    "embedding": "MoE-Embedding",
    "cnn32": "MoE-CNN(32)",
    "cnn64": "MoE-CNN(64)",
}
JOINT_GATES = ("embedding", "cnn32")
LABEL_SPACE_GATES = ("embedding", "cnn32", "cnn64")
RIVALS = ("best-single", "greedy", "class-precision", "evidence", "log-linear")
# What every method is tested against, where it is among the methods.
REFERENCES = ("best-single", UNIFORM, "concat+softmax", "stacking", "concat+kernel-ridge")


def all_methods(backbones: Sequence[str], words: Sequence[str] = (), expert: str = "softmax") -> tuple[Method, ...]:
    """Every method for these backbones, in the order of the paper's Table 2 and beyond it.

    ``expert`` is what the fusions of experts fuse. Mixtures with a label space are there with random vectors, and once
    more for each of the word vectors in ``words`` (see :func:`manyeyes.label_space.vectors.label_vectors`).
    """
    kinds = dict.fromkeys((expert, *SINGLE_EXPERTS))
    singles = [single(backbone, kind) for kind in kinds for backbone in backbones]
    concatenated = [Method(name, Kind.CONCATENATION, paper, fusion=name) for name, paper in CONCATENATIONS.items()]
    stacked = [
        Method(name, Kind.STACKING, "" if "product" in name else "MoE-Stacking", fusion=name, expert=expert)
        for name in STACKINGS
    ]
    rivals = [Method(name, Kind.RIVAL, fusion=name, expert=expert) for name in RIVALS]
    return (
        *singles,
        *concatenated,
        *stacked,
        *_mixtures(words, expert),
        *rivals,
        Method(AUTO, Kind.OURS, fusion=AUTO),
        Method(ORACLE, Kind.BOUND, expert=expert),
    )


def single(backbone: str, expert: str) -> Method:
    """One expert on one backbone's final features."""
    return Method(f"{backbone}+{expert}", Kind.SINGLE, backbone=backbone, expert=expert)


def short_list(backbones: Sequence[str], expert: str = "softmax", gate: str = "cnn32") -> tuple[Method, ...]:
    """What a user wants to see before a model is trained: the chosen expert and gate, and their strongest rivals."""
    names = [
        *(f"{backbone}+{expert}" for backbone in backbones),
        "best-single",
        UNIFORM,
        "concat+softmax",
        "concat+kernel-ridge",
        "stacking",
        f"mixture-{gate}",
        AUTO,
        ORACLE,
    ]
    return tuple(method for method in all_methods(backbones, expert=expert) if method.name in names)


def choose(methods: Sequence[Method], patterns: Sequence[str]) -> tuple[Method, ...]:
    """The methods whose name one of the shell patterns matches. Raises UnknownNameError for one that matches none."""
    chosen = set()
    for pattern in patterns:
        found = [method.name for method in methods if fnmatchcase(method.name, pattern)]
        if not found:
            names = ", ".join(method.name for method in methods)
            raise UnknownNameError(f"{pattern!r} matches no method: choose from {names}")
        chosen.update(found)
    return tuple(method for method in methods if method.name in chosen)


def _mixtures(words: Sequence[str], expert: str) -> list[Method]:
    def mixture(name: str, paper: str = "", **settings: Any) -> Method:
        return Method(f"mixture-{name}", Kind.MIXTURE, paper, "mixture", settings, expert=expert)

    staged = [mixture(gate, paper, gate=gate) for gate, paper in GATES.items()]
    joint = [
        mixture(f"{gate}-{training}", GATES[gate], gate=gate, training=training)
        for gate in JOINT_GATES
        for training in ("joint", "warm-joint")
    ]
    spaces = {Path(space).stem: space for space in (RANDOM, *words)}
    label_space = [
        mixture(f"{gate}-le-{name}", f"LE {GATES[gate]}", gate=gate, label_space=where)
        for name, where in spaces.items()
        for gate in LABEL_SPACE_GATES
    ]
    # The paper's text has the label space trained with the rest.
    trained = {"training": "joint", "train_label_space": True}
    label_space += [
        mixture(f"{gate}-joint-le-{name}", f"LE {GATES[gate]}", gate=gate, label_space=where, **trained)
        for name, where in spaces.items()
        for gate in JOINT_GATES
    ]
    classifier = Method("embedding-classifier", Kind.MIXTURE, "MoE-Embedding", fusion="embedding-classifier")
    return [*staged, *joint, *label_space, classifier]
