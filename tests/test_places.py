"""URLs: what is one, and which filesystem opens it."""

import pytest

from manyeyes.errors import OfflineError, PlaceError
from manyeyes.places import is_url, join, locate


@pytest.mark.parametrize(
    "place", ["s3://bucket", "file:///a", "fsspec+memory://a/b", "gs://b/c d?e", "S3://bucket", "Fsspec+Memory://a"]
)
def test_what_is_a_url(place):
    assert is_url(place)


@pytest.mark.parametrize("place", ["a/b", "/a/b", "c://a", "s3:/bucket", "photos/s3://bucket", ""])
def test_what_is_none(place):
    assert not is_url(place)
    with pytest.raises(PlaceError, match=r"is no URL such as"):
        locate(place)


def test_a_path_is_taken_as_it_is_written(tmp_path):
    odd = tmp_path / "a b%20c?d#e"
    odd.write_bytes(b"here")
    filesystem, path = locate(f"file://{odd}")
    with filesystem.open_input_file(path) as file:
        assert file.read() == b"here"
    assert locate(f"file://{odd}/")[1] == path
    assert join(f"file://{tmp_path}/", odd.name) == f"file://{odd}"


def test_a_filesystem_is_opened_once():
    assert locate("fsspec+memory://a/b")[0] is locate("FSSPEC+Memory://a/c")[0]


@pytest.mark.parametrize("end", ["", "/", "/photos", "/photos/"])
def test_a_bucket_may_stand_alone(online, end):
    assert locate(f"gs://bucket{end}")[1] == f"bucket{end.rstrip('/')}"


def test_what_cannot_be_opened(online):
    with pytest.raises(PlaceError, match=r"^nope://x/y cannot be opened: .*[Uu]nrecognized"):
        locate("nope://x/y")
    with pytest.raises(PlaceError, match=r"^fsspec\+nope://x cannot be opened: "):
        locate("fsspec+nope://x")


def test_without_the_network_only_this_machine(network_denied):
    with pytest.raises(OfflineError, match=r"^s3://bucket/photos lies beyond this machine"):
        locate("s3://bucket/photos")
    locate("fsspec+memory://a")
