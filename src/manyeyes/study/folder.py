"""Where a study lies: a folder that is written whole or not at all, and never over anything but an older study."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manyeyes.errors import StudyError

FORMAT, VERSION = "manyeyes-study", 1
RESULTS, PAGE, ANSWERS, FIGURES = "results.json", "table.md", "answers.npz", "figures"


def check_free(folder: Path) -> None:
    """Raise StudyError unless a study can be written there: there is nothing, or an older study to replace."""
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-"):
            pass  # better to learn now that nothing can be written than after all methods were fitted
    except OSError as error:
        raise StudyError(f"no study can be written to {folder}: {error.strerror}") from None
    if names and not (names <= {RESULTS, PAGE, ANSWERS, FIGURES} and _is_study(folder)):
        raise StudyError(f"{folder} holds other files than a manyeyes study: choose another folder, or empty it")


def write_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write into an empty folder, which then takes its name; an older study there is replaced."""
    folder = folder.resolve()
    check_free(folder)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            made, older = Path(scratch) / "made", Path(scratch) / "older"
            made.mkdir()
            fill(made)
            if folder.exists():
                folder.rename(older)
            try:
                made.rename(folder)
            except OSError:
                if older.exists():
                    older.rename(folder)
                raise
    except OSError as error:
        raise StudyError(f"the study {folder} cannot be written: {error.strerror or error}") from None


def read_results(path: Path) -> dict[str, Any]:
    """What a study's ``results.json`` holds; ``path`` is that file, or its folder. Raises StudyError."""
    file = path / RESULTS if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{file} cannot be read as a study's results: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise StudyError(f"{file} holds no results of a manyeyes study")
    if found.get("version") != VERSION:
        raise StudyError(f"{file} is of version {found.get('version')}, and this manyeyes reads version {VERSION}")
    return found


def _is_study(folder: Path) -> bool:
    try:
        read_results(folder)
    except StudyError:
        return False
    return True
