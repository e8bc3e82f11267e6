"""Work is shared out whole, and nobody else's threads are changed by it."""

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


def test_every_item_is_worked_on_by_a_thread_that_torch_does_not_split(three_threads):
    seen = []
    meeting = threading.Barrier(3)

    def work(item: int) -> None:
        if item < 3:
            meeting.wait(timeout=30)  # three are at work at a time
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


def test_an_error_comes_out(three_threads):
    def work(item: int) -> None:
        if item == 7:
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        map_single_threaded(work, range(20))
