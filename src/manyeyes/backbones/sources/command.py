"""Run the user's own package client, so that its mirror, proxy and certificates are used as they are set up."""

import re
import shutil
import subprocess
from pathlib import Path

from manyeyes.errors import FetchError

# npm prints codes before it says what is wrong; a sentence has more than two words.
_ERROR_SENTENCE = re.compile(r"^(?:ERROR:|npm error|npm ERR!)\s+(\S+ \S+ \S.*)$", re.MULTILINE)
# pip only warns of a dead connection, and then says that there is no such package.
_UNREACHABLE = re.compile(r"connection broken by '(\w+)")


def run_client(command: list[str], folder: Path, what: str) -> Path:
    """Run ``command``, which downloads one file into the empty ``folder``, and return that file.

    Raises FetchError with the client's own words when it fails, is not installed, or brings nothing.
    """
    # npm is a script with an ending of its own on some systems, which only a search of the path finds.
    client = shutil.which(command[0])
    if client is None:
        raise FetchError(f"{what} comes through {command[0]!r}, which is not installed on this machine")
    done = subprocess.run(
        [client, *command[1:]], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise FetchError(f"{what} could not be downloaded: {_reason(done.stderr)}")
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise FetchError(f"{what}: {command[0]} brought {len(files)} files where one was expected")
    return files[0]


def _reason(words: str) -> str:
    """The one line of a client's complaints that says what was wrong."""
    unreachable = _UNREACHABLE.search(words)
    if unreachable:
        return f"the package index cannot be reached ({unreachable[1]})"
    sentence = _ERROR_SENTENCE.search(words)
    if sentence:
        return sentence[1].strip()
    return (words.strip().splitlines() or ["its client failed without a word"])[-1]
