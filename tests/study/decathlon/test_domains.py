"""The file that names domains."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_world import draw, write_photos

from manyeyes.errors import PhotoSourceError
from manyeyes.images import PhotoSet
from manyeyes.study.decathlon.domains import DomainPhotos, read_domains, read_visual_decathlon


@pytest.fixture
def write(tmp_path):
    """``write(text)`` beside two folders of photos, and what is read from it."""
    write_photos(tmp_path / "flowers", ["apple", "leaf"], count=4)
    write_photos(tmp_path / "signs of all kinds", ["stop", "go", "Straße"], count=4)

    def file(text):
        (tmp_path / "domains.toml").write_text(text, encoding="utf-8")
        return read_domains(tmp_path / "domains.toml")

    return file


def test_domains_lie_beside_their_file_or_anywhere(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    one, two, three = write(
        f"""
        size = 48
        [flowers]
        photos = "flowers"
        ["signs, ü"]
        photos = "{tmp_path}/signs of all kinds"
        train = 0.25
        most_per_class = 3
        most_judged = 1
        group = '^(\\d)'
        flip = false
        size = 32
        [whole]
        photos = "flowers"
        train = 0.75
        """
    )
    assert (one.name, two.name, three.name) == ("flowers", "signs, ü", "whole")
    assert (one.train, one.most_per_class, one.most_judged, one.flip, one.size) == (0.5, 0, 0, True, 48)
    assert (two.train, two.most_per_class, two.most_judged, two.flip, two.size) == (0.25, 3, 1, False, 32)
    assert len(one.photos) == 8
    assert two.photos.classes == ("Straße", "go", "stop")
    assert set(two.photos.groups) == {"Straße/0", "go/0", "stop/0"}  # one film a class


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size = ", "cannot be read as TOML"),
        ("", "names no domains: write tables such as"),
        ("size = 64", "names no domains"),
        ("colour = 3", "'colour' is no table"),
        ("[flowers]", r"\[flowers\] names no photos; a domain has photos, train"),
        ('[flowers]\nphoto = "flowers"', r"\[flowers\] does not know photo = 'flowers'; a domain has photos, train"),
        ("[flowers]\nphotos = 3", "does not know photos = 3"),
        ('[flowers]\nphotos = "gone"', "gone cannot be read"),
        ('[flowers]\nphotos = "flowers/apple"', "photos lie directly in"),
        ('[flowers]\nphotos = "flowers"\ntrain = 0', "train is a share between 0 and 1, not 0"),
        ('[flowers]\nphotos = "flowers"\ntrain = 1.0', "train is a share between 0 and 1, not 1.0"),
        ('[flowers]\nphotos = "flowers"\ntrain = "half"', "does not know train = 'half'"),
        ('[flowers]\nphotos = "flowers"\ntrain = nan', "train is a share between 0 and 1, not nan"),
        ('[flowers]\nphotos = "flowers"\nmost_judged = 2.5', "does not know most_judged = 2.5"),
        ('[flowers]\nphotos = "flowers"\nmost_judged = true', "does not know most_judged = True"),
        ('[flowers]\nphotos = "flowers"\nmost_judged = -1', "most_judged = -1"),
        ('[flowers]\nphotos = "flowers"\nmost_per_class = -1', "most_per_class = -1"),
        ('[flowers]\nphotos = "flowers"\nsize = 0', "size = 0"),
        ('[flowers]\nphotos = "flowers"\nflip = "no"', "does not know flip = 'no'"),
        ("[flowers]\nphotos = \"flowers\"\ngroup = '('", "group is no regular expression"),
        ("[flowers]\nphotos = \"flowers\"\ngroup = '^x'", r"group = '\^x' does not match .*apple.*00\.png"),
        ('size = "large"\n[flowers]\nphotos = "flowers"', "size = 'large'"),
        ('[x]\nvisual_decathlon = "flowers"', "flowers holds none of the decathlon's folders"),
        ("[x]\nvisual_decathlon = 3", "visual_decathlon = 3"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(write, text, words):
    with pytest.raises(PhotoSourceError, match=words) as caught:
        write(text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "gone.toml"):
        with pytest.raises(PhotoSourceError, match="cannot be read as TOML: "):
            read_domains(path)
    (tmp_path / "latin.toml").write_bytes("[Blüten]".encode("latin-1"))
    with pytest.raises(PhotoSourceError, match="cannot be read as TOML: "):
        read_domains(tmp_path / "latin.toml")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    labels=st.lists(st.sampled_from("ab"), min_size=2, max_size=40),
    group_size=st.integers(0, 4),
    train=st.floats(0.05, 0.95),
    most=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    seed=st.integers(0, 9),
)
def test_no_photo_and_no_group_is_on_both_sides(labels, group_size, train, most, seed):
    paths = tuple(map(str, range(len(labels))))
    groups = (
        tuple(f"{label}{int(path) // group_size}" for path, label in zip(paths, labels, strict=True))
        if group_size
        else None
    )
    domain = DomainPhotos("x", PhotoSet(paths, tuple(labels), groups=groups), train, *most)
    try:
        learnt, judged = domain.split(seed)
    except PhotoSourceError as error:
        assert str(error) == "x: no photos are left to judge by"
        return
    assert not set(learnt.paths) & set(judged.paths)
    if groups:
        assert not set(learnt.groups) & set(judged.groups)
    assert set(learnt.labels) == set(labels)
    for name, count in domain.photos.counts.items():
        mine, theirs = learnt.labels.count(name), judged.labels.count(name)
        assert mine <= (most[0] or count)
        assert theirs <= (most[1] or count)
        if most == (0, 0):
            assert mine + theirs == count
            if not group_size:
                assert abs(mine - train * count) <= 1
    assert domain.split(seed) == (learnt, judged)
    few, _ = domain.split(seed, 1)
    assert all(number == 1 for number in few.counts.values())


def test_another_seed_draws_other_photos_but_published_splits_stay():
    paths, labels = tuple(map(str, range(40))), ("a", "b") * 20
    drawn = DomainPhotos("x", PhotoSet(paths, labels))
    assert set(drawn.split(0)[0].paths) != set(drawn.split(1)[0].paths)
    splits = ("train",) * 20 + ("test",) * 10 + ("val",) * 10
    published = DomainPhotos("x", PhotoSet(paths, labels, splits))
    for seed in (0, 1):
        learnt, judged = published.split(seed)
        assert set(learnt.paths) == set(paths[:20])
        assert set(judged.paths) == set(paths[20:])
    # Of so many a class, another seed draws others all the same.
    assert set(published.split(0, 3)[0].paths) != set(published.split(1, 3)[0].paths)


@pytest.mark.parametrize("splits", [("train",) * 4, ("test",) * 4])
def test_photos_of_which_none_would_be_trained_on_or_none_judged_are_refused(splits):
    domain = DomainPhotos("x", PhotoSet(tuple("0123"), tuple("abab"), splits))
    with pytest.raises(PhotoSourceError, match="x: no photos are left to"):
        domain.split(0)


@pytest.fixture
def published(tmp_path):
    """Two of the Visual Decathlon's folders, as its archive has them: photos to test on have no labels."""
    for name in ("aircraft", "gtsrb"):
        for part, count in (("train", 3), ("val", 2)):
            for number in (1, 2):
                folder = tmp_path / "decathlon-1.0" / name / part / f"{number:04}"
                folder.mkdir(parents=True)
                for photo in range(count):
                    draw((40, 60, 180), 10 * number + photo).save(folder / f"{photo:06}.jpg")
        shutil.copytree(tmp_path / "decathlon-1.0" / name / "val" / "0001", tmp_path / "decathlon-1.0" / name / "test")
    (tmp_path / "decathlon-1.0" / "annotations").mkdir()
    return tmp_path / "decathlon-1.0"


