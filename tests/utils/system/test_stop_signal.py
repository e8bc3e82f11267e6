"""Signals as a flag."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

from utils.system.stop_signal import StopSignal


@pytest.fixture(autouse=True)
def a_terminal_that_can_be_lost():
    """The tests may run under nohup, which ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_becomes_a_flag_and_the_old_handler_returns(number, caplog):
    before = signal.getsignal(number)
    with StopSignal() as stop, caplog.at_level(logging.WARNING):
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received == number
    assert signal.getsignal(number) is before
    assert f"{number.name}: saving after this step, then stopping" in caplog.text


def test_a_run_under_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_further_signals_change_nothing(caplog):
    with StopSignal() as stop, caplog.at_level(logging.WARNING):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.received == signal.SIGTERM and len(caplog.records) == 1


def test_handlers_return_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="in the loop"), StopSignal():
        raise ValueError("in the loop")
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_it_changes_no_handler():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with StopSignal() as stop:
            seen.append((stop.received, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
