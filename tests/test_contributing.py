"""What CONTRIBUTING.md tells a contributor to write: it runs, and a gate written so can be trained."""

import re
from pathlib import Path

import numpy as np

from manyeyes.experts.lesson import Lesson
from manyeyes.experts.panel import ExpertPanel
from manyeyes.features.table import FeatureTable
from manyeyes.gates.objectives import Mixing
from manyeyes.gates.training import train_gate

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_card_is_a_card():
    names: dict[str, object] = {}
    exec(BLOCKS[0], names)
    assert names["card"].dimension == 512


def test_the_gate_can_be_trained():
    names: dict[str, object] = {}
    exec(BLOCKS[1], names)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    blocks = {name: rng.normal(y[:, None], 1.0, (60, 3)).astype(np.float32) for name in ("one", "other")}
    table = FeatureTable(blocks, rng.integers(0, 256, (60, 64, 64, 3), dtype=np.uint8))
    panel = ExpertPanel(tuple(("kernel-ridge", (name,)) for name in blocks)).fit(Lesson(table, y))
    trained = train_gate(names["BrightnessGate"], panel.inputs(table), Mixing(panel.out_of_fold_, y, np.ones(60)))
    np.testing.assert_allclose(np.exp(trained.held_out).sum(axis=1), 1, atol=1e-6)
