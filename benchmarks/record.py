"""What every benchmark writes beside its figures: how it was called, and on what."""

import json
import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from manyeyes.backbones.engines.precision import INSTRUCTIONS, processor

PACKAGES = ("manyeyes", "torch", "openvino", "timm", "pillow", "simplejpeg", "scikit-learn", "pyarrow", "ray")


def command() -> str:
    """As another person would type it: without this machine's folders."""
    paths = [Path(word) for word in sys.argv]
    words = [path.name if path.is_absolute() or ".." in path.parts else str(path) for path in paths]
    return shlex.join(["python", *words])


def about() -> dict[str, Any]:
    """The command, the machine and the packages."""
    skills = [name for name in ("avx512_f", *INSTRUCTIONS) if processor().get(name)]
    return {
        "command": command(),
        "processor": " ".join([processor().get("cpu_name") or platform.processor(), *skills]),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def keep(output: Path | None, title: str, results: dict[str, Any], text: str) -> None:
    """Print a page of the results; with an output (``x.md``), write it there, and all figures to ``x.json``."""
    made = about()
    packages = ", ".join(f"{name} {number}" for name, number in made["packages"].items())
    cores = "one core" if made["cores"] == 1 else f"{made['cores']} cores"
    machine = f"{cores} of {made['processor']}" + (f" and one {made['gpu']}" if made["gpu"] else "")
    page = f"# {title}\n\nMade by `{made['command']}` on {machine}; {packages}.\n\n{text}\n"
    print(page)
    if output is not None:
        output.write_text(page, encoding="utf-8")
        figures = json.dumps(made | results, indent=1)
        output.with_suffix(".json").write_text(figures + "\n", encoding="utf-8")


def table(head: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A Markdown table whose first ``left`` columns are words."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def peak_bytes() -> int:
    """The most memory that this process ever had. (On Linux, ``ru_maxrss`` begins with that of the parent.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return status_bytes("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status_bytes(field: str) -> int:
    """A field of what Linux says of this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
