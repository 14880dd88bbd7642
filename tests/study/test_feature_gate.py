"""What a study tells of a feature gate."""

import numpy as np
import pytest
from PIL import Image
from small_world import write_photos

from manyeyes.experts import gated
from manyeyes.features.table import FeatureTable
from manyeyes.study.compare import compare, cross_validation
from manyeyes.study.feature_gate import read_gate
from manyeyes.study.figures.draw import draw_all
from manyeyes.study.figures.gate import gate_text
from manyeyes.study.methods import all_methods, choose

LABELS = np.array([0, 0, 1, 1, 1])
# Feature 0 is on for the first class only, 1 is off, 2 depends on the class a little, 3 on the photo only.
WEIGHTS = np.array(
    [[2.0, 0.0, 1.1, 0.5], [1.8, 0.0, 1.1, 1.5], [0.0, 0.0, 1.0, 0.5], [0.05, 0.0, 1.0, 1.5], [0.0, 0.05, 1.0, 1.0]]
)


def test_a_reading_tells_classes_apart():
    reading = read_gate(WEIGHTS, LABELS, count=2, photos=2)
    assert reading.class_means.shape == (2, 4)
    np.testing.assert_allclose(reading.class_means[0], [1.9, 0, 1.1, 1])
    np.testing.assert_allclose(reading.off, [2 / 8, 6 / 12])
    assert reading.selective[:2].tolist() == [0, 2]
    # Feature 2 says what 0 does.
    assert reading.telling.tolist() == [0, 1]
    assert reading.exciting.tolist() == [[0, 1], [4, 0]]
    assert read_gate(WEIGHTS[:, [0, 2]], LABELS, count=2).telling.tolist() == [0, 1]
    text = gate_text(reading, ["daisy", "tulip"])
    assert text.startswith("Weights of a gate over the features, on the mean over photos between 0.01 and 1.04 (1 ")
    assert "On photos of tulip 50.0% of the features are off (below 0.1), on those of daisy 25.0%." in text
    assert gate_text(read_gate(np.ones((5, 4)), LABELS), ["a", "b"]).endswith("None is ever off (below 0.1).")


@pytest.fixture
def seen(tmp_path):
    """Which of two features tells the class depends on a third; and photos for that."""
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 10)).astype(np.float32)
    y = np.where(X[:, 2] > 0, X[:, 0], X[:, 1]) > 0
    table = FeatureTable({"eye": X}, random.integers(0, 256, (300, 64, 64, 3), np.uint8))
    paths = [str(path) for path in write_photos(tmp_path / "photos", ["one", "two"], count=2)]
    return table, np.where(y, "yes", "no"), (paths * 75)[:300]


def drawn(seen, folder, *patterns):
    table, y, paths = seen
    outcomes = compare(choose(all_methods(["eye"]), patterns), table, y, cross_validation(y))
    folder.mkdir()
    return draw_all(outcomes, table, paths, "a title", folder)


def test_a_gate_that_pays_is_drawn_and_told_of(seen, tmp_path, monkeypatch):
    monkeypatch.setattr(gated, "EPOCHS", 20)
    gallery = drawn(seen, tmp_path / "figures", "eye+softmax", "eye+gated")
    figure = next(one for one in gallery.drawn if one.name == "feature-gate-eye")
    assert figure.text.startswith("Weights of a gate over the features, on the mean over photos between 0.")
    with Image.open(tmp_path / "figures" / "feature-gate-eye.png") as image:
        assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 50
    assert (tmp_path / "figures" / "feature-gate-eye.svg").stat().st_size > 10_000


def test_a_gate_that_stays_at_one_is_left_out_with_the_reason(seen, tmp_path, monkeypatch):
    monkeypatch.setattr(gated, "STANDARD_ERRORS", 100.0)
    gallery = drawn(seen, tmp_path / "figures", "eye+softmax", "eye+gated")
    assert "the feature gate of eye: it stays at 1, where a gate stays without evidence of a gain" in gallery.left_out


def test_without_a_gated_expert_nothing_is_said_of_gates(seen, tmp_path):
    gallery = drawn(seen, tmp_path / "figures", "eye+softmax")
    assert not [one for one in (*gallery.drawn, *gallery.left_out) if "feature gate" in str(one)]
