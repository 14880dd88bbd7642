"""Domains on the disk: they come back bit for bit, or with one line that says why not."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import CLASSES, METHODS, SIZE, bank_of, card_of, framed, same, shaken, state_of

from manyeyes.adapt.compress import compressed
from manyeyes.adapt.domain_file import _sha256, load_domains, read_header, save_domains
from manyeyes.adapt.plan import Plan
from manyeyes.errors import AdaptError


def learnt(kind="resnet", **plans):
    bank = bank_of(kind, **plans)
    for number, name in enumerate(bank.names):
        shaken(bank[name], by=0.1, seed=number)
    return bank


def share(bank):
    for name, domain in compressed({name: bank[name] for name in bank.names}, 0.5).items():
        bank.put(name, domain)
    return bank


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Two domains that share factors. Not to be written to."""
    path = tmp_path_factory.mktemp("saved") / "domains.safetensors"
    save_domains(share(learnt(one=Plan(), two=Plan())), card_of(), "abc", path, {"epochs": 3})
    return path


def forged(path, place, change):
    """The same file with a header that ``change`` was at, and a checksum that is right again."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["manyeyes"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(header, tensors)
    text = json.dumps(header)
    save_file(tensors, place, metadata={"manyeyes": text, "sha256": _sha256(text, tensors)})
    return place


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["resnet", "efficientnet-same", "convnext", "vit", "vgg", "grouped"])
def test_a_domain_comes_back_bit_for_bit(kind, method, tmp_path):
    bank = learnt(kind, **{"my domain": Plan(method, (2, 0, 3))})
    save_domains(bank, card_of(), "abc", tmp_path / "d", {})
    again = bank_of(kind)
    load_domains(tmp_path / "d", again)
    assert again.names == ("my domain",)
    assert again["my domain"].classes == CLASSES
    assert same(state_of(again["my domain"]), state_of(bank["my domain"]))
    assert torch.equal(again(framed(), "my domain"), bank(framed(), "my domain"))
    assert all(parameter.requires_grad for parameter in again["my domain"].parameters())


def test_several_domains_of_different_plans_come_back_in_their_order(tmp_path):
    bank = learnt(**{"b": Plan(), "a": Plan("series"), "c/ü.x": Plan("lowrank", (0, 0, 1)), "d": Plan("norms")})
    save_domains(bank, card_of(), "abc", tmp_path / "d", {})
    again = bank_of()
    load_domains(tmp_path / "d", again)
    assert again.names == bank.names == ("b", "a", "c/ü.x", "d")
    assert all(torch.equal(again(framed(), name), bank(framed(), name)) for name in bank.names)


def test_what_domains_share_they_share_again(path):
    bank, again = share(learnt(one=Plan(), two=Plan())), bank_of()
    load_domains(path, again)
    one, two = (again[name].adapters for name in again.names)
    assert all(adapter.map.beta is two[site].map.beta for site, adapter in one.items())
    assert (again.multiple(), again.shared_size()) == (bank.multiple(), bank.shared_size())
    assert all(same(state_of(again[name]), state_of(bank[name])) for name in bank.names)


def test_shared_factors_are_found_whatever_domains_the_bank_had_before(path):
    bank = learnt(zero=Plan(), one=Plan("norms"))
    before = state_of(bank["zero"])
    load_domains(path, bank)
    assert bank.names == ("zero", "one", "two")
    assert same(state_of(bank["zero"]), before)
    alone = bank_of()
    load_domains(path, alone)
    for name in ("one", "two"):
        assert torch.equal(bank(framed(), name), alone(framed(), name))
    assert all(one.map.beta is bank["two"].adapters[site].map.beta for site, one in bank["one"].adapters.items())


def test_the_header_says_what_it_belongs_to_without_a_network(path):
    header = read_header(path)
    assert (header.card, header.weights, header.size) == (card_of(), "abc", SIZE)
    assert header.classes == {"one": CLASSES, "two": CLASSES}
    assert header.facts == {"epochs": 3}


def test_a_file_lies_alone_in_its_folder_readable_by_all(path, tmp_path):
    save_domains(learnt(one=Plan("norms")), card_of(), "abc", tmp_path / "a" / "b" / "d", {})
    assert [one.name for one in (tmp_path / "a" / "b").iterdir()] == ["d"]
    assert path.stat().st_mode & 0o777 == 0o644


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_byte_that_changed_is_noticed(path, data, tmp_path_factory):
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    place = data.draw(st.one_of(st.integers(0, header - 1), st.integers(header, len(content) - 1)))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged = tmp_path_factory.mktemp("damaged") / "d"
    damaged.write_bytes(content)
    bank = bank_of()
    try:
        load_domains(damaged, bank)
    except AdaptError as error:
        assert str(damaged) in str(error)
        assert "\n" not in str(error)
        return
    # Another blank in the outer header says nothing else.
    assert place < header
    whole = bank_of()
    load_domains(path, whole)
    assert all(same(state_of(bank[name]), state_of(whole[name])) for name in whole.names)


@pytest.mark.parametrize("share_kept", [0, 0.001, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_noticed(path, share_kept, tmp_path):
    content = path.read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(len(content) * share_kept)])
    for read in (read_header, lambda place: load_domains(place, bank_of())):
        with pytest.raises(AdaptError, match=r"cut holds no domain of manyeyes"):
            read(tmp_path / "cut")


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"\x89PNG" + bytes(100))
    (tmp_path / "folder").mkdir()
    save_file({"x": torch.ones(2)}, tmp_path / "weights")
    save_file({"x": torch.ones(2)}, tmp_path / "other", metadata={"manyeyes": '{"format": "bundle"}'})
    save_file({"x": torch.ones(2)}, tmp_path / "list", metadata={"manyeyes": "[]"})
    for name in ("photo.png", "folder", "weights", "other", "list"):
        with pytest.raises(AdaptError, match=f"{name} holds no domain of manyeyes"):
            load_domains(tmp_path / name, bank_of())
    with pytest.raises(AdaptError, match=r"there is no domain at .*gone"):
        load_domains(tmp_path / "gone", bank_of())


def test_a_file_of_another_backbone_is_refused(path, tmp_path):
    with pytest.raises(AdaptError, match=r"domains.safetensors does not fit the backbone"):
        load_domains(path, bank_of("efficientnet"))
    save_domains(learnt(one=Plan("norms")), card_of(), "abc", tmp_path / "d", {})
    for kind in ("efficientnet", "vit", "vgg"):
        with pytest.raises(AdaptError, match=r"d does not fit the backbone|made for another backbone"):
            load_domains(tmp_path / "d", bank_of(kind))


def drop(key):
    return lambda header, tensors: header.pop(key)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header, _: header.update(version=2), "it is of version 2, and this manyeyes .* reads 1"),
        (lambda header, _: header.update(format="x"), "it was not written by manyeyes"),
        (drop("card"), "holds no domain"),
        (drop("facts"), "holds no domain"),
        (lambda header, _: header.update(domains=["one"]), "holds no domain"),
        (lambda header, _: header["card"].update(size=3), "holds no domain"),
        (drop("shared"), "does not fit the backbone"),
        (lambda header, _: header["shared"].clear(), "does not fit the backbone"),
        (lambda header, _: header["domains"].update(three=["a"]), "does not fit the backbone"),
        (lambda header, _: header["domains"].update(one=["a"]), "does not fit the backbone"),
        (lambda header, _: header["shared"].update({"1/head.weight": "0/head.weight"}), "does not fit the backbone"),
        (lambda header, _: header["shared"].update({next(iter(header["shared"])): "9/x"}), "does not fit the backbone"),
        (lambda _, tensors: tensors.pop("0/head.bias"), "does not fit the backbone"),
        (lambda _, tensors: tensors.update({"0/extra": torch.ones(1)}), "does not fit the backbone"),
        (lambda _, tensors: tensors.update({"0/head.bias": torch.ones(7)}), "does not fit the backbone"),
        (lambda _, tensors: tensors.update({"0/_adapters.x.map.alpha": torch.ones(7)}), "does not fit the backbone"),
    ],
)
def test_a_forged_file_is_refused_in_one_line(path, tmp_path, change, words):
    place = forged(path, tmp_path / "forged", change)
    with pytest.raises(AdaptError, match=words) as caught:
        load_domains(place, bank_of())
    assert "\n" not in str(caught.value)
    assert "forged" in str(caught.value)


def test_a_card_that_would_run_code_is_refused(path, tmp_path):
    def change(header, _):
        header["card"]["source"] = "sdist:evil==1.0#weights.pth"

    with pytest.raises(AdaptError, match=r"its card 'tiny' would run code of evil==1\.0, and it is not one of ours"):
        read_header(forged(path, tmp_path / "forged", change))


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "file" / "d", tmp_path / "file" / "deeper" / "d", tmp_path / "folder", "/proc/d"):
        with pytest.raises(AdaptError, match=r"the domain .* cannot be written: ") as caught:
            save_domains(learnt(one=Plan("norms")), card_of(), "abc", tmp_path / place, {})
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_an_older_file_stays_whole_when_the_newer_cannot_be_written(path, tmp_path, monkeypatch):
    older = tmp_path / "d"
    older.write_bytes(path.read_bytes())

    def full(*given, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("manyeyes.adapt.domain_file.save_file", full)
    with pytest.raises(AdaptError, match="cannot be written: No space left on device"):
        save_domains(learnt(one=Plan("norms")), card_of(), "abc", older, {})
    assert older.read_bytes() == path.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["d"]
