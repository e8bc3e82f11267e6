"""Calls run in parallel, each single-threaded; the thread counts of other threads do not change."""

from __future__ import annotations

import threading

import pytest
import torch

from utils.predict.parallel import map_single_threaded


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_every_item_is_handled_by_a_single_threaded_worker(three_threads):
    seen = []
    meeting = threading.Barrier(3)

    def work(item: int) -> None:
        if item < 3:
            meeting.wait(timeout=30)  # three calls run at the same time
        seen.append((item, torch.get_num_threads(), torch.is_inference_mode_enabled()))

    map_single_threaded(work, range(20))
    assert sorted(item for item, *_ in seen) == list(range(20))
    assert {(threads, quiet) for _, threads, quiet in seen} == {(1, True)}


def test_this_thread_and_later_ones_keep_their_number(three_threads):
    map_single_threaded(lambda _: None, range(5))
    assert torch.get_num_threads() == 3
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [3]


def test_an_error_of_a_call_is_raised(three_threads):
    def work(item: int) -> None:
        if item == 7:
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        map_single_threaded(work, range(20))


def test_one_thread_works_in_the_calling_thread_in_order():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seen = []
        map_single_threaded(lambda item: seen.append((item, threading.get_ident())), range(5))
    finally:
        torch.set_num_threads(before)
    assert seen == [(item, threading.get_ident()) for item in range(5)]
