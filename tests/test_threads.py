"""Blocks and pools on one thread, and what is left of that after them."""

import threading
from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from manyeyes.threads import cores, one_thread, open_pool, use_cores


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    """So that one thread is a change on every machine."""
    before = torch.get_num_threads()
    with threadpool_limits(3):
        torch.set_num_threads(3)
        yield
    torch.set_num_threads(before)


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def torch_threads_of_a_new_thread() -> int:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def fail(error: type[BaseException]) -> None:
    raise error


def test_torch_runs_on_one_thread_and_blas_only_where_wanted():
    with one_thread():
        assert (torch.get_num_threads(), blas_threads()) == (1, {3})
    with one_thread(blas=True):
        assert (torch.get_num_threads(), blas_threads()) == (1, {1})
    assert (torch.get_num_threads(), blas_threads()) == (3, {3})


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_threads_are_restored_after_an_error(error):
    with pytest.raises(error), one_thread(blas=True):
        fail(error)
    assert (torch.get_num_threads(), blas_threads()) == (3, {3})
    assert torch_threads_of_a_new_thread() == 3


def test_blocks_can_lie_inside_one_another():
    with one_thread(blas=True):
        with one_thread():
            pass
        assert (torch.get_num_threads(), blas_threads()) == (1, {1})


def test_the_threads_of_a_pool_have_one_core_each_and_later_ones_all():
    with open_pool() as pool:
        assert {future.result() for future in [pool.submit(torch.get_num_threads) for _ in range(50)]} == {1}
    assert (torch.get_num_threads(), torch_threads_of_a_new_thread()) == (3, 3)


def test_after_an_error_a_pool_drops_what_is_queued(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    has_begun, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        has_begun.set()
        may_end.wait(10)

    with pytest.raises(ValueError), open_pool() as pool:
        futures = [pool.submit(wait) for _ in range(3)]
        has_begun.wait(10)
        # The pool waits for what has begun; that must end after the others were dropped.
        threading.Timer(0.1, may_end.set).start()
        fail(ValueError)
    assert [future.cancelled() for future in futures] == [False, True, True]
    assert (torch.get_num_threads(), torch_threads_of_a_new_thread()) == (3, 3)


def test_a_process_that_shares_the_machine_uses_its_share(monkeypatch):
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    before = cores()
    use_cores(1)
    assert cores() == 1
    with open_pool() as pool:
        assert pool._max_workers == 1
    use_cores(1000)
    assert cores() == before
