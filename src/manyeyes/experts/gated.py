"""A softmax regression on features that a gate weighs photo by photo: the gate of GTN on features that are cached.

``c(x) = softmax(U (g(x̃) ⊙ x̃) + b)``, x̃ the standardised features: a feature that is weighed by nothing is at its mean
and speaks for no class. Training begins at the plain softmax regression, with g = 1; for how many epochs it pays, inner
folds say, and where it does not, the plain softmax regression remains.
"""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, log_softmax
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn.functional import linear, nll_loss

from manyeyes.backbones.nets.feature_gate import FeatureGate
from manyeyes.experts import ClassWeight, FloatArray, Groups
from manyeyes.experts.classifier import LogProbaClassifier
from manyeyes.experts.folds import LOG_UNSEEN, Rows, folds, judged
from manyeyes.experts.scaling import column_scales
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.experts.weights import class_weights
from manyeyes.threads import one_thread

EPOCHS, PATIENCE, BATCH = 60, 8, 64
GATE_RATE, HEAD_RATE = 1e-3, 3e-4
WEIGHT_DECAY = 1e-2
# How far below its mean the confidence bound of a gain lies that is worth an epoch.
STANDARD_ERRORS = 1.0
FloatRows = npt.NDArray[np.float32]


class GatedSoftmax(LogProbaClassifier):
    """Softmax regression behind a feature gate.

    Parameters
    ----------
    blocks, C, class_weight, cv, random_state : as of :class:`manyeyes.experts.softmax.SoftmaxRegression`.
    static : the gate is one vector, the same for every photo.
    sparsity : what the mean weight of a feature costs in the loss.

    Attributes
    ----------
    classes_ : (C,), sorted.
    C_, mean_, scale_ : inverse strength of the penalty; (D,) and (D,) of the columns.
    coef_, intercept_ : (C, D) and (C,), for standardised and weighed columns.
    gate_ : of the gate: [W₁ (H, D), W₂ (D, H)], or [logits (D,)] of a static one.
    epochs_ : for how many the gate was trained; 0 where it remained at 1.
    out_of_fold_ : (n, C) log-probabilities of the training rows, each from the folds that did not hold it.

    >>> import numpy as np
    >>> X = np.array([[0.0], [0.2], [0.9], [1.1]])
    >>> GatedSoftmax(cv=2).fit(X, ["no", "no", "yes", "yes"]).predict([[0.1], [1.0]]).tolist()
    ['no', 'yes']
    """

    def __init__(
        self,
        blocks: tuple[int, ...] | None = None,
        C: float | None = None,
        static: bool = False,
        sparsity: float = 0.0,
        class_weight: ClassWeight = None,
        cv: int = 5,
        random_state: int = 0,
    ) -> None:
        self.blocks = blocks
        self.C = C
        self.static = static
        self.sparsity = sparsity
        self.class_weight = class_weight
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Groups | None = None) -> Self:
        """Learn from (n, D) and labels (n,); inner folds keep rows of one of ``groups`` (n,) together."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        labels = self._learn_classes(y)
        weights = class_weights(self.class_weight, self.classes_, labels)
        plain = SoftmaxRegression(self.blocks, self.C, self.class_weight, self.cv, self.random_state)
        plain.fit(X, y, groups)
        self.C_ = plain.C_
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        self.scale_ = column_scales(X - self.mean_, self.mean_, self.blocks or (X.shape[1],))
        splits = [
            (train, held)
            for train, held in folds(labels, self.cv, self.random_state, groups)
            if len(np.unique(labels[train])) > 1
        ]
        start = clone(plain).set_params(C=self.C_, cv=1)
        rows = self._standard(X).astype(np.float32)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            fitted = [clone(start).fit(X[train], y[train]) for train, _ in splits]
            runs = [
                self._begin(one, rows, labels, weights, train) for one, (train, _) in zip(fitted, splits, strict=True)
            ]
            judges = weights * judged(labels, groups)
            self.epochs_, self.out_of_fold_ = _choose_epochs(runs, splits, labels, judges, plain.out_of_fold_)
            final = self._begin(plain, rows, labels, weights, np.arange(len(labels)))
            for _ in range(self.epochs_):
                final.train_epoch()
        self.coef_, self.intercept_ = (one.detach().double().numpy() for one in (final.coef, final.intercept))
        self.gate_ = [one.detach().double().numpy() for one in final.gate.parameters()]
        return self

    def gate_weights(self, X: Any) -> FloatArray:
        """g(x̃) of each photo: (n, D), between 0 and 2."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self._gate(self._standard(X))

    def predict_log_proba(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        rows = self._standard(X)
        log_proba: FloatArray = log_softmax((self._gate(rows) * rows) @ self.coef_.T + self.intercept_, axis=1)
        return log_proba

    def _gate(self, rows: FloatArray) -> FloatArray:
        """As :class:`FeatureGate` from its identity start, without torch."""
        if self.static:
            logits = np.broadcast_to(self.gate_[0], rows.shape)
        else:
            first, last = self.gate_
            logits = np.maximum(rows @ first.T, 0) @ last.T
        weights: FloatArray = 2 * expit(logits)
        return weights

    def _standard(self, X: FloatArray) -> FloatArray:
        standard: FloatArray = (X - self.mean_) / self.scale_
        return standard

    def _begin(
        self, plain: SoftmaxRegression, rows: FloatRows, labels: Rows, weights: FloatArray, train: Rows
    ) -> "_Run":
        """A gated regression that is as yet the plain one, fitted on the rows ``train``, for columns that are raw."""
        present = np.searchsorted(self.classes_, plain.classes_)
        coef, intercept = np.zeros((len(self.classes_), rows.shape[1])), np.full(len(self.classes_), LOG_UNSEEN)
        coef[present] = plain.coef_ * self.scale_
        intercept[present] = plain.intercept_ + plain.coef_ @ self.mean_
        gate = FeatureGate(rows.shape[1], start="identity", static=self.static)
        return _Run(gate, coef, intercept, rows, labels, weights, train, self.C_, self.sparsity, self.random_state)


class _Run:
    """A gated regression on its way, trained on the rows ``train`` of all (n, D)."""

    def __init__(
        self,
        gate: FeatureGate,
        coef: FloatArray,
        intercept: FloatArray,
        rows: FloatRows,
        labels: Rows,
        weights: FloatArray,
        train: Rows,
        C: float,
        sparsity: float,
        seed: int,
    ) -> None:
        self.gate = gate
        self.coef = nn.Parameter(torch.from_numpy(coef).float())
        self.intercept = nn.Parameter(torch.from_numpy(intercept).float())
        self._rows, self._labels = torch.from_numpy(rows), torch.from_numpy(labels)
        self._weights, self._train = torch.from_numpy(weights).float(), train
        # The penalty that the plain regression is the optimum of.
        self._decay, self._sparsity = 1 / (2 * C * len(train)), sparsity
        self._optimiser = torch.optim.AdamW(
            [
                {"params": [*gate.parameters()], "lr": GATE_RATE, "weight_decay": WEIGHT_DECAY},
                {"params": [self.coef, self.intercept], "lr": HEAD_RATE, "weight_decay": 0.0},
            ]
        )
        self._shuffler = np.random.default_rng(seed)

    def train_epoch(self) -> None:
        self.gate.train()
        for batch in torch.split(torch.from_numpy(self._shuffler.permutation(self._train)), BATCH):
            rows = self._rows[batch]
            weights = self.gate(rows)
            losses = nll_loss(self._said(rows, weights), self._labels[batch], reduction="none")
            loss = (losses * self._weights[batch]).mean() + self._decay * self.coef.square().sum()
            if self._sparsity:
                loss = loss + self._sparsity * weights.mean()
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()

    @torch.no_grad()
    def judge(self, held: Rows) -> FloatArray:
        """Log-probabilities of rows that are not trained on."""
        self.gate.eval()
        rows = self._rows[held]
        return self._said(rows, self.gate(rows)).double().numpy()

    def _said(self, rows: Tensor, weights: Tensor) -> Tensor:
        return torch.log_softmax(linear(weights * rows, self.coef, self.intercept), dim=1)


def _choose_epochs(
    runs: list[_Run], splits: list[tuple[Rows, Rows]], labels: Rows, judges: FloatArray, plain: FloatArray
) -> tuple[int, FloatArray]:
    """The number of epochs of which it is surest that they gain over the plain regression on rows held out, and what is
    said of these rows there."""
    every, counts = np.arange(len(labels)), judges > 0
    best, best_bound, best_said = 0, 0.0, plain
    for epoch in range(1, EPOCHS + 1) if runs else ():
        said = plain.copy()
        for run, (_, held) in zip(runs, splits, strict=True):
            run.train_epoch()
            said[held] = run.judge(held)
        gains = (judges * (said[every, labels] - plain[every, labels]))[counts]
        bound = gains.mean() - STANDARD_ERRORS * gains.std() / len(gains) ** 0.5
        if bound > best_bound:
            best, best_bound, best_said = epoch, bound, said
        elif epoch - best >= PATIENCE:
            break
    return best, best_said
