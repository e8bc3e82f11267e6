"""Work in threads: order, bounds, errors and ends."""

from __future__ import annotations

import threading
import time

import pytest

from utils.errors import DataError, StorageError
from utils.system.threads import map_ahead, run_overlapped


def test_order_is_kept_and_few_are_ahead():
    begun = []

    def work(key):
        begun.append(key)
        time.sleep(0.002 * (key % 3))
        return key * key

    results = map_ahead(work, range(40), 3, 5)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(begun) <= 6
    assert list(results) == [key * key for key in range(1, 40)]


def test_an_error_comes_where_its_result_would():
    def work(key):
        if key == 3:
            raise KeyError("three")
        return key

    results = map_ahead(work, range(10), 2, 4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(results)


def test_leaving_early_ends_the_threads():
    before = threading.active_count()
    results = map_ahead(lambda key: key, range(100), 2, 4)
    next(results)
    results.close()
    assert threading.active_count() == before


# ---- reading, work and writing overlapped ---------------------------------------------------------


def overlapped(items, **steps):
    """Run with steps that note their calls; returns the written results and the failures."""
    written, failed = [], []
    usual = {
        "read": lambda item: 10 * item,
        "work": lambda item, loaded: loaded + 1,
        "write": lambda item, result: written.append((item, result)),
        "fail": lambda item, error: failed.append((item, str(error))),
    }
    run_overlapped(items, **{**usual, **steps})
    return written, failed


@pytest.mark.parametrize("readers", [1, 3])
def test_results_are_written_in_the_order_of_the_items(readers):
    def read(item):
        time.sleep(0.001 * (item % 3))
        return 10 * item

    written, failed = overlapped(range(20), read=read, readers=readers)
    assert written == [(item, 10 * item + 1) for item in range(20)] and failed == []


@pytest.mark.parametrize("step", ["read", "work"])
def test_an_item_that_fails_does_not_stop_the_others(step):
    def broken(item, *loaded):
        if item == 2:
            raise DataError("2 is broken")
        return item

    written, failed = overlapped(range(5), **{step: broken})
    assert [item for item, _ in written] == [0, 1, 3, 4] and failed == [(2, "2 is broken")]


@pytest.mark.parametrize("step", ["read", "work", "write"])
@pytest.mark.parametrize("error", [StorageError("full"), KeyError("a bug")])
def test_a_full_disk_or_a_bug_ends_the_run_and_the_threads(step, error):
    before, worked = threading.active_count(), []

    def broken(*given):
        raise error

    def work(item, loaded):
        worked.append(item)

    with pytest.raises(type(error)):
        overlapped(range(100), **{"work": work, step: broken})
    assert len(worked) < 10 and threading.active_count() == before


def test_reading_is_only_a_few_items_ahead():
    begun, ahead = [], []

    def work(item, loaded):
        time.sleep(0.002)
        ahead.append(len(begun) - item)

    overlapped(range(30), read=begun.append, work=work, readers=2)
    assert max(ahead) <= 4 and len(begun) == 30


def test_each_step_has_its_thread():
    names = {}

    def note(step):
        return lambda *given: names.setdefault(step, set()).add(threading.current_thread())

    overlapped(range(5), read=note("read"), work=note("work"), write=note("write"))
    assert names["work"] == {threading.main_thread()}
    assert all(len(names[step]) == 1 for step in names) and len(set.union(*names.values())) == 3
