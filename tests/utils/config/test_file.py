"""Reading config files."""

from __future__ import annotations

import json

import pytest

from utils.config.file import apply_overrides, differences, load_config, parse_config, save_config
from utils.errors import ConfigError


def test_comments_are_accepted_and_strings_are_left_alone():
    text = '{ // a comment\n "url": "http://x/*y*/", /* two\n lines */ "a": 1 } // end'
    assert parse_config(text) == {"url": "http://x/*y*/", "a": 1}


def test_comments_keep_line_and_column():
    with pytest.raises(ConfigError, match="line 3, column 3"):
        parse_config("{ /* one\n two */\n }}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "1e999"),
        ('{"a": 1,}', "line 1"),
        ("[1]", "one object"),
        ("", "line 1"),
        ('{"a":' * 60 + "1" + "}" * 60, "too deeply"),
        ("[" * 100_000, "too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_oddities_are_one_line_errors(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parse_config(text, "my.json")
    assert str(caught.value).startswith("my.json: ")
    assert "\n" not in str(caught.value)


def test_byte_order_mark_and_unicode(tmp_path):
    path = tmp_path / "c.json"
    path.write_bytes('\ufeff{"name": "Straße"}'.encode())
    assert load_config(path) == {"name": "Straße"}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_unreadable_files(tmp_path, content):
    path = tmp_path / "c.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="c.json"):
        load_config(path)


def test_overrides_make_a_changed_copy():
    config = {"trainer": {"epochs": 5}}
    changed = apply_overrides(config, ["trainer.epochs=2", "arch.args.backbone=vgg11", "x=[1, 2]"])
    assert changed == {"trainer": {"epochs": 2}, "arch": {"args": {"backbone": "vgg11"}}, "x": [1, 2]}
    assert config == {"trainer": {"epochs": 5}}


@pytest.mark.parametrize("setting", ["trainer.epochs", "=3", "a..b=1", "trainer.epochs.deep=1", "a=NaN"])
def test_bad_overrides(setting):
    with pytest.raises(ConfigError, match="--set"):
        apply_overrides({"trainer": {"epochs": 5}}, [setting])


def test_saved_copy_is_strict_json(tmp_path):
    config = parse_config('{"a": 1.5, // note\n "b": ["ü"]}')
    save_config(config, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == config


def test_differences_names_paths():
    old, new = {"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "e": True}
    assert differences(old, new) == {"a.c": (2, 3), "d": (1, None), "e": (None, True)}
    assert differences({"a": 1}, {"a": True}) == {"a": (1, True)}
