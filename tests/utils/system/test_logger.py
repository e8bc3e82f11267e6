"""Log of an entry script."""

from __future__ import annotations

import logging

import pytest

from utils.system.logger import _UntilTheFile, log_to_console, log_to_file


@pytest.fixture(autouse=True)
def root():
    """The root logger without what other tests logged; it is as it was afterwards."""
    logger = logging.getLogger()
    handlers, level, raising = logger.handlers[:], logger.level, logging.raiseExceptions
    logger.handlers[:] = [handler for handler in handlers if not isinstance(handler, _UntilTheFile)]
    yield logger
    logger.handlers[:], logging.raiseExceptions = handlers, raising
    logger.setLevel(level)


def test_the_console_shows_bare_messages_from_a_level_on(capsys):
    log_to_console(logging.WARNING)
    logging.getLogger("a.module").info("not shown")
    logging.getLogger("a.module").warning("%d images", 3)
    captured = capsys.readouterr()
    assert captured.err == "3 images\n" and captured.out == ""


def test_a_second_call_shows_nothing_twice(capsys):
    log_to_console()
    log_to_console()
    logging.getLogger("a").info("once")
    assert capsys.readouterr().err == "once\n"


def test_a_file_gets_time_and_level_until_its_handler_is_removed(tmp_path, root):
    root.setLevel(logging.INFO)
    path = tmp_path / "log.txt"
    path.write_text("earlier\n")
    handler = log_to_file(path)
    logging.getLogger("a").info("begun \u00e9")
    root.removeHandler(handler)
    handler.close()
    logging.getLogger("a").info("not in the file")
    first, second = path.read_text(encoding="utf-8").splitlines()
    assert first == "earlier" and second.endswith(" INFO begun \u00e9")
    assert second[:4].isdigit() and second[4] == "-"


def test_the_file_begins_with_the_messages_before_it_was_opened(tmp_path):
    log_to_console()
    names = ["a"]
    logging.getLogger("x").info("Resuming from %s", names)
    names.append("b")  # what was logged does not change
    handler = log_to_file(tmp_path / "log.txt")
    logging.getLogger("x").info("begun")
    other = log_to_file(tmp_path / "other.txt")
    handler.close()
    other.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.partition(" INFO ")[2] for line in lines] == ["Resuming from ['a']", "begun"]
    assert (tmp_path / "other.txt").read_text() == ""


def test_the_messages_kept_for_a_file_are_limited(tmp_path):
    log_to_console()
    for number in range(1500):
        logging.getLogger("x").info("%d", number)
    handler = log_to_file(tmp_path / "log.txt")
    handler.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(lines) == 1000 and lines[-1].endswith(" INFO 1499")


def test_a_closed_console_stops_nothing(monkeypatch, tmp_path):
    class Closed:
        def write(self, text):
            raise OSError("the terminal is closed")

        def flush(self):
            raise OSError("the terminal is closed")

    log_to_console()
    handler = log_to_file(tmp_path / "log.txt")
    monkeypatch.setattr("sys.stderr", Closed())
    logging.getLogger("a").info("still logged")
    handler.close()
    assert "still logged" in (tmp_path / "log.txt").read_text()
