"""What a command will write at its end, checked before its work."""

from importlib import import_module
from pathlib import Path


def check_output(path: Path, what: str, maker: str, extra: str) -> None:
    """Raise MissingExtraError where the module ``maker`` wants an extra that is not installed, StudyError where nothing
    can be written to ``path``."""
    from manyeyes.errors import MissingExtraError, StudyError
    from manyeyes.writing import try_writing

    try:
        import_module(maker)
    except ImportError as error:
        raise MissingExtraError(f"a {what} needs {error.name}: pip install 'manyeyes[{extra}]'") from None
    try:
        try_writing(path)
    except OSError as error:
        raise StudyError(f"no {what} can be written to {path}: {error.strerror}") from None
