"""Run the user's own package client, so that its mirror, proxy and certificates are used as they are set up."""

import subprocess
from pathlib import Path

from manyeyes.errors import FetchError


def run_client(command: list[str], folder: Path, what: str) -> Path:
    """Run ``command``, which downloads one file into the empty ``folder``, and return that file.

    Raises FetchError with the client's own last words when it fails, is not installed, or brings nothing.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise FetchError(f"{what} comes through {command[0]!r}, which is not installed on this machine") from None
    if done.returncode != 0:
        words = [line.strip() for line in (done.stderr or done.stdout).splitlines() if "error" in line.lower()]
        raise FetchError(f"{what} could not be downloaded: {words[-1] if words else f'{command[0]} failed'}")
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise FetchError(f"{what}: {command[0]} brought {len(files)} files where one was expected")
    return files[0]
