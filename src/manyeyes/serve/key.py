"""The API key: who has it may ask."""

import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from fastapi import HTTPException, Security
from fastapi.security import APIKeyHeader

from manyeyes.errors import ChoiceError

VARIABLE, HEADER = "MANYEYES_API_KEY", "X-API-Key"


def read_key(file: Path | None) -> str | None:
    """The key in a file, or in the environment, without the space around it; None where neither is named.

    Raises ChoiceError for one that is empty, which is more likely a mistake than a wish to let everybody in.
    """
    try:
        key, where = (os.environ.get(VARIABLE), VARIABLE) if file is None else (file.read_text("utf-8"), str(file))
    except (OSError, ValueError) as error:
        raise ChoiceError(f"no API key can be read from {file}: {error}") from None
    if key is not None and not key.strip():
        raise ChoiceError(f"the API key in {where} is empty: write one there, or leave it out")
    return None if key is None else key.strip()


def checking(key: str) -> Callable[..., Awaitable[None]]:
    """What FastAPI asks before it lets a request in."""
    header = APIKeyHeader(name=HEADER, auto_error=False)

    async def check_key(given: Annotated[str | None, Security(header)]) -> None:
        # In a time that does not tell how much of it is right.
        if given is None or not secrets.compare_digest(given.encode(), key.encode()):
            what = "is wanted" if given is None else "is wrong"
            raise HTTPException(
                401, f"the API key {what}: send it as the header {HEADER}", {"WWW-Authenticate": HEADER}
            )

    return check_key
