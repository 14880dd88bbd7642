"""``fsspec+far://``: files of this machine, at a place that counts as another machine and fails when it is told to."""

from typing import Any, ClassVar

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem


class Far(LocalFileSystem):
    """``asked`` gets the path of whatever is looked up or opened, which raises the next of ``failures``, if any."""

    protocol = "far"
    asked: ClassVar[list[str]] = []
    failures: ClassVar[list[Exception]] = []

    def info(self, path: str, **how: Any) -> dict[str, Any]:
        self._ask(path)
        return super().info(path, **how)

    # As most filesystems do: it is no file, either, when it could not be asked.
    isfile = AbstractFileSystem.isfile

    def _open(self, path: str, *given: Any, **how: Any) -> Any:
        self._ask(path)
        return super()._open(path, *given, **how)

    def _ask(self, path: str) -> None:
        self.asked.append(path)
        if self.failures:
            raise self.failures.pop(0)

    def mv(self, path1: str, path2: str, **how: Any) -> None:
        """As HDFS and SFTP: onto nothing that is there."""
        if self.exists(path2):
            raise OSError(f"{path2} is there")
        super().mv(path1, path2, **how)


if __name__ == "far":  # pytest also imports this file by another name, to look for doctests
    fsspec.register_implementation("far", Far)
