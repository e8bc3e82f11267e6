"""The command line of inference: names, exit codes, every kind of file, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import inference
from models.trained import predictor_of
from tests.checkpoints import make_checkpoint, make_info
from tests.conftest import ROOT
from utils.dataset_info import voc_palette
from utils.run.find import find_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("model") / "best_model.pth")


def photo(path: Path, size=(40, 30), seed: int = 0, mode: str = "RGB", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def infer(model: Path, images, output: Path, *options: str) -> int:
    return inference.main(["-m", str(model), "-i", str(images), "-o", str(output), "-d", "cpu", *options])


def masks(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")}


def test_help_answers_without_torch():
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import inference\n"
        "try: inference.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'cv2', 'PIL'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, check=True)
    assert b"--mode" in done.stdout


def test_a_folder_of_runs_means_the_best_model_of_the_newest(tmp_path):
    from utils.errors import CheckpointError

    with pytest.raises(CheckpointError, match="there is no best_model.pth"):
        find_checkpoint(tmp_path)
    older, newer = tmp_path / "b" / "best_model.pth", tmp_path / "a" / "best_model.pth"
    for file in (older, newer):
        file.parent.mkdir()
        file.write_bytes(b"")
        time.sleep(0.01)
    assert find_checkpoint(tmp_path) == newer
    assert find_checkpoint(tmp_path / "b") == older
    assert find_checkpoint(older) == older


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
def test_a_folder_becomes_palette_masks(model, tmp_path, mode):
    photo(tmp_path / "in" / "a.jpg", (40, 30))
    photo(tmp_path / "in" / "sub" / "b.c.png", (70, 50))
    assert infer(model, tmp_path / "in", tmp_path / "out", "--mode", mode) == 0
    assert masks(tmp_path / "out") == {"a.png", "sub/b.c.png"}
    with Image.open(tmp_path / "out" / "sub" / "b.c.png") as mask:
        assert mask.mode == "P" and mask.size == (70, 50)
        assert mask.getpalette()[:12] == [v for colour in voc_palette(4) for v in colour]
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2, 3}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["images"] == 2 and summary["pixels"] == 40 * 30 + 70 * 50
    assert sum(summary["class_shares"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_the_masks_are_those_of_the_predictor(model, tmp_path):
    path = photo(tmp_path / "a.png", (50, 40))
    assert infer(model, path, tmp_path / "out", "--mode", "sliding", "--precision", "fp32") == 0
    args = inference.parse_arguments(
        ["-m", str(model), "-i", "x", "--mode", "sliding", "-d", "cpu", "--precision", "fp32"]
    )
    made = predictor_of(args)
    assert made.options.window == (32, 32)  # the training crop
    expected = made.predict(pixels(path))
    assert np.array_equal(pixels(tmp_path / "out" / "a.png"), expected)


def test_multiscale_with_mirror_images_is_the_default(model):
    args = inference.parse_arguments(["-m", str(model), "-i", "x", "-d", "cpu"])
    options = predictor_of(args).options
    assert options.mode == "multiscale" and options.tta == ("identity", "hflip")
    assert options.scales == (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def test_a_bad_file_never_loses_the_others(model, tmp_path, capsys):
    folder = tmp_path / "in"
    photo(folder / "1.jpg")
    whole = photo(folder / "2.jpg", (200, 200)).read_bytes()
    (folder / "2.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "3.jpg").write_bytes(b"")
    (folder / "4.jpg").write_text("not an image")
    photo(folder / "5.jpg")
    flipped = bytearray(photo(folder / "6.png").read_bytes())
    flipped[flipped.find(b"IDAT") + 99] ^= 0x10
    (folder / "6.png").write_bytes(flipped)
    for number, share in ((7, 0.05), (8, 0.9), (9, 0.999)):
        (folder / f"{number}.jpg").write_bytes(whole[: int(len(whole) * share)])
    assert infer(model, folder, tmp_path / "out", "--mode", "whole") == 1
    assert masks(tmp_path / "out") == {"1.png", "5.png"}
    bad = ["2.jpg", "3.jpg", "4.jpg", "6.png", "7.jpg", "8.jpg", "9.jpg"]
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(bad) and all(name in line for name, line in zip(bad, errors, strict=True))
    assert set(json.loads((tmp_path / "out" / "summary.json").read_text())["failed"]) == set(bad)


@pytest.mark.parametrize("images", ["nothing", "empty", "empty/*.jpg", "list.txt"])
def test_no_image_is_exit_2(model, tmp_path, capsys, images):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n \n")
    assert infer(model, tmp_path / images, tmp_path / "out") == 2
    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.slow
def test_inputs_by_pattern_list_and_extension(model, tmp_path):
    photo(tmp_path / "in" / "a.jpg")
    photo(tmp_path / "in" / "deep" / "b.JPG", format="JPEG")
    photo(tmp_path / "in" / "c.png")
    whole = ("--mode", "whole")
    assert infer(model, tmp_path / "in", tmp_path / "o1", "--extension", "jpg", *whole) == 0
    assert masks(tmp_path / "o1") == {"a.png", "deep/b.png"}
    assert infer(model, tmp_path / "in" / "**" / "*.[jJ]*", tmp_path / "o2", *whole) == 0
    assert masks(tmp_path / "o2") == {"a.png", "deep/b.png"}
    (tmp_path / "list.txt").write_text(f"in/c.png\r\n\r\n../{tmp_path.name}/in/a.jpg\n")
    assert infer(model, tmp_path / "list.txt", tmp_path / "o3", *whole) == 0
    assert (tmp_path / "o3" / "in" / "c.png").is_file()
    assert len(list((tmp_path / "o3").rglob("*.png"))) == 2  # nothing outside the output folder


def test_names_never_collide(model, tmp_path):
    for name in ("a.jpg", "a.png", "a.b.png", "x/a.jpg"):
        photo(tmp_path / "in" / name)
    assert infer(model, tmp_path / "in", tmp_path / "out", "--mode", "whole") == 0
    assert masks(tmp_path / "out") == {"a_jpg.png", "a_png.png", "a.b.png", "x/a.png"}


def test_names_that_would_still_collide_are_refused_before_any_work(model, tmp_path, capsys):
    for name in ("a.jpg", "a.png", "a_jpg.bmp"):
        photo(tmp_path / "in" / name)
    assert infer(model, tmp_path / "in", tmp_path / "out", "--mode", "whole") == 2
    assert "a_jpg" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ü ñ 图.png", "quote'\".png", "new\nline.png", "-dash.png", "n" * 200 + ".png", "[x].png"]
)
def test_odd_names_are_kept(model, tmp_path, name):
    path = photo(tmp_path / "in" / name)
    assert infer(model, tmp_path / "in", tmp_path / "out", "--mode", "whole") == 0
    assert masks(tmp_path / "out") == {name}
    assert infer(model, path, tmp_path / "out2", "--mode", "whole") == 0
    assert masks(tmp_path / "out2") == {name}


def test_a_name_that_is_not_utf8_is_written_escaped_in_the_summary_and_the_table(model, tmp_path):
    photo(tmp_path / "in" / os.fsdecode(b"\xff.png"))
    (tmp_path / "in" / os.fsdecode(b"\xfe.png")).write_bytes(b"")
    table = tmp_path / "runs.csv"
    assert infer(model, tmp_path / "in", tmp_path / "out", "--mode", "whole", "--rle", str(table)) == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["per_image"]) == ["\\xff.png"] and list(summary["failed"]) == ["\\xfe.png"]
    assert table.read_text().splitlines()[1].startswith("\\xff.jpg,")
    assert masks(tmp_path / "out") == {os.fsdecode(b"\xff.png")}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_image_mode_gives_a_mask_of_its_size(model, tmp_path, mode):
    ending = "tif" if mode == "CMYK" else "png"
    path = photo(tmp_path / f"a.{ending}", (33, 21), mode=mode)
    assert infer(model, path, tmp_path / "out", "--mode", "whole") == 0
    assert size_of(tmp_path / "out" / "a.png") == (33, 21)


def test_16_bit_is_scaled_not_clipped(model, tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (30, 40)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(np.round(deep / 257).astype(np.uint8)).save(tmp_path / "flat.png")
    for name in ("deep", "flat"):
        assert infer(model, tmp_path / f"{name}.png", tmp_path / "out", "--mode", "whole") == 0
    deep_mask, flat_mask = (pixels(tmp_path / "out" / f"{n}.png") for n in ("deep", "flat"))
    assert np.array_equal(deep_mask, flat_mask) and len(np.unique(deep_mask)) > 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_they_are_displayed(model, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = photo(tmp_path / "a.jpg", (40, 20), exif=exif)
    assert infer(model, path, tmp_path / "out", "--mode", "whole") == 0
    assert size_of(tmp_path / "out" / "a.png") == ((40, 20) if orientation < 5 else (20, 40))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
def test_tiny_and_thin_images(model, tmp_path, size, mode):
    path = photo(tmp_path / "a.png", size)
    assert infer(model, path, tmp_path / "out", "--mode", mode, "--overlay") == 0
    assert size_of(tmp_path / "out" / "a.png") == size


def test_a_decompression_bomb_is_refused(model, tmp_path, capsys):
    photo(tmp_path / "a.png", (100, 100))
    assert infer(model, tmp_path / "a.png", tmp_path / "out", "--max-pixels", "5000") == 1
    assert "10,000 pixels" in capsys.readouterr().err


@pytest.mark.slow
def test_all_kinds_of_output(tmp_path):
    info = make_info(label_ids=(7, 8, 11, 33))
    model = make_checkpoint(tmp_path / "m.pth", info)
    path = photo(tmp_path / "a.b.jpg", (40, 30))
    flags = ["--overlay", "--colour", "--original-ids", "--save-probabilities", "--mode", "whole"]
    assert infer(model, path, tmp_path / "out", *flags) == 0
    mask = pixels(tmp_path / "out" / "a.b.png")
    ids = pixels(tmp_path / "out" / "a.b.ids.png")
    assert np.array_equal(ids, np.array([7, 8, 11, 33])[mask])
    colour = pixels(tmp_path / "out" / "a.b.colour.png")
    assert np.array_equal(colour, info.palette_array()[mask])
    stored = np.load(tmp_path / "out" / "a.b.npz")
    assert stored["probabilities"].shape == (4, 30, 40) and stored["probabilities"].dtype == np.float16
    np.testing.assert_allclose(stored["probabilities"].astype(np.float32).sum(0), 1, atol=2e-3)
    assert stored["classes"].tolist() == list(info.classes)
    assert size_of(tmp_path / "out" / "a.b.overlay.jpg")[1] > 30


@pytest.mark.slow
def test_a_rerun_gives_the_same_bytes_and_skip_existing_continues(model, tmp_path):
    for name in ("a.png", "b.png"):
        photo(tmp_path / "in" / name)
    infer(model, tmp_path / "in", tmp_path / "out")
    first = {p.name: p.read_bytes() for p in (tmp_path / "out").glob("*.png")}
    infer(model, tmp_path / "in", tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").glob("*.png")} == first
    (tmp_path / "out" / "b.png").unlink()
    kept = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    assert infer(model, tmp_path / "in", tmp_path / "out", "--skip-existing") == 0
    assert (tmp_path / "out" / "b.png").read_bytes() == first["b.png"]
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == kept
    assert not list((tmp_path / "out").glob("*.tmp"))


@pytest.mark.slow
def test_an_interrupted_run_leaves_only_whole_files(model, tmp_path, monkeypatch):
    from utils.inference.outputs import ResultWriter

    for name in "abcdef":
        photo(tmp_path / "in" / f"{name}.png")
    options = ["--mode", "whole", "--overlay"]
    assert infer(model, tmp_path / "in", tmp_path / "whole", *options) == 0
    save, calls = ResultWriter._save_overlay, []

    def interrupted(self, file, image, result):
        calls.append(1)
        if len(calls) == 3:
            file.write(b"the first bytes")
            raise KeyboardInterrupt
        save(self, file, image, result)

    with monkeypatch.context() as patch:
        patch.setattr(ResultWriter, "_save_overlay", interrupted)
        assert infer(model, tmp_path / "in", tmp_path / "out", *options) == 130
    expected = {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir() if p.suffix != ".json"}
    left = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert 0 < len(left) < len(expected) and left.items() <= expected.items()
    assert infer(model, tmp_path / "in", tmp_path / "out", "--skip-existing", *options) == 0
    found = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.suffix != ".json"}
    assert found == expected


@pytest.mark.slow
def test_results_inside_the_folder_are_no_inputs_of_a_second_run(model, tmp_path):
    photo(tmp_path / "a.jpg")
    for _ in range(2):
        assert infer(model, tmp_path, tmp_path / "out", "--mode", "whole") == 0
    assert masks(tmp_path / "out") == {"a.png"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--window", "4"], "window"),
        (["--tta", "mirror"], "hflip"),
        (["--scales", "-1"], "scales"),
        (["--original-ids"], "original ids"),
        (["--precision", "fp16"], "fp16"),
        (["--weights", "1", "2"], "one model"),
        (["--weights", "1"], "one model"),
    ],
)
def test_wrong_options_are_one_line(model, tmp_path, capsys, options, words):
    photo(tmp_path / "a.jpg")
    code = infer(model, tmp_path / "a.jpg", tmp_path / "out", "--mode", "sliding", *options)
    err = capsys.readouterr().err
    assert code == 2 and words in err and "Traceback" not in err


def test_a_checkpoint_that_is_none_is_one_line(tmp_path, capsys):
    (tmp_path / "bad.pth").write_bytes(b"x" * 500)
    photo(tmp_path / "a.jpg")
    for name in ("bad.pth", "missing.pth"):
        assert infer(tmp_path / name, tmp_path / "a.jpg", tmp_path / "out") == 2
        assert name in capsys.readouterr().err


def test_a_config_must_be_the_models_own(model, tmp_path, capsys):
    photo(tmp_path / "a.jpg")
    own, other = tmp_path / "own.json", tmp_path / "other.json"
    own.write_text(json.dumps({"arch": {"type": "UNet", "args": {"base_channels": 2}}}) + "// yes")
    other.write_text(json.dumps({"arch": {"type": "FCN8s", "args": {}}}))
    assert infer(model, tmp_path / "a.jpg", tmp_path / "out", "--mode", "whole", "--config", str(own)) == 0
    assert infer(model, tmp_path / "a.jpg", tmp_path / "out", "--config", str(other)) == 2
    assert "other.json" in capsys.readouterr().err


def test_an_output_that_is_a_file_is_exit_4(model, tmp_path):
    photo(tmp_path / "a.jpg")
    (tmp_path / "out").write_text("")
    assert infer(model, tmp_path / "a.jpg", tmp_path / "out", "--mode", "whole") == 4


@pytest.mark.slow
def test_grey_models_take_any_photo(tmp_path):
    model = make_checkpoint(tmp_path / "m.pth", make_info(2, channels=1))
    assert infer(model, photo(tmp_path / "a.jpg"), tmp_path / "out", "--mode", "whole") == 0


@pytest.mark.parametrize(
    ("ending", "made_ending"), [("avi", "avi"), ("mp4", "mp4"), ("m4v", "mp4"), ("webm", "mp4")]
)
def test_a_video_becomes_a_video(model, tmp_path, ending, made_ending):
    cv2 = pytest.importorskip("cv2")
    path, written = tmp_path / f"clip.{ending}", tmp_path / f"written.{made_ending}"
    codec = cv2.VideoWriter.fourcc(*("MJPG" if ending == "avi" else "mp4v"))
    writer = cv2.VideoWriter(str(written), codec, 10.0, (64, 48))
    for value in (0, 80, 160, 240):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    written.rename(path)  # decoders read the container's content, whatever its name says
    assert infer(model, path, tmp_path / "out", "--mode", "whole", "--overlay") == 0
    made = cv2.VideoCapture(str(tmp_path / "out" / f"clip.{made_ending}"))
    frames = []
    while (read := made.read())[0]:
        frames.append(read[1])
    made.release()
    assert len(frames) == 4 and frames[0].shape == (48, 64, 3)
    assert frames[3].mean() > frames[0].mean() + 50  # the frames show through, in their order
    assert [p.name for p in (tmp_path / "out").iterdir()] == [f"clip.{made_ending}"]


def test_a_video_without_frames_is_exit_2(model, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"nothing")
    assert infer(model, tmp_path / "clip.mp4", tmp_path / "out") == 2


def test_run_lengths_straight_from_inference(model, tmp_path):
    from utils.images.rle import PRESETS, decode, read_table

    for name in ("a.jpg", "b.jpg"):
        photo(tmp_path / "in" / name, (40, 30), seed=ord(name[0]))
    options = ["--rle", str(tmp_path / "runs.csv"), "--rle-preset", "tianchi", "--rle-class", "2"]
    assert infer(model, tmp_path / "in", tmp_path / "out", "--mode", "whole", *options) == 0
    table = read_table(tmp_path / "runs.csv", PRESETS["tianchi"])
    assert list(table) == ["a.jpg", "b.jpg"]
    for name, code in table.items():
        mask = pixels(tmp_path / "out" / name.replace("jpg", "png"))
        assert np.array_equal(decode(code, (30, 40), PRESETS["tianchi"]), mask == 2) and code


@pytest.mark.parametrize("options", [[], ["--no-tune-allocator"]])
def test_keeping_freed_memory_can_be_turned_off(model, monkeypatch, options):
    import models.trained

    calls = []
    monkeypatch.setattr(models.trained, "keep_freed_memory", lambda: calls.append(1))
    predictor_of(inference.parse_arguments(["-m", str(model), "-i", "x", "-d", "cpu", *options]))
    assert len(calls) == (not options)


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 2])
def test_memory_does_not_grow_with_the_number_of_images(model, tmp_path, monkeypatch, members):
    """Of 50 images, those in memory at once are the few that wait to be predicted or written."""
    import weakref

    import utils.inference.job as job

    for number in range(50):
        photo(tmp_path / "in" / f"{number:02}.png", (24, 16), seed=number)
    held: list[weakref.ref] = []
    alive: list[int] = []

    def watch(array):
        held.append(weakref.ref(array))
        alive.append(sum(ref() is not None for ref in held))
        return array

    read, write = job.read_image, job.ResultWriter.write

    def write_watched(self, name, image, result):
        for array in (result.mask, result.probabilities):
            watch(array)
        write(self, name, image, result)

    monkeypatch.setattr(job, "read_image", lambda *args, **options: watch(read(*args, **options)))
    monkeypatch.setattr(job.ResultWriter, "write", write_watched)
    options = ["--mode", "whole", "--save-probabilities", *["--model", *[str(model)] * members]]
    assert infer(model, tmp_path / "in", tmp_path / "out", *options) == 0
    assert len(held) == 150 and len(masks(tmp_path / "out")) == 50
    assert max(alive) <= 20
    assert max(alive[75:]) <= max(alive[:75]) + 3
