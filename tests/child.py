"""Processes that tests kill: forked from a server that has imported what they need, and has no other threads."""

import builtins
import io
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

# A server that imported torch once forks the processes; forking pytest itself would copy its threads' locks.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["pytest", "manyeyes.backbones.timm_import", "manyeyes.classifier", "manyeyes.bundle", "manyeyes.gates.mixing"]
)


class Child:
    """A process that runs ``target(*args, pipe)``, and the near end of that pipe."""

    def __init__(self, target, *args: object) -> None:
        self.pipe, far = _processes.Pipe()
        self.process = _processes.Process(target=target, args=(*args, far))
        self.process.start()
        far.close()

    def kill(self) -> None:
        self.process.kill()
        assert self.end() == -signal.SIGKILL

    def end(self) -> int:
        """Waits for it; its exit code."""
        self.process.join(60)
        code = self.process.exitcode
        self.process.close()
        self.pipe.close()
        return code


def stay_before_change(step: int, answer: Connection) -> None:
    """From here on this process stays before its ``step``-th change of the disk, and answers "here" when there."""
    done = 0

    def counted(change: Callable[..., Any], is_change: Callable[..., bool]) -> Callable[..., Any]:
        def changing(*given: Any, **named: Any) -> Any:
            nonlocal done
            if is_change(*given, **named):
                done += 1
                if done == step:
                    answer.send("here")
                    answer.recv()
            return change(*given, **named)

        return changing

    for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "chmod"):
        setattr(os, name, counted(getattr(os, name), lambda *given, **named: True))
    builtins.open = io.open = counted(open, lambda path, mode="r", *rest, **named: mode[0] != "r")