def test_the_published_folders_are_judged_on_val_and_test_is_left_alone(published, tmp_path):
    (tmp_path / "domains.toml").write_text('[all]\nvisual_decathlon = "decathlon-1.0"\n')
    aircraft, signs = read_domains(tmp_path / "domains.toml")
    assert (aircraft.name, aircraft.flip, aircraft.size) == ("aircraft", True, 64)
    assert (signs.name, signs.flip, signs.size) == ("gtsrb", False, 72)
    for domain in (aircraft, signs):
        assert domain.photos.classes == ("0001", "0002")
        learnt, judged = domain.split(0)
        assert (len(learnt), len(judged)) == (6, 4)
        assert {path.split("/")[-3] for path in learnt.paths} == {"train"}
        assert {path.split("/")[-3] for path in judged.paths} == {"val"}
    assert not list(published.rglob("*.part"))


def test_two_domains_of_one_name_are_refused(published, tmp_path):
    (tmp_path / "domains.toml").write_text(
        f'[aircraft]\nphotos = "{published}/aircraft/train"\n[all]\nvisual_decathlon = "decathlon-1.0"\n'
    )
    with pytest.raises(PhotoSourceError, match="two domains are called 'aircraft'"):
        read_domains(tmp_path / "domains.toml")


def test_a_folder_without_any_of_them_is_refused(tmp_path):
    with pytest.raises(PhotoSourceError, match=r"holds none of the decathlon's folders \(imagenet12, aircraft"):
        read_visual_decathlon(tmp_path)
