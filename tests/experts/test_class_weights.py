from typing import Any

import numpy as np
import pytest

from manyeyes.experts.weights import class_weights

CLASSES = np.array(["cat", "dog", "owl"])
LABELS = np.array([0] * 6 + [1] * 3 + [2])


@pytest.mark.parametrize(
    ("class_weight", "expected"),
    [
        (None, [1.0, 1.0, 1.0]),
        # All classes weigh alike in sum.
        ("balanced", [10 / 18, 10 / 9, 10 / 3]),
        # A class without a word weighs 1: 6·1 + 3·1 + 1·11 = 20, brought to a mean of 1.
        ({"owl": 11.0}, [0.5, 0.5, 5.5]),
        ({"cat": 2.0, "dog": 2.0, "owl": 2.0}, [1.0, 1.0, 1.0]),
    ],
)
def test_what_a_photo_of_each_class_counts(class_weight: Any, expected: list[float]) -> None:
    weights = class_weights(class_weight, CLASSES, LABELS)
    np.testing.assert_allclose(weights, np.array(expected)[LABELS])
    assert weights.mean() == pytest.approx(1)


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(ValueError, match="class_weight names classes that no photo has: bat, cow"):
        class_weights({"cow": 2.0, "bat": 1.0, "cat": 1.0}, CLASSES, LABELS)


def test_numbers_are_classes_too() -> None:
    weights = class_weights({5: 3.0}, np.array([0, 5]), np.array([0, 1]))
    np.testing.assert_allclose(weights, [0.5, 1.5])


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="balanced"):
        class_weights("fair", CLASSES, LABELS)
