"""The list of all methods: complete, selectable, and made by the registries."""

from collections import Counter

import pytest

from manyeyes.errors import UnknownNameError
from manyeyes.fusion import FUSIONS
from manyeyes.gates import GATES
from manyeyes.study.methods import REFERENCES, Kind, all_methods, choose, short_list

METHODS = all_methods(["eye", "ear"], words=["glove-50d", "/some/where/glove.6B.300d.txt"])
NAMES = [method.name for method in METHODS]


def test_names_are_unique_and_every_kind_is_there():
    assert max(Counter(NAMES).values()) == 1
    assert {method.kind for method in METHODS} == set(Kind)


def test_every_fusion_and_every_gate_that_is_registered_is_a_method():
    assert {method.fusion for method in METHODS} - {""} == set(FUSIONS.names())
    assert {f"mixture-{gate}" for gate in GATES.names()} <= set(NAMES)


@pytest.mark.parametrize("method", [one for one in METHODS if one.fusion], ids=lambda one: one.name)
def test_every_fusion_can_be_made_with_its_settings(method):
    fusion = method.make("balanced", 3)
    assert type(fusion) is FUSIONS[method.fusion]
    parameters = fusion.get_params(deep=False)
    assert parameters["class_weight"] == "balanced" and parameters["random_state"] == 3
    assert {name: parameters[name] for name in method.settings} == dict(method.settings)
    assert parameters.get("expert", method.expert) == method.expert


def test_the_rows_of_the_papers_table_are_there_by_name():
    rows = {method.paper for method in METHODS} - {""}
    assert rows == {
        "all + SVM",
        "all + PCA + SVM",
        "MoE-Stacking",
        "MoE-Embedding",
        "MoE-CNN(32)",
        "MoE-CNN(64)",
        "LE MoE-Embedding",
        "LE MoE-CNN(32)",
        "LE MoE-CNN(64)",
    }


def test_each_backbone_stands_alone_with_each_expert():
    alone = [method for method in METHODS if method.kind is Kind.SINGLE]
    assert {(one.backbone, one.expert) for one in alone} == {
        (backbone, expert)
        for backbone in ("eye", "ear")
        for expert in ("softmax", "gated", "linear-svm", "kernel-ridge")
    }


def test_a_label_space_starts_at_random_and_from_each_of_the_words():
    assert {one.settings["label_space"] for one in METHODS if "label_space" in one.settings} == {
        "random",
        "glove-50d",
        "/some/where/glove.6B.300d.txt",
    }
    assert "mixture-cnn32-le-glove.6B.300d" in NAMES
    assert not [one for one in all_methods(["eye"]) if "glove" in one.name]


def test_the_references_are_methods():
    assert set(REFERENCES) <= set(NAMES)


def test_the_short_list_is_taken_from_the_whole():
    short = short_list(["eye", "ear"], expert="ridge", gate="constant")
    assert all(one in all_methods(["eye", "ear"], expert="ridge") for one in short)
    assert [one.name for one in short if one.kind in (Kind.SINGLE, Kind.MIXTURE, Kind.OURS, Kind.BOUND)] == [
        "eye+ridge",
        "ear+ridge",
        "mixture-uniform",
        "mixture-constant",
        "auto",
        "oracle",
    ]
    assert {one.expert for one in short if one.fusion in ("mixture", "stacking", "best-single")} == {"ridge"}


def test_methods_are_chosen_by_name_or_pattern():
    assert [one.name for one in choose(METHODS, ["oracle", "ear+soft*", "stacking*sample", "stacking"])] == [
        "ear+softmax",
        "stacking",
        "stacking-in-sample",
        "stacking-product-in-sample",
        "oracle",
    ]
    assert choose(METHODS, ["*"]) == METHODS


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(UnknownNameError, match="'staking' matches no method: choose from eye"):
        choose(METHODS, ["auto", "staking"])
