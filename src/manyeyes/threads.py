"""How many threads compute: one for small work, which gains nothing from more, or a pool of one for each core."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import joblib
import torch
from threadpoolctl import threadpool_limits


def cores() -> int:
    """The cores that this process may use: a container's share of them, or those it was bound to."""
    count: int = joblib.cpu_count()
    return count


def use_cores(count: int) -> None:
    """Let this process, which shares the machine with others of its kind, use no more cores than that."""
    os.environ["LOKY_MAX_CPU_COUNT"] = str(count)


@contextmanager
def one_thread(blas: bool = False) -> Iterator[None]:
    """Run the block with torch on one thread; with ``blas`` also every BLAS and OpenMP library that is loaded."""
    with _torch_threads_kept():
        torch.set_num_threads(1)
        with threadpool_limits(1) if blas else nullcontext():
            yield


@contextmanager
def open_pool() -> Iterator[ThreadPoolExecutor]:
    """A thread for each core, which runs torch on its own core only."""
    with _torch_threads_kept():
        pool = ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,))
        try:
            yield pool
        finally:
            # After an error or Ctrl-C nobody wants what is still queued.
            pool.shutdown(cancel_futures=True)


@contextmanager
def _torch_threads_kept() -> Iterator[None]:
    # The number that any thread sets, be it one of a pool, is what later threads of the process begin with.
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
