"""Fitted estimators to plain data and back; and what forged data can make of it: an error."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load, save
from sklearn.linear_model import LogisticRegression

from manyeyes.errors import BundleError
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.gates import GATES
from manyeyes.state import pack, unpack

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)
ARRAYS = hnp.arrays(st.sampled_from(["f4", "f8", "i2", "i8", "u1", "?"]), hnp.array_shapes(max_dims=3, min_side=0))


def there_and_back(value):
    """Through JSON, as in a bundle."""
    arrays = {}
    tree = json.loads(json.dumps(pack(value, arrays)))
    return unpack(tree, arrays)


@given(PLAIN)
def test_plain_data_comes_back(value):
    assert there_and_back(value) == value


@given(ARRAYS)
def test_arrays_come_back(value):
    back = there_and_back(value)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


@given(ARRAYS)
def test_arrays_come_back_from_a_file_whatever_the_order_of_their_axes(value):
    for lying in (value, np.asfortranarray(value), value[..., ::-1] if value.ndim else value):
        arrays = {}
        tree = pack(lying, arrays)
        np.testing.assert_array_equal(unpack(tree, load(save(arrays))), lying)


@given(st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1))
def test_names_come_back(names):
    back = there_and_back(np.array(names))
    assert back.dtype.kind == "U"
    assert back.tolist() == names
    assert there_and_back(np.array(names, dtype=object)).tolist() == names


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    blocks = {name: random.normal(size=(30, width)).astype(np.float32) for name, width in (("a", 3), ("b.tap", 5))}
    thumbnails = random.integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    return FeatureTable(blocks, thumbnails)


@pytest.mark.parametrize("gate", GATES.names())
def test_a_trained_gate_weighs_as_before(table, gate):
    fusion = MixtureOfExperts(gate=gate).fit(table, np.arange(30) % 2)
    for parameter in fusion.gate_.parameters():  # as if it had been worth training
        parameter.data.add_(0.01 * np.pi).mul_(np.e)
    back = there_and_back(fusion)
    assert not back.gate_.training
    np.testing.assert_array_equal(back.gate_weights(table), fusion.gate_weights(table))


def test_what_only_training_needs_is_left_out(table):
    arrays = {}
    pack(FUSIONS["stacking"]().fit(table, np.arange(30) % 3), arrays)
    assert not [name for name in arrays if "out_of_fold" in name]


@pytest.mark.parametrize("name", FUSIONS.names())
def test_every_fusion_predicts_as_before(table, name):
    fusion = FUSIONS[name]().fit(table, np.array(["cat", "dog", "owl"] * 10))
    back = there_and_back(fusion)
    assert back.get_params() == fusion.get_params()
    assert back.classes_.tolist() == ["cat", "dog", "owl"]
    np.testing.assert_array_equal(back.predict_log_proba(table), fusion.predict_log_proba(table))


@pytest.mark.parametrize("value", [LogisticRegression(), {1, 2}, print, np.array([1j]), np.array([print]), b"x"])
def test_what_has_no_place_in_a_bundle_is_refused(value):
    with pytest.raises(BundleError, match="cannot be kept in a bundle"):
        pack(value, {})


EXPERT = {"expert": "softmax", "parameters": {"dict": []}, "fitted": {}}


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({"expert": "os:system", "parameters": {"dict": []}, "fitted": {}}, id="import path"),
        pytest.param({"fusion": "subprocess:run", "parameters": {"dict": []}, "fitted": {}}, id="other import path"),
        pytest.param({"gate": "manyeyes.gates.cnn:CnnGate32", "widths": [1], "path": "m"}, id="gate"),
        pytest.param({"gate": ["cnn32"], "widths": [1], "path": "m"}, id="list for a name"),
        pytest.param({"gate": "cnn32", "widths": ["x"], "path": "m"}, id="word for a width"),
        pytest.param({"gate": "cnn32", "widths": [1], "path": "elsewhere"}, id="gate without tensors"),
        pytest.param({"builtin": "print", "parameters": {}, "fitted": {}}, id="no such kind"),
        pytest.param({**EXPERT, "fusion": "mixture"}, id="two kinds at once"),
        pytest.param({**EXPERT, "fitted": {"__class__": "x"}}, id="class"),
        pytest.param({**EXPERT, "fitted": {"__dict__": {"dict": []}}}, id="dict"),
        pytest.param({**EXPERT, "fitted": {"fit": "x"}}, id="method"),
        pytest.param({**EXPERT, "fitted": {"_private_": "x"}}, id="private"),
        pytest.param({**EXPERT, "fitted": ["coef_"]}, id="list of attributes"),
        pytest.param({**EXPERT, "parameters": {"dict": [["no_such", 1]]}}, id="unknown parameter"),
        pytest.param({**EXPERT, "parameters": 7}, id="number for parameters"),
        pytest.param({"expert": "softmax"}, id="half an expert"),
        pytest.param({"panel": "panel", "parameters": {"dict": []}, "fitted": {"out_of_fold_": 1}}, id="property"),
        pytest.param({"array": "nowhere"}, id="missing array"),
        pytest.param({"values": ["a"], "dtype": "U2000000000"}, id="endless text"),
        pytest.param({"values": ["a"], "dtype": "f8"}, id="text as numbers"),
        pytest.param({"dict": [["key"]]}, id="key without a value"),
        pytest.param({"dict": [[{"list": []}, 1]]}, id="list for a key"),
        pytest.param({"list": 5}, id="number for a list"),
        pytest.param({}, id="nothing"),
    ],
)
def test_a_forged_tree_is_refused(tree):
    with pytest.raises(BundleError, match="not a packed model"):
        unpack(tree, {})


def test_a_tree_without_end_is_refused():
    tree = 1
    for _ in range(100_000):
        tree = {"list": [tree]}
    with pytest.raises(BundleError, match="not a packed model"):
        unpack(tree, {})


def test_only_registered_kinds_are_packed_not_their_descendants():
    class Mine(SoftmaxRegression):
        pass

    with pytest.raises(BundleError, match="Mine"):
        pack(Mine(), {})
