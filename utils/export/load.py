"""Reading of exported models, which then predict like networks of this program."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from utils.errors import CheckpointError, ConfigError, first_line
from utils.export.contract import COARSE, INPUT, OUTPUT, ExportFacts, exported_format
from utils.export.write import METADATA_FILE, quiet, require

logger = logging.getLogger(__name__)


class ExportedOutput(NamedTuple):
    """Output of an exported model.

    Attributes:
        logits: (N, classes, H, W) float32 on the device of the input.
    """

    logits: Tensor


class ExportedModel(nn.Module):
    """Base of the exported models: (N, in_channels, H, W) images to logits, for every N, H, W >= 1.

    A model that returns logits on a coarser grid has a method ``forward_coarse`` for them.

    Attributes:
        stride: ``forward_coarse`` covers the images padded to multiples of this.
        metadata: name -> JSON from the file.
    """

    stride: int = 1
    metadata: Mapping[str, str]


class OnnxModel(ExportedModel):
    """ONNX file run by onnxruntime, always in float32.

    Args:
        path: the file.
        device: a CUDA device is used if onnxruntime supports it, else the CPU with a line in the log.
        threads: threads of one operator on the CPU; torch's number if ``None``.

    Raises:
        ConfigError: onnxruntime is not installed.
        CheckpointError: the file cannot be read, or export.py did not write it.
    """

    def __init__(self, path: Path, device: torch.device, threads: int | None = None) -> None:
        super().__init__()
        runtime = require("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # a memory plan fits one image size only
        options.log_severity_level = 3
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=_providers(runtime, device))
        except Exception as error:  # the errors of the runtime have no common class
            raise CheckpointError(f"{path}: is no ONNX file that can be run ({first_line(error)})") from error
        given, wanted = (
            [v.name for v in get()] for get in (self.session.get_inputs, self.session.get_outputs)
        )
        if given != [INPUT] or wanted[:1] != [OUTPUT]:
            raise CheckpointError(
                f"{path}: takes {', '.join(given)} and returns {', '.join(wanted)}, not {INPUT} and {OUTPUT}; "
                "only models written by export.py can be used here"
            )
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        if COARSE in wanted:
            self.forward_coarse = self._coarse

    def forward(self, images: Tensor) -> ExportedOutput:
        """Compute the logits of (N, in_channels, H, W) images.

        Raises:
            MemoryError: the images do not fit in memory.
        """
        return self._run(OUTPUT, images)

    def _coarse(self, images: Tensor) -> ExportedOutput:
        return self._run(COARSE, images)

    def _run(self, output: str, images: Tensor) -> ExportedOutput:
        array = images.detach().to("cpu", torch.float32).contiguous().numpy()
        try:
            (logits,) = self.session.run([output], {INPUT: array})
        except Exception as error:
            if any(words in str(error) for words in ("Failed to allocate", "bad_alloc", "out of memory")):
                raise MemoryError(first_line(error)) from error
            raise RuntimeError(f"onnxruntime: {first_line(error)}") from error
        return ExportedOutput(torch.from_numpy(logits).to(images.device))


class ProgramModel(ExportedModel):
    """TorchScript or torch.export program, always in float32.

    Args:
        program: maps a tensor of images to a tensor of logits.
        metadata: name -> JSON from the file.
    """

    def __init__(self, program: Any, metadata: Mapping[str, str]) -> None:
        super().__init__()
        self.metadata = metadata
        self._program = [program]  # in a list, because .eval() on a torch.export program raises
        if hasattr(program, "unfitted"):  # the method's name in TorchScript files
            self.forward_coarse = self._coarse

    def forward(self, images: Tensor) -> ExportedOutput:
        """Compute the logits of (N, in_channels, H, W) images."""
        return self._run(self._program[0], images)

    def _coarse(self, images: Tensor) -> ExportedOutput:
        return self._run(self._program[0].unfitted, images)

    def _run(self, function: Callable[[Tensor], Tensor], images: Tensor) -> ExportedOutput:
        with torch.autocast(images.device.type, enabled=False):
            return ExportedOutput(function(images.float().contiguous()))


def load_exported(
    path: str | Path, device: torch.device | str = "cpu", *, trust: bool = False
) -> tuple[ExportedModel, ExportFacts]:
    """Open a model written by export.py.

    An ONNX file is data. The other formats are programs, and a program from a stranger can do anything when it is
    opened, so those need ``trust``.

    Args:
        path: a file that ends in ``.onnx``, ``.torchscript`` or ``.pt2``.
        device: device of the model.
        trust: open programs too.

    Returns:
        A module whose output has ``logits``, and the facts in the file.

    Raises:
        CheckpointError: no such file, a damaged one, or one not written by export.py.
        ConfigError: onnxruntime is not installed, or ``trust`` is needed.
    """
    path, device = Path(path), torch.device(device)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such model")
    kind = exported_format(path)
    if kind == "onnx":
        return _with_facts(OnnxModel(path, device), device, path)
    if not trust:
        raise ConfigError(
            f"{path}: is a program, which can do anything when it is opened; give --trust if you exported it "
            "yourself, or use the ONNX file or the checkpoint"
        )
    try:
        with quiet():
            program, metadata = (_load_script if kind == "torchscript" else _load_program)(path, device)
        network = ProgramModel(program, json.loads(metadata))
    except (RuntimeError, OSError, ValueError, LookupError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read ({first_line(error)})") from error
    return _with_facts(network, device, path)


def _with_facts(
    network: ExportedModel, device: torch.device, path: Path
) -> tuple[ExportedModel, ExportFacts]:
    facts = ExportFacts.from_strings(network.metadata, path)
    network.stride = facts.stride
    with torch.inference_mode(), quiet():
        _compare_outputs(network, facts, device, path)
    return network, facts


def _compare_outputs(network: ExportedModel, facts: ExportFacts, device: torch.device, path: Path) -> None:
    """Run a small image, and refuse a file whose logits do not fit its facts."""
    images = torch.zeros(1, facts.info.in_channels, 9, 8, device=device)
    try:
        logits = network(images).logits
        shape = tuple(logits.shape)
        on_grid: Callable[[Tensor], ExportedOutput] = getattr(network, "forward_coarse", network)
        coarse = on_grid(images).logits.shape
    except MemoryError:
        raise
    except Exception as error:  # a program may raise anything
        raise CheckpointError(f"{path}: does not fit its facts ({first_line(error)[:200]})") from error
    expected = (1, facts.info.num_classes, 9, 8)
    if not logits.is_floating_point():
        raise CheckpointError(f"{path}: does not fit its facts: the logits are {logits.dtype}, not float32")
    if shape != expected or len(coarse) != 4 or coarse[:2] != expected[:2]:
        raise CheckpointError(
            f"{path}: does not fit its facts: the logits of a 9 x 8 image have the shape {shape}, not {expected}; "
            "only models written by export.py can be used here"
        )


def _load_script(path: Path, device: torch.device) -> tuple[Any, str]:
    extra = {METADATA_FILE: ""}
    program = torch.jit.load(str(path), map_location=device, _extra_files=extra)  # type: ignore[no-untyped-call]
    text: str | bytes = extra[METADATA_FILE]
    return program, text.decode() if isinstance(text, bytes) else text


def _load_program(path: Path, device: torch.device) -> tuple[Any, str]:
    extra = {METADATA_FILE: ""}
    program = torch.export.load(path, extra_files=extra)
    if device.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return program.module(), extra[METADATA_FILE]


def _providers(runtime: Any, device: torch.device) -> list[Any]:
    if device.type == "cuda":
        if "CUDAExecutionProvider" in runtime.get_available_providers():
            return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]
        logger.warning("this onnxruntime has no CUDA (onnxruntime-gpu has): the ONNX model runs on the CPU")
    return ["CPUExecutionProvider"]
