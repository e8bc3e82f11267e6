"""Predictions of modes, flips and windows that agree wherever theory says so."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from base.base_model import BaseModel, SegmentationOutput
from utils.dataset_info import DatasetInfo, voc_palette
from utils.errors import ConfigError, DataError
from utils.predict.options import SYMMETRIES, PredictOptions
from utils.predict.predictor import Predictor
from utils.predict.rows import BAND_ROWS
from utils.system.precision import Precision

SIZES = [(1, 1), (1, 200), (200, 1), (2, 3), (31, 47), (64, 64), (70, 90), (150, 41)]


class Net(nn.Module):
    """Convolutions of a kernel and depth; the receptive radius is depth * (kernel // 2)."""

    def __init__(self, classes: int = 5, kernel: int = 1, depth: int = 2) -> None:
        super().__init__()
        torch.manual_seed(classes * 100 + kernel)
        widths = [3] + [8] * (depth - 1) + [classes]
        pairs = pairwise(widths)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, kernel, padding=kernel // 2) for a, b in pairs)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape))
        for layer in self.layers:
            images = layer(images).tanh() * 3
        return SegmentationOutput(images)


def info(classes: int = 5) -> DatasetInfo:
    return DatasetInfo(tuple(f"c{i}" for i in range(classes)), tuple(voc_palette(classes)))


def make_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def predictor(net: nn.Module | None = None, classes: int = 5, **options) -> Predictor:
    net = Net(classes) if net is None else net
    return Predictor(net, info(classes), options=PredictOptions(**{"window": (32, 24), **options}))


def direct(net: nn.Module, image: np.ndarray) -> np.ndarray:
    """Compute the definition of a prediction, without the predictor."""
    mean, std = (np.asarray(v, np.float32) * np.float32(255) for v in (info().mean, info().std))
    pixels = torch.from_numpy((image - mean) / std).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        return net(pixels).logits.softmax(1)[0].numpy()


@pytest.mark.parametrize("size", SIZES)
def test_whole_is_the_softmax_of_the_network(size):
    net, image = Net(kernel=3), make_image(*size)
    made = predictor(net)
    np.testing.assert_allclose(made.probabilities(image), direct(net, image), atol=1e-5)
    assert np.array_equal(made.predict(image), made.probabilities(image).argmax(0))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.75])
def test_windows_of_a_pixelwise_network_equal_the_whole(size, overlap):
    net, image = Net(), make_image(*size)
    whole = predictor(net).probabilities(image)
    slid = predictor(net, mode="sliding", overlap=overlap, window_batch=3)
    np.testing.assert_allclose(slid.probabilities(image), whole, atol=1e-6)
    assert (slid.predict(image) == whole.argmax(0)).mean() > 0.999


def test_a_margin_of_the_receptive_radius_makes_windows_exact():
    net, image = Net(kernel=3, depth=3), make_image(97, 130)
    whole = predictor(net).probabilities(image)
    exact = predictor(net, mode="sliding", overlap=0.5, margin=3).probabilities(image)
    naive = predictor(net, mode="sliding", overlap=0.5).probabilities(image)
    np.testing.assert_allclose(exact, whole, atol=1e-6)
    assert np.abs(naive - whole).max() > 1e-4


def test_a_window_as_large_as_the_image_is_the_whole_image_bit_for_bit():
    net, image = Net(kernel=3), make_image(24, 20)
    whole = predictor(net).probabilities(image)
    assert np.array_equal(predictor(net, mode="sliding").probabilities(image), whole)
    assert np.array_equal(predictor(net, mode="multiscale", scales=(1.0,)).probabilities(image), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"mode": "multiscale"}, {"mode": "multiscale", "max_whole_pixels": 1}]
)
def test_flip_averaging_is_equivariant(options):
    net, image = Net(kernel=3), make_image(60, 64)
    made = predictor(net, tta=("identity", "hflip"), **options)
    mirrored = made.probabilities(image[:, ::-1])[..., ::-1]
    if options:
        np.testing.assert_allclose(mirrored, made.probabilities(image), atol=1e-5)
    else:
        assert np.array_equal(mirrored, made.probabilities(image))
    alone = predictor(net, **options)
    assert np.abs(alone.probabilities(image[:, ::-1])[..., ::-1] - alone.probabilities(image)).max() > 1e-3


@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
@pytest.mark.parametrize(("tta", "turn"), [("hflip", np.fliplr), ("vflip", np.flipud), ("rot180", None)])
def test_scores_of_a_pair_are_swapped_in_mirror_images_only(mode, tta, turn):
    net, image = Net(kernel=3), make_image(60, 64)
    options = PredictOptions(mode=mode, tta=("identity", tta), window=(32, 24))
    made = Predictor(net, info(), options=options, flip_pairs=[["c0", "c3"]])
    found = made.probabilities(image)
    if turn is None:
        assert np.array_equal(found, predictor(net, mode=mode, tta=("identity", tta)).probabilities(image))
        return
    mirrored = made.probabilities(turn(image))[[3, 1, 2, 0, 4]]
    np.testing.assert_allclose(np.stack([turn(scores) for scores in mirrored]), found, atol=1e-5)


