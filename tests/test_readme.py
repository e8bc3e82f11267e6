"""The README's two set-up commands, its contents, and the three commands for own data."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex

import numpy as np
from PIL import Image

import init_config
from tests.conftest import ROOT
from tests.docs.pages import fences, read
from utils.images.read import read_image
from utils.inference.inputs import find_images


def test_first_command_sets_up_and_trains_the_embedded_default():
    first = fences("README.md", "bash")[0]
    assert first == fences("README.md", "bash", "## Quick start")[0]
    assert "pip install -r requirements.txt" in first
    assert first.rstrip().endswith("python train.py --config config.json")


def test_second_setup_command_runs_all_tests_in_a_named_number_of_processes():
    (command,) = fences("README.md", "bash", "## Run the tests")
    assert "pip install -r requirements-dev.txt" in command
    assert re.search(r" && python -m pytest -n \d+$", command.rstrip())


def test_first_screen_has_an_image_and_contents_that_name_all_later_sections():
    first_screen = read("README.md").split("## Quick start")[0]
    assert len(first_screen.splitlines()) <= 25
    assert re.search(r"!\[[^]]{10,}\]\(docs/pictures/", first_screen)
    sections = re.findall(r"^## (.+)$", read("README.md"), re.MULTILINE)
    assert re.findall(r"^- \[(.+?)\]", first_screen, re.MULTILINE) == sections[:-1]
    assert sections[-1] == "Licence"


def test_commands_for_own_data_name_the_files_that_they_make(tmp_path, monkeypatch):
    block = fences("README.md", heading="## Your own data")[0]
    first, second, third = (shlex.split(line) for line in block.splitlines())
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / first[2]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        for number in range(6):
            pixels = np.zeros((40, 40) if kind == "masks" else (40, 40, 3), np.uint8)
            pixels[: 10 + number, 5:20] = 255
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    with monkeypatch.context() as basic:  # the setup of the quick start, without pretrained weights

        def missing(name):
            raise importlib.metadata.PackageNotFoundError(name)

        basic.setattr(importlib.metadata, "distribution", missing)
        assert init_config.main(first[2:]) == 0
    config = json.loads((tmp_path / second[second.index("--config") + 1]).read_text())
    assert third[third.index("--model") + 1] == f"saved/{config['name']}"


def test_the_second_command_names_images_of_the_repository():
    (line,) = [line for line in fences("README.md", "bash")[1].splitlines() if "inference.py" in line]
    words = shlex.split(line)
    found = find_images(str(ROOT / words[words.index("--images") + 1]))
    assert len(found) == 3 and all(file.path.stat().st_size < 20_000 for file in found)
    assert all(read_image(file.path).shape == (96, 96, 3) for file in found)


def test_the_licence_is_there():
    assert (ROOT / "LICENSE").exists() and "(LICENSE)" in read("README.md")
