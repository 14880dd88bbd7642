"""How many threads compute: one for small work, which gains nothing from more, or a pool of one for each core."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread(blas: bool = False) -> Iterator[None]:
    """Run the block with torch on one thread; with ``blas`` also every BLAS and OpenMP library that is loaded."""
    with _torch_threads_kept():
        torch.set_num_threads(1)
        with threadpool_limits(1) if blas else nullcontext():
            yield


@contextmanager
def open_pool() -> Iterator[ThreadPoolExecutor]:
    """As many threads as cores, each of which runs torch on its own core only."""
    with _torch_threads_kept():
        pool = ThreadPoolExecutor(os.cpu_count() or 1, initializer=torch.set_num_threads, initargs=(1,))
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
