"""Processes that tests kill: forked from a server that has imported what they need, and has no other threads."""

import multiprocessing
import signal

# A server that imported torch once forks the processes; forking pytest itself would copy its threads' locks.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["pytest", "manyeyes.backbones.nets.timm_net", "manyeyes.classifier", "manyeyes.bundle", "manyeyes.gates.mixing"]
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
