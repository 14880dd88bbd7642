"""How a benchmark was called, for the results that it writes."""

import shlex
import sys
from pathlib import Path


def command() -> str:
    """As another person would type it: without this machine's folders."""
    return shlex.join(["python", *(Path(word).name if Path(word).is_absolute() else word for word in sys.argv)])
