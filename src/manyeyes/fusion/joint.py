"""Experts, gate and label vectors of a mixture, trained together by the log loss of the mixture.

The experts are softmax regressions, ``c_k = softmax(U_k [v~_k ; h_k] + b_k)``. What comes out is a panel and a gate as
from training in stages.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sklearn.base import clone

from manyeyes.experts import Expert
from manyeyes.experts.folds import Rows
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.panel import ExpertPanel
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.fusion import gradient
from manyeyes.fusion.joint_model import Input, JointModel
from manyeyes.gates.gate import Gate
from manyeyes.gates.mixing import Space

# A warm start is not to be thrown away by the first steps.
WARM_LEARNING_RATE = gradient.LEARNING_RATE / 10
# V moves slower than what is built on it.
VECTORS_RATE = 0.1
# A gate learns slower than from finished experts: else it chooses among experts that have learnt nothing yet, and these
# learn only where they are chosen (flowers17, embedding gate: 92.1% at the experts' rate, 97.1% at this one).
GATE_RATE = 0.03


@dataclass(frozen=True)
class Start:
    """Where to begin: experts and a gate that have not seen the rows by which the training is stopped."""

    experts: Sequence[SoftmaxRegression]
    gate: Gate


@dataclass(frozen=True)
class Joint:
    """panel, gate : trained. epochs : for how many; 0 means that the start was best."""

    panel: ExpertPanel
    gate: Gate
    epochs: int


def train_jointly(
    lesson: Lesson,
    split: tuple[Rows, Rows],
    panel: ExpertPanel,
    kind: type[Gate],
    space: Space = "probability",
    trains_vectors: bool = False,
    start: Start | None = None,
) -> Joint:
    """Train experts for a panel's members with a gate of this kind; the panel itself is left as it is.

    The experts' ``out_of_fold_`` is known of the rows to stop by, and NaN elsewhere.

    split : rows to train on and rows to stop by. trains_vectors : train the panel's label vectors as well. start :
    instead of experts that know nothing and a gate that weighs them alike.
    """
    table = panel.inputs(lesson.table)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lesson.random_state)
        gate = kind.for_table(table) if start is None else deepcopy(start.gate)
    inputs = [Input.of(panel, names, lesson.table, trains_vectors) for _, names in panel.members]
    model = JointModel(inputs, len(lesson.classes), gate, gate.look(table), space, panel.label_vectors)
    for k, given in enumerate(start.experts if start else ()):
        model.set_expert(k, given.coef_, given.intercept_)
    epochs = gradient.train(model, _optimiser(model, start is not None), lesson, *split)
    vectors = panel.label_vectors if model.places is None else model.places.vectors.detach().numpy()
    experts: list[Expert] = []
    for k, one in enumerate(inputs):
        blocks = one.widths if len(one.widths) > 1 else None
        own = SoftmaxRegression(blocks, class_weight=lesson.class_weight, random_state=lesson.random_state)
        experts.append(own.seat(*model.expert(k), lesson.classes))
    trained = ExpertPanel(panel.members, vectors).seat(experts, lesson.classes)
    for k, expert in enumerate(experts):
        expert.out_of_fold_ = gradient.known_of(split[1], lesson, partial(trained.opinion, k))
    return Joint(trained, gate, epochs)


def refitted(panel: ExpertPanel, lesson: Lesson, rows: Rows) -> list[SoftmaxRegression]:
    """The panel's softmax regressions, fitted anew on these rows only, with the penalties that were best for all."""
    blocks = panel.inputs(lesson.table[rows]).blocks.values()
    experts = [expert for expert in panel.experts_ if isinstance(expert, SoftmaxRegression)]
    return [
        clone(expert).set_params(C=expert.C_, cv=1).fit(block, lesson.y[rows])
        for expert, block in zip(experts, blocks, strict=True)
    ]


def _optimiser(model: JointModel, is_warm: bool) -> torch.optim.Optimizer:
    rate = WARM_LEARNING_RATE if is_warm else gradient.LEARNING_RATE
    groups: list[dict[str, Any]] = [
        {"params": [*model.maps, *model.place_maps], "weight_decay": gradient.WEIGHT_DECAY},
        {"params": [*model.biases]},
        {"params": [*model.gate.parameters()], "lr": model.gate.learning_rate * GATE_RATE},
    ]
    if model.places is not None:
        groups.append({"params": model.places.parameters(), "lr": rate * VECTORS_RATE})
    return torch.optim.Adam(groups, lr=rate, fused=True)
