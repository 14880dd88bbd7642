"""The mixture of experts of "All Together Now!" (eqs. 3–4): ``f(x) = Σ_k a_k(x) c_k(φ_k(x))``.

A convex combination of the experts' probabilities, with weights that a gate gives photo by photo. Trained in stages:
the experts, each on its block; then the gate, on the experts' out-of-fold outputs, because on their own training photos
all experts are right and there is nothing to learn about whom to trust. Or trained jointly, from nothing or from there.
With a label space (eqs. 7–8) an expert also sees which source labels its backbone takes the photo for.
"""

from collections.abc import Sequence
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from manyeyes.errors import ChoiceError, UnknownNameError
from manyeyes.experts import ClassWeight, FloatArray
from manyeyes.experts.folds import Rows
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.panel import ExpertPanel, Member
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.fusion import PanelFusion
from manyeyes.fusion.gradient import known_of, split_off
from manyeyes.fusion.joint import Start, refitted, train_jointly
from manyeyes.gates import GATES
from manyeyes.gates.gate import Gate
from manyeyes.gates.mixing import MIXERS, Space, log_weights
from manyeyes.gates.objectives import Mixing
from manyeyes.gates.training import TrainedGate, train_gate
from manyeyes.label_space.embedding import has_labels, label_block
from manyeyes.label_space.vectors import label_vectors

TRAININGS = ("staged", "joint", "warm-joint")


