import pytest

from manyeyes.label_space.names import all_tokens, class_names, joined, tokens_of


def test_there_are_a_thousand_classes_in_the_order_of_the_heads() -> None:
    names = class_names()
    assert len(names) == 1000
    assert names[0] == ("tench", "Tinca tinca")
    assert names[928] == ("ice cream", "icecream")
    assert names[999][0] == "toilet tissue"


@pytest.mark.parametrize("token", ["ice_cream", "ice-cream", "icecream"])
def test_the_joint_token_comes_before_the_words(token: str) -> None:
    assert tokens_of("ice cream", {"ice", "cream", token}) == [token]


def test_else_the_known_words_stand_for_the_name() -> None:
    assert tokens_of("great white shark", {"great", "shark"}) == ["great", "shark"]
    assert tokens_of("black-and-tan coonhound", {"black", "tan"}) == ["black", "tan"]
    assert tokens_of("komondor", {"dog"}) == []


def test_a_name_of_one_word_is_one_token() -> None:
    assert joined("Chihuahua") == ["chihuahua"]
    assert tokens_of("carpenter's kit", {"carpenter", "kit", "s"}) == ["carpenter", "kit"]


def test_every_class_could_be_looked_up() -> None:
    tokens = all_tokens()
    assert all(set(joined(name)) <= tokens for synonyms in class_names() for name in synonyms)