@pytest.mark.parametrize("mode", ["whole", "sliding"])
def test_turns_make_a_prediction_that_turns_with_the_image(mode):
    net, image = Net(kernel=3), make_image(40, 40)
    made = predictor(net, mode=mode, tta=("identity", "rot90", "rot180", "rot270"), window=(24, 24))
    turned = made.probabilities(np.rot90(image))
    np.testing.assert_allclose(turned, np.rot90(made.probabilities(image), axes=(1, 2)), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_multiscale_in_windows_equals_multiscale_on_whole_images(size):
    net, image = Net(), make_image(*size)
    whole = predictor(net, mode="multiscale").probabilities(image)
    slid = predictor(net, mode="multiscale", max_whole_pixels=1).probabilities(image)
    np.testing.assert_allclose(slid, whole, atol=2e-6)
    np.testing.assert_allclose(whole.sum(0), 1, atol=1e-5)


def test_multiscale_is_the_mean_of_the_softmax_of_resized_logits():
    net, image, scales = Net(kernel=3), make_image(33, 47), (0.5, 1.0, 2.0)
    mean, std = (torch.tensor(v).mul(255).view(1, 3, 1, 1) for v in (info().mean, info().std))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    total = torch.zeros(1, 5, 33, 47)
    with torch.no_grad():
        for scale in scales:
            size = (round(33 * scale), round(47 * scale))
            scaled = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
            logits = net((scaled - mean) / std).logits
            total += torch.nn.functional.interpolate(
                logits, size=(33, 47), mode="bilinear", align_corners=False
            ).softmax(1)
    mine = predictor(net, mode="multiscale", scales=scales).probabilities(image)
    np.testing.assert_allclose(mine, (total / 3)[0].numpy(), atol=1e-5)


class CoarseNet(BaseModel):
    """A network whose grid is eight times coarser than its input, as that of most networks is."""

    stride = 16

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__(num_classes)
        torch.manual_seed(num_classes)
        self.head = nn.Conv2d(3, num_classes, 8, stride=8)

    def _forward(self, images):
        return self.head(images) * 3


class FullSize(nn.Module):
    """The same network without ``forward_coarse``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"mode": "sliding"}, {"mode": "sliding", "overlap": 0.7}])
def test_resizing_band_by_band_equals_resizing_in_the_network(size, options):
    net, image = CoarseNet(), make_image(*size)
    for tta in (("identity",), tuple(SYMMETRIES)):
        fine = predictor(FullSize(net), tta=tta, **options).probabilities(image)
        coarse = predictor(net, tta=tta, **options).probabilities(image)
        np.testing.assert_allclose(coarse, fine, atol=2e-6)
        decided = predictor(net, tta=tta, **options).predict(image)
        assert (decided == fine.argmax(0)).mean() > 0.999


@pytest.mark.parametrize("classes", [1, 5])
@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
def test_the_decision_of_a_coarse_network_is_that_of_its_probabilities(mode, classes):
    made = predictor(CoarseNet(classes), classes=classes, mode=mode)
    image = make_image(97, 130)
    scores = made.probabilities(image)
    if classes == 1:
        expected = np.where(scores[0] >= 0.5, 0, 255)
    else:
        expected = scores.argmax(0)
        np.testing.assert_allclose(scores.sum(0), 1, atol=1e-5)
    assert (made.predict(image) == expected).mean() > 0.999


def test_multiscale_of_a_coarse_network_resizes_its_logits_once():
    """With an input scaled by 2, a grid of an eighth is a quarter of the image."""
    net, image = CoarseNet(), make_image(64, 96)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    scaled = torch.nn.functional.interpolate(pixels, scale_factor=2, mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(v).mul(255).view(1, 3, 1, 1) for v in (info().mean, info().std))
    with torch.no_grad():
        logits = net.forward_coarse((scaled - mean) / std).logits
        expected = torch.nn.functional.interpolate(
            logits, size=(64, 96), mode="bilinear", align_corners=False
        ).softmax(1)
    mine = predictor(net, mode="multiscale", scales=(2.0,)).probabilities(image)
    # the outermost rows of the scaled image lie beyond those of the image, where positions are held at the border
    np.testing.assert_allclose(mine, expected[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(40, 300), (300, 40), (97, 130)])
def test_large_scaled_images_are_predicted_in_few_large_windows(size):
    net, image = Net(), make_image(*size)
    predictor(net, mode="multiscale", scales=(2.0,), max_whole_pixels=12000).predict(image)
    areas = [each[0] * each[2] * each[3] for each in net.sizes]
    assert 6000 < max(areas) <= 12000
    assert sum(areas) < 1.6 * 4 * size[0] * size[1]


def test_windows_are_of_the_size_asked_for_and_come_in_batches():
    net = Net()
    predictor(net, mode="sliding", window_batch=3).predict(make_image(70, 100))
    assert {size[2:] for size in net.sizes} == {(32, 24)}
    assert max(size[0] for size in net.sizes) == 3


def test_the_result_streams_in_bands():
    made = predictor(mode="sliding")
    bands = [(band.top, len(band.scores)) for band in made.bands(make_image(1000, 40))]
    assert len(bands) > 4 and max(rows for _, rows in bands) <= 32 + BAND_ROWS
    assert [top for top, _ in bands] == [0, *np.cumsum([rows for _, rows in bands])[:-1]]
    assert sum(rows for _, rows in bands) == 1000


@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
def test_one_class_is_thresholded_and_else_void(mode):
    net, image = Net(classes=1), make_image(40, 50)
    made = predictor(net, classes=1, mode=mode)
    probability = made.probabilities(image)[0]
    assert np.array_equal(made.predict(image), np.where(probability >= 0.5, 0, 255))
    assert 0 < (probability >= 0.5).mean() < 1


def test_autocast_gives_float32_probabilities_close_to_full_precision():
    net, image = Net(kernel=3), make_image(40, 50)
    made = Predictor(net, info(), precision=Precision("bf16", "cpu"))
    full = direct(net, image)
    assert made.probabilities(image).dtype == np.float32
    assert 0 < np.abs(made.probabilities(image) - full).max() < 0.05


def test_windows_that_do_not_fit_in_memory_are_halved(caplog):
    class Hungry(Net):
        def forward(self, images):
            if len(images) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    net, image = Hungry(), make_image(100, 100)
    made = predictor(net, mode="sliding", window_batch=8)
    np.testing.assert_allclose(made.probabilities(image), direct(net, image), atol=1e-5)
    assert made.window_batch == 3 and "3 windows at a time" in caplog.text


def test_one_window_that_does_not_fit_is_an_error_that_says_what_to_do():
    class Starved(Net):
        def forward(self, images):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(DataError, match="smaller window"):
        predictor(Starved()).predict(make_image(10, 10))


def test_other_errors_of_a_network_pass_through():
    class Broken(Net):
        def forward(self, images):
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        predictor(Broken()).predict(make_image(10, 10))


@pytest.mark.parametrize(
    "image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3))]
)
def test_images_of_another_kind_are_refused(image):
    with pytest.raises(DataError, match="expected"):
        predictor().predict(image)


@pytest.mark.slow
def test_memory_does_not_grow_with_classes_times_height(forks):
    """Twice the height adds the image and its mask, not its probabilities (240 MB more at 60 classes)."""
    code = (
        "import resource\n"
        "import numpy as np, torch\n"
        "from tests.utils.predict.test_predictor import Net, info\n"
        "from utils.predict.predictor import Predictor\n"
        "from utils.predict.options import PredictOptions\n"
        "made = Predictor(Net(60, depth=1), info(60), options=PredictOptions(mode='sliding', window=(128, 128)))\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "for height in (500, 4500):\n"
        "    image = np.random.default_rng(0).integers(0, 256, (height, 250, 3), dtype=np.uint8)\n"
        "    assert made.predict(image).shape == (height, 250)\n"
        "    print(peak())\n"
    )
    done = forks.run(code)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after - before < 60


@pytest.mark.parametrize("mode", ["whole", "sliding", "multiscale"])
def test_networks_see_channels_last_also_by_the_stride_of_a_single_image(mode):
    """torch chooses kernels by that stride, although it calls any tensor with one image channels last."""
    strides = []

    class Strides(Net):
        def forward(self, images):
            strides.append((tuple(images.shape), images.stride()))
            return super().forward(images)

    predictor(Strides(), mode=mode, tta=("identity", "hflip", "rot90"), window_batch=1).predict(
        make_image(70, 90)
    )
    assert strides
    for (_, channels, height, width), found in strides:
        assert found == (channels * height * width, 1, width * channels, channels)


def test_large_windows_are_no_larger_than_their_number_needs():
    """An image slightly above the limit is predicted as two halves, not as two windows of almost its size."""
    net = Net()
    predictor(net, mode="multiscale", scales=(2.0,), max_whole_pixels=128 * 512).predict(make_image(64, 280))
    areas = [each[0] * each[2] * each[3] for each in net.sizes]
    assert len(areas) == 2 and sum(areas) < 1.25 * 128 * 560


def test_windows_whose_margin_leaves_gaps_are_a_mistake_of_the_command_line():
    sliding = predictor(mode="sliding", window=(32, 32), margin=10)
    with pytest.raises(ConfigError, match="--window-margin: windows of 32 pixels with a margin of 10"):
        sliding.predict(make_image(64, 64))
