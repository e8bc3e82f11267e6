"""Reading config files."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

from utils.config.file import apply_overrides, load_config, merge, parse_config, read_config, save_config
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
        (r'{"a": "C:\data"}', r"column 10: .*write \\\\ for a backslash, or / in a path"),
        (r'{"a": "C:\users"}', r"write \\\\ for a backslash, or / in a path"),
        ('{"a": .5}', "digits on both sides of its full stop"),
        ('{"a": 1.}', "digits on both sides of its full stop"),
        ('{"a": 1. "b": 2}', "a comma separates entries"),
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


def write(path, **values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def test_extended_files_are_merged_key_by_key(tmp_path):
    write(tmp_path / "base.json", name="base", trainer={"epochs": 5, "val": True}, tags=[1, 2])
    child = write(tmp_path / "runs/own.json", extends="../base.json", trainer={"epochs": 9}, tags=[3])
    source = read_config(child, ["trainer.val=false"])
    assert source.plain == {"name": "base", "trainer": {"epochs": 9, "val": False}, "tags": [3]}
    base = str(tmp_path / "runs/../base.json")
    assert source.origins == {
        "name": base, "trainer.epochs": str(child), "trainer.val": "--set", "tags": str(child)
    }  # fmt: skip


def test_another_type_drops_the_arguments_of_the_extended_one():
    base = {"arch": {"type": "UNet", "args": {"base_channels": 8}}}
    assert merge(base, {"arch": {"type": "ENet"}}) == {"arch": {"type": "ENet"}}
    assert merge(base, {"arch": {"type": "UNet", "args": {"bilinear": True}}}) == {
        "arch": {"type": "UNet", "args": {"base_channels": 8, "bilinear": True}}
    }
    assert base == {"arch": {"type": "UNet", "args": {"base_channels": 8}}}


def test_files_that_extend_each_other_in_a_circle_are_refused(tmp_path):
    write(tmp_path / "a.json", extends="b.json")
    write(tmp_path / "b.json", extends="c.json")
    write(tmp_path / "c.json", extends="b.json")
    with pytest.raises(ConfigError, match=r"in a circle: b\.json -> c\.json -> b\.json"):
        read_config(tmp_path / "a.json")


def test_a_missing_or_odd_extended_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.json: no such config file"):
        read_config(write(tmp_path / "a.json", extends="nowhere.json"))
    with pytest.raises(ConfigError, match="extends: expected the path of a config file, got 3"):
        read_config(write(tmp_path / "a.json", extends=3))


def test_duplicate_keys_are_collected_with_their_paths(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"a": {"b": 1, "b": 2}, "c": [{"d": 1, "d": 2}], "a2": 1, "a2": 3}')
    assert [problem.removeprefix(f"{path}: ") for problem in read_config(path).problems] == [
        "a2: the key 'a2' stands twice in one object",
        "a.b: the key 'b' stands twice in one object",
        "c[0].d: the key 'd' stands twice in one object",
    ]
    with pytest.raises(ConfigError, match="'b' stands twice"):
        load_config(path)


@pytest.mark.parametrize(
    "setting",
    [
        "seed=" + "9" * 5000,
        "name=" + "[" * 100_000,
        "name=" + "[" * 60 + "]" * 60,
        ".".join(["a"] * 5000) + "=1",
        "optimizer.args.lr=1e999",
    ],
)
def test_a_setting_that_no_config_can_hold_is_one_short_line(setting):
    with pytest.raises(ConfigError) as caught:
        apply_overrides({}, [setting])
    assert str(caught.value).startswith("--set ") and len(str(caught.value)) < 200


def test_modules_beside_a_config_and_in_the_current_folder_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for place, name in (("configs", "beside_the_config"), ("here", "in_the_current_folder")):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"{name}.py").write_text("found = True")
    (tmp_path / "configs" / "c.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "here")
    read_config(tmp_path / "configs" / "c.json")
    for name in ("beside_the_config", "in_the_current_folder"):
        assert importlib.import_module(name).found
