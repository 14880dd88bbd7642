"""A Ray cluster to look with: one of this machine's cores that nobody else can reach, or one that runs already."""

import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from manyeyes import threads
from manyeyes.errors import ClusterError, MissingExtraError
from manyeyes.progress import console

# Read when Ray is imported, and by all that it starts. It would report how it is used, and what it logs is for others.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
# What is started here can be reached from this machine only (Ray's default on Windows and macOS), and only by us.
OURS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
# A socket's path has 103 bytes at most (macOS; Linux allows 107), of which our folder and Ray's take 86.
SHORT = 17


@dataclass(frozen=True)
class Workers:
    """How many fill a cluster, what each owns, and where it keeps for a while what it has fetched."""

    count: int
    cores: int
    cards: int
    spool: str | None

    @classmethod
    def that_fill(cls, nodes: Sequence[Mapping[str, Any]], spool: str | None) -> "Workers":
        """One for each core; or, where there are graphics cards, for each card, with the cores that all can have."""
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        if with_cards := [machine for machine in machines if machine.get("GPU")]:
            cores = min(int(machine.get("CPU", 0) // machine["GPU"]) for machine in with_cards)
            return cls(int(sum(machine["GPU"] for machine in with_cards)), max(cores, 1), 1, spool)
        # A cluster that grows when it is asked for something may have no core yet.
        return cls(max(sum(int(machine.get("CPU", 0)) for machine in machines), 1), 1, 0, spool)


@contextmanager
def open_cluster(address: str | None, cores: int | None = None) -> Iterator[Workers]:
    """Join the cluster at ``address``, or start one of this machine's, and leave it again.

    The latter has ``cores`` cores (when None, those that this process may use). Raises MissingExtraError and
    ClusterError.
    """
    ray = import_ray(is_private=address is None)
    if ray.is_initialized():
        raise ClusterError("this process is in a Ray cluster already: call ray.shutdown() before")
    if address is None:
        console.print("starting Ray")
        with _private_folder() as folder:
            # Ray opens its folder to everybody, but nobody else gets through ours.
            own = {"num_cpus": cores or threads.cores(), "include_dashboard": False, "_temp_dir": f"{folder}/ray"}
            with _joined(ray, "this machine", address="local", **own):
                yield Workers.that_fill(ray.nodes(), folder)
    else:
        console.print(f"joining the Ray cluster at {address}", soft_wrap=True)
        _check_that_one_answers(address)
        with _joined(ray, address, address=address):
            yield Workers.that_fill(ray.nodes(), None)


def import_ray(is_private: bool) -> Any:
    """Ray, quiet; and, when ``is_private``, letting nobody else in. Raises MissingExtraError and ClusterError."""
    if sys.modules.get("ray") is None:
        os.environ |= QUIET | OURS if is_private else QUIET
    elif is_private and os.environ.get("RAY_AUTH_MODE") != "token":
        raise ClusterError(
            "Ray was imported before it could be told to let nobody else in: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN before `import ray`, or give the address of a cluster that runs already"
        )
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--ray needs Ray: pip install 'manyeyes[ray]'") from None
    return ray


def _private_folder() -> "tempfile.TemporaryDirectory[str]":
    place = tempfile.gettempdir()
    if os.name == "posix" and len(os.fsencode(place)) > SHORT:
        place = "/tmp"
    try:
        return tempfile.TemporaryDirectory(prefix="manyeyes-", dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise ClusterError(
            f"Ray needs a folder in {place}: {error.strerror or error}; set TMPDIR to a folder with a path of at most "
            f"{SHORT} bytes"
        ) from None


@contextmanager
def _joined(ray: Any, where: str, **options: Any) -> Iterator[None]:
    with redirect_stdout(sys.stderr):  # where Ray says which worker has died, and why
        try:
            try:
                with _stderr_closed():
                    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                raise ClusterError(f"no Ray cluster can be used at {where}: {error}") from None
            yield
        finally:
            ray.shutdown()


def _check_that_one_answers(address: str) -> None:
    """Ray itself would wait, and wait. Raises ClusterError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:  # the latter: no such port
            reason = getattr(error, "strerror", None) or error
            raise ClusterError(f"no Ray cluster answers at {address}: {reason}") from None


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """What is not written in Python says there how quiet it is."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
