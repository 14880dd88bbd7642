"""Small disks and read-only folders for the calling process alone: mounts that no other process sees."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000


def mount_small_disk(folder: Path, size: int) -> None:
    """From here on ``folder`` is a disk of ``size`` bytes, which goes with this process."""
    _leave_the_others_mounts()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)


def make_read_only(folder: Path) -> None:
    """From here on nothing can be written to ``folder`` by this process, whoever it runs as."""
    _leave_the_others_mounts()
    _mount("--bind", folder, folder)
    _mount("-o", "remount,bind,ro", folder)


def _leave_the_others_mounts() -> None:
    # Whoever is not root becomes it for this process; which must still have one thread only.
    unshare, uid, gid = ctypes.CDLL(None).unshare, os.getuid(), os.getgid()
    if unshare(CLONE_NEWNS) != 0:
        assert unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _mount("--make-rprivate", "/")


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    ways = ("-m", "-rm")
    return any(
        subprocess.run(["unshare", way, "true"], capture_output=True, check=False).returncode == 0 for way in ways
    )


# What needs no mount is tested beside: a disk that is full by a limit on files' sizes, errors that are injected.
needs_mounts = pytest.mark.skipif(not _can_mount(), reason="this system lets nobody mount a disk for himself")