class MixtureOfExperts(PanelFusion):
    """Experts mixed by a gate.

    Parameters
    ----------
    gate : name of the gate: cnn32, cnn64, embedding, constant or uniform.
    training : "staged": experts, then the gate on their out-of-fold outputs; "joint": all at once, by the log loss of
        the mixture; "warm-joint": all at once, from where the stages end.
    label_space : None; or what the vectors of the source labels are at first: "random", word vectors of the labels'
        names ("glove-50d", "wink-100d"), or the path of a glove.*.txt. Backbones without a source head do without.
    train_label_space : whether joint training moves these vectors.
    expert : name of the kind of expert; "softmax" in joint training.
    concatenated : kinds of experts that see the blocks of all backbones side by side, and join the others.
    space : where experts are mixed: "probability" (the paper), or "log" for ``f ∝ Π_k c_k^{a_k}``.
    class_weight : None, "balanced", or a dict class → weight.
    random_state : seed of folds, of the gate's training and of random label vectors.

    Attributes (beside those of every fusion)
    ----------
    gate_ : the trained gate, a torch module.
    gate_epochs_ : for how many epochs the gate was trained; 0 means that the uniform start was best.
    joint_epochs_ : for how many of these the experts were trained with it.
    labelled_ : the backbones whose source labels are used.
    """

    def __init__(
        self,
        gate: str = "embedding",
        training: str = "staged",
        label_space: str | None = None,
        train_label_space: bool = False,
        expert: str = "softmax",
        concatenated: tuple[str, ...] = (),
        space: Space = "probability",
        class_weight: ClassWeight = None,
        random_state: int = 0,
    ) -> None:
        self.gate = gate
        self.training = training
        self.label_space = label_space
        self.train_label_space = train_label_space
        self.expert = expert
        self.concatenated = concatenated
        self.space: Space = space
        self.class_weight = class_weight
        self.random_state = random_state

    @property
    def is_uniform(self) -> bool:
        """True when the gate weighs all experts alike on every photo: by choice, or for want of evidence."""
        return self.gate_epochs_ == 0

    def gate_weights(self, X: Any) -> FloatArray:
        """How much each expert counts for each photo: (n, K), rows summing to one, columns as ``panel_.names_``."""
        check_is_fitted(self)
        return np.exp(self._log_weights(self._table(X)))

    def check_choices(self) -> None:
        """Raise UnknownNameError or ChoiceError for choices that do not exist or do not go together.

        Word vectors that are not on this machine are fetched; see :func:`manyeyes.label_space.vectors.label_vectors`.
        """
        GATES[self.gate]
        for kind, name, known in (("trainings", self.training, TRAININGS), ("spaces", self.space, get_args(Space))):
            if name not in known:
                raise UnknownNameError(f"{name!r} is not one of the {kind}: choose from {', '.join(known)}")
        if self.train_label_space and (self.label_space is None or self.training == "staged"):
            raise ChoiceError("train_label_space wants a label_space, and training='joint' or 'warm-joint'")
        if self.training != "staged" and {self.expert, *self.concatenated} != {"softmax"}:
            raise ChoiceError(f"training={self.training!r} trains softmax regressions: it wants expert='softmax'")
        if self.label_space is not None:
            label_vectors(self.label_space, self.random_state)

    def seat(self, lesson: Lesson, experts: Sequence[SoftmaxRegression], gate: Gate, held: Rows, epochs: int) -> Self:
        """Be the mixture of these experts, one for each block, and their gate, trained together elsewhere for so many
        epochs on rows of the lesson other than ``held``, by which it is calibrated."""
        self._prepare(lesson)
        self.labelled_: list[str] = []
        self.panel_ = ExpertPanel(tuple(self._members())).seat(list(experts), lesson.classes)
        self.gate_, self.joint_epochs_ = gate, epochs
        self.gate_epochs_ = epochs if gate.trainable and len(experts) > 1 else 0
        self._calibrate(lesson, known_of(held, lesson, self._log_proba))
        return self

    def _fit(self, lesson: Lesson) -> FloatArray:
        self.check_choices()
        vectors = None if self.label_space is None else label_vectors(self.label_space, self.random_state)
        self.labelled_ = [
            name for name in self.blocks_ if vectors is not None and has_labels(lesson.table, name, len(vectors))
        ]
        self.panel_ = ExpertPanel(tuple(self._members()), vectors if self.labelled_ else None)
        if self.training == "joint":
            self.gate_epochs_ = 0
            return self._fit_jointly(lesson, split_off(lesson), None)
        self.panel_.fit(lesson)
        honest = self._fit_to_opinions(lesson, self.panel_.out_of_fold_)
        return self._fit_further(lesson, honest) if self.training == "warm-joint" else honest

    def _members(self) -> list[Member]:
        own = [
            (self.expert, (label_block(name, str(self.label_space)), name) if name in self.labelled_ else (name,))
            for name in self.blocks_
        ]
        # Side by side there is nothing new in a single block.
        together = self.concatenated if len(self.blocks_) > 1 else ()
        return own + [(kind, tuple(self.blocks_)) for kind in together]

    def _fit_to_opinions(self, lesson: Lesson, opinions: FloatArray) -> FloatArray:
        trained = self._train_gate(lesson, opinions, np.arange(len(opinions)))
        self.gate_, self.gate_epochs_, self.joint_epochs_ = trained.gate, trained.epochs, 0
        return MIXERS[self.space](trained.held_out, opinions)

    def _train_gate(self, lesson: Lesson, opinions: FloatArray, rows: npt.NDArray[np.int64]) -> TrainedGate:
        """A gate trained on these rows' out-of-fold opinions, out of those of all (n, K, C)."""
        groups = None if lesson.groups is None else lesson.groups[rows]
        objective = Mixing(opinions[rows], lesson.labels[rows], lesson.weights[rows], groups, self.space)
        return train_gate(GATES[self.gate], self.panel_.inputs(lesson.table[rows]), objective, self.random_state)

    def _fit_further(self, lesson: Lesson, honest: FloatArray) -> FloatArray:
        """Train what the stages have made jointly, if that gains on rows held out from both; else leave it as it is."""
        rows, held = split_off(lesson)
        if not len(held):
            return honest
        gate = self._train_gate(lesson, self.panel_.out_of_fold_, rows).gate
        staged = self.panel_, self.gate_
        further = self._fit_jointly(lesson, (rows, held), Start(refitted(self.panel_, lesson, rows), gate))
        if self.joint_epochs_:
            return further
        self.panel_, self.gate_ = staged
        return honest

    def _fit_jointly(
        self, lesson: Lesson, split: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], start: Start | None
    ) -> FloatArray:
        joint = train_jointly(lesson, split, self.panel_, GATES[self.gate], self.space, self.train_label_space, start)
        self.panel_, self.gate_, self.joint_epochs_ = joint.panel, joint.gate, joint.epochs
        if self.gate_.trainable and len(joint.panel.members) > 1:
            self.gate_epochs_ += joint.epochs
        return known_of(split[1], lesson, self._log_proba)

    def _keep_experts(self, kept: list[int]) -> None:
        self.gate_ = self.gate_.over(kept)
        self.labelled_ = [name for name in self.labelled_ if name in self.blocks_]

    def _log_proba(self, table: FeatureTable) -> FloatArray:
        return MIXERS[self.space](self._log_weights(table), self.panel_.log_proba(table))

    def _log_weights(self, table: FeatureTable) -> FloatArray:
        return log_weights(self.gate_, self.panel_.inputs(table))
