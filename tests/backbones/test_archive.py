import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyeyes.backbones.sources import archive as archive_module
from manyeyes.backbones.sources.archive import take
from manyeyes.errors import FetchError, ManyEyesError, UnsafeArchiveError

KINDS = ["zip", "tar", "tgz"]


def make(path: Path, kind: str, members: dict[str, bytes]) -> Path:
    path = path.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        return path
    with tarfile.open(path, "w:gz" if kind == "tgz" else "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def make_tar_with(path: Path, entry: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry)
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where to unpack to; whatever lands beside it has escaped."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    return inner


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_is_taken(tmp_path, folder, kind):
    archive = make(tmp_path / "a", kind, {"net/w.pth": b"weights", "net/other": b"other", "w.pth": b"elsewhere"})
    assert take(archive, "net/w.pth", folder) == folder / "net/w.pth"
    assert files_below(folder) == {"net/w.pth": b"weights"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_taken_whole(tmp_path, folder, kind):
    archive = make(tmp_path / "a", kind, {"top/net/a": b"1", "top/net/deep/b": b"2", "top/network": b"3"})
    assert take(archive, "net", folder, strip=1) == folder / "net"
    assert files_below(folder) == {"net/a": b"1", "net/deep/b": b"2"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_member_is_named(tmp_path, folder, kind):
    with pytest.raises(FetchError, match=r"a\.\w+ holds nothing called 'net/v\.pth'"):
        take(make(tmp_path / "a", kind, {"net/w.pth": b""}), "net/v.pth", folder)


ESCAPES = ["net/../../x", "net/..", "net/a\\..\\..\\x", "net/C:x", "../x", "/x", "net/a\\b"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ESCAPES)
def test_a_member_cannot_escape(tmp_path, folder, kind, name):
    archive = make(tmp_path / "a", kind, {name: b"evil", "net/good": b"good"})
    # Members that nobody asked for are not looked at; those below the wanted folder are refused.
    if name.startswith("net/"):
        with pytest.raises(UnsafeArchiveError, match="leads out of its folder"):
            take(archive, "net", folder)
    else:
        take(archive, "net", folder)
    assert files_below(tmp_path / "outer").keys() <= {"inner/net/good"}


@pytest.mark.parametrize("inside", ["../x", "..", "/etc/passwd", "net/../../x", "C:x", "a\\b"])
def test_a_card_cannot_point_out_of_the_archive(tmp_path, folder, inside):
    (folder.parent / "x").write_bytes(b"not from the archive")
    with pytest.raises(UnsafeArchiveError, match="leads out of its folder"):
        take(make(tmp_path / "a", "zip", {"net/w.pth": b""}), inside, folder)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_not_there(tmp_path, folder, kind):
    entry = tarfile.TarInfo("net/w.pth")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with pytest.raises(FetchError, match="holds nothing called"):
        take(make_tar_with(tmp_path / "a.tar", entry), "net", folder)
    assert not list(folder.iterdir())


def test_nothing_is_written_through_a_link(tmp_path, folder):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("net/door")
        link.type, link.linkname = tarfile.SYMTYPE, str(folder.parent)
        archive.addfile(link)
        through = tarfile.TarInfo("net/door/x")
        through.size = 4
        archive.addfile(through, io.BytesIO(b"evil"))
    take(tmp_path / "a.tar", "net", folder)
    assert files_below(tmp_path / "outer") == {"inner/net/door/x": b"evil"}


def test_a_link_in_a_zip_becomes_an_ordinary_file(tmp_path, folder):
    info = zipfile.ZipInfo("net/w.pth")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    taken = take(tmp_path / "a.zip", "net/w.pth", folder)
    assert not taken.is_symlink()
    assert taken.read_bytes() == b"/etc/passwd"


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_bytes_are_refused(tmp_path, folder, kind, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_BYTES", 1000)
    archive = make(tmp_path / "a", kind, {"net/a": bytes(600), "net/b": bytes(600)})
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than"):
        take(archive, "net", folder)
    assert files_below(folder) == {"net/a": bytes(600)}


def test_a_zip_cannot_lie_about_its_size(tmp_path, folder):
    archive = make(tmp_path / "a", "zip", {"net/w.pth": bytes(100_000)})
    # The size stands in the local header and in the directory at the end.
    archive.write_bytes(archive.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(FetchError, match="cannot be read"):
        take(archive, "net/w.pth", folder)
    assert sum(map(len, files_below(folder).values())) <= 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive_is_refused(tmp_path, folder, kind):
    archive = make(tmp_path / "a", kind, {"net/w.pth": os.urandom(10_000)})
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(FetchError, match="cannot be read as a zip or tar archive"):
        take(archive, "net/w.pth", folder)


def test_an_encrypted_zip_is_refused(tmp_path, folder):
    archive = make(tmp_path / "a", "zip", {"net/w.pth": b"weights"})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(FetchError, match="encrypted"):
        take(archive, "net/w.pth", folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [("net/a", "net/a/b"), ("net/a/b", "net/a"), ("net", "net/a")])
def test_a_name_cannot_be_file_and_folder(tmp_path, folder, kind, names):
    with pytest.raises(UnsafeArchiveError, match="both as a file and as a folder"):
        take(make(tmp_path / "a", kind, dict.fromkeys(names, b"x")), "net", folder)


part = st.sampled_from(["..", ".", "", "net", "a", "C:", "a\\b", "~", "..."]) | st.text(
    st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=6
)


@given(
    names=st.lists(st.lists(part, min_size=1, max_size=5).map("/".join), min_size=1, max_size=4, unique=True),
    inside=st.sampled_from(["", "net", "net/a"]),
    strip=st.integers(0, 1),
    kind=st.sampled_from(["zip", "tar"]),
)
def test_nothing_is_ever_written_outside(tmp_path_factory, names, inside, strip, kind):
    outer = tmp_path_factory.mktemp("outer")
    inner = outer / "outer" / "inner"
    inner.mkdir(parents=True)
    try:
        archive = make(outer / "a", kind, dict.fromkeys(names, b"x"))
    except ValueError:
        return  # no archive can hold these names
    try:
        taken = take(archive, inside, inner, strip)
    except ManyEyesError:
        pass
    else:
        assert taken.is_relative_to(inner)
        assert taken.exists()
    assert all(path.is_relative_to(inner) for path in (outer / "outer").rglob("*") if path.is_file())
    assert {path.name for path in outer.iterdir()} == {"outer", archive.name}
