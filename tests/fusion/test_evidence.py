from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.features.table import FeatureTable
from manyeyes.fusion.evidence import Evidence, EvidenceSelection, select_by_evidence

Labels = npt.NDArray[np.int64]


def sets(seed: int, rows: int = 300, classes: int = 6) -> tuple[dict[str, npt.NDArray[np.float32]], Labels]:
    """Two sets of features that each tell half of the classes apart, a copy of the first, a weak one, and noise."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    halves = []
    for half in (np.arange(classes) < classes // 2, np.arange(classes) >= classes // 2):
        centres = 1.5 * rng.normal(size=(classes, 20)) * half[:, None]
        halves.append(centres[labels] + rng.normal(size=(rows, 20)))
    weak = 0.05 * rng.normal(size=(classes, 20))[labels] + rng.normal(size=(rows, 20))
    blocks = {"a": halves[0], "b": halves[1], "copy": halves[0], "weak": weak, "noise": rng.normal(size=(rows, 20))}
    return {name: block.astype(np.float32) for name, block in blocks.items()}, labels


@pytest.mark.parametrize("seed", range(3))
def test_what_completes_one_another_is_chosen_and_copies_and_noise_are_not(seed):
    steps = select_by_evidence(*sets(seed))
    assert len(steps) == 2
    assert {step.block for step in steps} in ({"a", "b"}, {"copy", "b"})
    assert steps[0].evidence < steps[1].evidence


def test_the_greedy_set_is_mostly_the_best_of_all_sets():
    same, gaps = 0, []
    for seed in range(12):
        blocks, labels = sets(seed, rows=60)
        rng = np.random.default_rng(seed)
        blocks = {name: block + rng.normal(0, 1, block.shape) for name, block in blocks.items() if name != "copy"}
        evidence = Evidence(blocks, labels)
        of = {names: evidence.of(names) for size in range(1, 5) for names in combinations(blocks, size)}
        best = max(of, key=of.__getitem__)
        greedy = select_by_evidence(blocks, labels)
        same += {step.block for step in greedy} == set(best)
        gaps.append(of[best] - greedy[-1].evidence)
    assert same >= 10
    assert max(gaps) < 0.01


def test_the_evidence_of_a_step_is_that_of_the_set():
    blocks, labels = sets(0)
    steps = select_by_evidence(blocks, labels)
    evidence = Evidence(blocks, labels)
    for count in range(1, len(steps) + 1):
        of_set = evidence.of([step.block for step in reversed(steps[:count])])
        assert of_set == pytest.approx(steps[count - 1].evidence, abs=1e-6)


def test_length_of_rows_and_order_of_blocks_do_not_count():
    blocks, labels = sets(0)
    scaled = {name: blocks[name] * np.float32(7) for name in reversed(blocks) if name != "copy"}
    assert [step.block for step in select_by_evidence(scaled, labels)] == [
        step.block for step in select_by_evidence({name: blocks[name] for name in scaled}, labels)
    ]


def test_of_many_photos_a_part_with_all_classes_is_judged():
    blocks, labels = sets(0)
    labels[17] = 6
    part = Evidence(blocks, labels, rows=20)
    assert part._targets.shape == (20, 7)
    assert {step.block for step in select_by_evidence(blocks, labels, rows=100)} <= set(blocks)


def test_the_fusion_uses_only_what_was_selected() -> None:
    blocks, labels = sets(0)
    model = EvidenceSelection().fit(FeatureTable(blocks), labels)
    assert list(model.evidence_) == [step.block for step in select_by_evidence(blocks, labels)]
    assert model.coef_.shape == (40, 6)
    other = {name: block if name in model.evidence_ else block + 1 for name, block in blocks.items()}
    table = FeatureTable(blocks)
    assert np.array_equal(model.predict_log_proba(FeatureTable(other)), model.predict_log_proba(table))


def test_it_predicts_well_and_knows_how_well() -> None:
    blocks, labels = sets(0, rows=600)
    table = FeatureTable(blocks)
    proba = EvidenceSelection().fit(table[:300], labels[:300]).predict_proba(table[300:])
    right = (proba.argmax(axis=1) == labels[300:]).mean()
    assert right > 0.8
    assert proba.max(axis=1).mean() == pytest.approx(right, abs=0.06)
