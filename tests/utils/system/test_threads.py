from __future__ import annotations

import threading
import time

import pytest

from utils.system.threads import map_ahead


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
