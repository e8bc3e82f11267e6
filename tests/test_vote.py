"""vote.py and png2rle.py end to end."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import inference
import png2rle
import vote
from tests.checkpoints import make_checkpoint, make_info
from utils.images.rle import PRESETS, decode, read_table


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [make_checkpoint(folder / f"{seed}.pth", seed=seed) for seed in range(3)]


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (30 + number, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["mean", "majority"])
def test_vote_is_inference_with_several_models_in_any_order(models, photos, tmp_path, rule):
    options = ["-i", str(photos), "--mode", "whole", "--rule", rule, "-d", "cpu", "-o"]
    names = [str(path) for path in models]
    assert vote.main(["-m", *names, *options, str(tmp_path / "a")]) == 0
    assert vote.main(["-m", *names[::-1], *options, str(tmp_path / "b")]) == 0
    assert inference.main(["-m", *names, *options, str(tmp_path / "c")]) == 0
    for number in range(3):
        masks = [load(tmp_path / folder / f"{number}.png") for folder in "abc"]
        assert np.array_equal(masks[0], masks[1]) and np.array_equal(masks[0], masks[2])
        assert len(np.unique(masks[0])) > 1


@pytest.mark.slow
def test_a_majority_of_masks_is_the_majority_of_classes(models, photos, tmp_path):
    common = ["-i", str(photos / "0.png"), "--mode", "whole", "-d", "cpu", "--precision", "fp32"]
    for number, path in enumerate(models):
        inference.main(["-m", str(path), *common, "-o", str(tmp_path / str(number))])
    vote.main(
        ["-m", *map(str, models), *common, "--rule", "majority", "--disagreement", "-o", str(tmp_path / "v")]
    )
    singles = np.stack([load(tmp_path / str(number) / "0.png") for number in range(3)])
    counts = np.stack([(singles == c).sum(0) for c in range(4)])
    clear = counts.max(0) >= 2
    voted = load(tmp_path / "v" / "0.png")
    assert 0.2 < clear.mean() < 1
    assert np.array_equal(voted[clear], counts.argmax(0)[clear])
    tied = ~clear
    assert (
        np.take_along_axis(counts, voted[None].astype(int), 0)[0][tied] == 1
    ).all()  # somebody voted for it
    disagreement = load(tmp_path / "v" / "0.disagreement.png")
    assert np.array_equal(disagreement, np.round((1 - counts.max(0) / 3) * 255).astype(np.uint8))


@pytest.mark.slow
def test_disagreement_and_probabilities_come_from_one_pass(models, photos, tmp_path, monkeypatch):
    from utils.predict.predictor import Predictor

    passes = []
    bands = Predictor.bands
    monkeypatch.setattr(Predictor, "bands", lambda self, image: passes.append(1) or bands(self, image))
    common = ["-m", *map(str, models), "-i", str(photos / "1.png"), "--mode", "whole", "-d", "cpu"]
    kinds = {"a": ["--disagreement"], "b": ["--save-probabilities"]}
    kinds["both"] = kinds["a"] + kinds["b"]
    for name, options in kinds.items():
        passes.clear()
        assert vote.main([*common, *options, "-o", str(tmp_path / name)]) == 0
        assert len(passes) == len(models)
    both, a, b = (tmp_path / name for name in ("both", "a", "b"))
    assert np.array_equal(load(both / "1.disagreement.png"), load(a / "1.disagreement.png"))
    found, expected = (np.load(folder / "1.npz")["probabilities"] for folder in (both, b))
    assert np.array_equal(found, expected) and len(np.unique(load(a / "1.disagreement.png"))) > 1
    for folder in (a, b):
        assert np.array_equal(load(both / "1.png"), load(folder / "1.png"))


@pytest.mark.slow
def test_native_and_smp_networks_vote_together(models, photos, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("segmentation_models_pytorch")
        options = {"encoder_depth": 3, "decoder_channels": [8, 8, 4]}
        arguments = {"architecture": "Unet", "encoder_name": "resnet18", "options": options}
        smp = make_checkpoint(tmp_path / "smp.pth", arch={"type": "SMP", "args": arguments})
    members = [models[0], smp, models[1]]
    common = [
        "-i",
        str(photos),
        "--mode",
        "whole",
        "-d",
        "cpu",
        "--precision",
        "fp32",
        "--save-probabilities",
    ]
    for number, path in enumerate(members):
        assert inference.main(["-m", str(path), *common, "-o", str(tmp_path / str(number))]) == 0
    assert vote.main(["-m", *map(str, members), *common, "-o", str(tmp_path / "v")]) == 0
    for name in ("0", "1", "2"):
        parts = [np.load(tmp_path / str(n) / f"{name}.npz")["probabilities"] for n in range(3)]
        mean = np.mean([part.astype(np.float64) for part in parts], axis=0)
        np.testing.assert_allclose(np.load(tmp_path / "v" / f"{name}.npz")["probabilities"], mean, atol=2e-3)
        second, first = np.sort(mean, axis=0)[-2:]
        clear = first - second > 4e-3  # what is stored is rounded to float16
        assert np.array_equal(load(tmp_path / "v" / f"{name}.png")[clear], mean.argmax(0)[clear])
        singles = [load(tmp_path / str(n) / f"{name}.png") for n in range(3)]
        assert clear.mean() > 0.9 and not np.array_equal(singles[0], singles[1])


@pytest.mark.slow
def test_a_vote_needs_members_that_agree_on_classes(models, photos, tmp_path, capsys):
    other = make_checkpoint(tmp_path / "o.pth", make_info(3))
    options = ["-i", str(photos), "-o", str(tmp_path / "o"), "-d", "cpu"]
    assert vote.main(["-m", str(models[0]), str(other), *options]) == 2
    assert "c3" in capsys.readouterr().err
    assert vote.main(["-m", str(models[0]), *options]) == 2
    assert vote.main(["-m", *map(str, models), "--weights", "1", "2", *options]) == 2


@pytest.mark.parametrize(("script", "models"), [(vote, "saved/A saved/B"), (inference, "saved/RUN")])
def test_without_arguments_one_line_says_what_to_type(capsys, script, models):
    with pytest.raises(SystemExit) as caught:
        script.main([])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"python {script.__name__}.py --model {models} --images photos" in line


def test_png2rle_without_arguments_reads_outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    Image.fromarray(np.ones((2, 3), np.uint8)).save("outputs/a.png")
    assert png2rle.main([]) == 0
    (code,) = read_table(Path("test_a_result.csv"), PRESETS["carvana"]).values()
    assert decode(code, (2, 3), PRESETS["carvana"]).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_png2rle_and_back(tmp_path, capsys, preset):
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(4):
        mask = (np.random.default_rng(number).integers(0, 3, (9, 7 + number)) * (number > 0)).astype(np.uint8)
        picture = Image.fromarray(mask)
        picture.putpalette([0, 0, 0, 0, 90, 0, 0, 0, 200])  # no red: what reads colours sees nothing
        picture.save(masks / f"m.{number}.png")
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(masks / "m.0.colour.png")
    table = tmp_path / "t.csv"
    assert png2rle.main(["-m", str(masks), "-o", str(table), "-p", preset, "--class-index", "2"]) == 0
    form = PRESETS[preset]
    read = read_table(table, form)
    assert len(read) == 4
    for number, code in enumerate(read.values()):
        mask = load(masks / f"m.{number}.png")
        assert np.array_equal(decode(code, mask.shape, form), mask == 2)
    back = tmp_path / "back"
    assert png2rle.main(["-m", str(masks), "-o", str(back), "-p", preset, "--decode", str(table)]) == 0
    for number in range(4):
        assert np.array_equal(load(back / f"m.{number}.png"), load(masks / f"m.{number}.png") == 2)


def test_rows_follow_a_sample_file(tmp_path, capsys):
    (tmp_path / "m").mkdir()
    for name in "abc":
        Image.fromarray(np.eye(3, dtype=np.uint8)).save(tmp_path / "m" / f"{name}.png")
    (tmp_path / "sample.csv").write_text("c.jpg\t\na.jpg\t\nb.jpg\t\n")
    options = ["-m", str(tmp_path / "m"), "-o", str(tmp_path / "t"), "-p", "tianchi", "--sample"]
    assert png2rle.main([*options, str(tmp_path / "sample.csv")]) == 0
    assert (tmp_path / "t").read_text() == "".join(f"{n}.jpg\t1 1 5 1 9 1\n" for n in "cab")
    (tmp_path / "sample.csv").write_text("c.jpg\t\n")
    assert png2rle.main([*options, str(tmp_path / "sample.csv")]) == 2


@pytest.mark.parametrize("options", [["-p", "kaggle"], ["--class-index", "300"], ["--header", "one"]])
def test_wrong_rle_options_are_exit_2(tmp_path, capsys, options):
    Image.fromarray(np.eye(3, dtype=np.uint8)).save(tmp_path / "a.png")
    assert png2rle.main(["-m", str(tmp_path), "-o", str(tmp_path / "t"), *options]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_rgb_mask_is_refused(tmp_path, capsys):
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(tmp_path / "a.png")
    assert png2rle.main(["-m", str(tmp_path), "-o", str(tmp_path / "t")]) == 2
    assert "a.png" in capsys.readouterr().err
