"""Opens exported models so that they predict like networks of this program."""

from __future__ import annotations

import json
import logging
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from utils.errors import CheckpointError, ConfigError
from utils.exported import INPUT, OUTPUT, ExportFacts, exported_format
from utils.exporter import METADATA_FILE, quiet, require

logger = logging.getLogger(__name__)


class ExportedOutput(NamedTuple):
    """What an exported model returns.

    Attributes:
        logits: (N, classes, H, W) float32 on the device of the input.
    """

    logits: Tensor


class OnnxModel(nn.Module):
    """An ONNX file run by onnxruntime, always in float32.

    Args:
        path: the file.
        device: CUDA is used if onnxruntime has it, else the CPU; a line says so.
        threads: of one operator on the CPU; torch's number if ``None``.

    Raises:
        ConfigError: onnxruntime is not installed.
        CheckpointError: the file cannot be read, or is not of the form that export.py writes.
    """

    def __init__(self, path: Path, device: torch.device, threads: int | None = None) -> None:
        super().__init__()
        runtime = require("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # plans made for one size of image are of no use for the next
        options.log_severity_level = 3
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=_providers(runtime, device))
        except Exception as error:  # the runtime's errors have no common class
            raise CheckpointError(
                f"{path}: is no ONNX file that can be run ({_first_line(error)})"
            ) from error
        names = [value.name for value in (*self.session.get_inputs(), *self.session.get_outputs())]
        if names != [INPUT, OUTPUT]:
            raise CheckpointError(
                f"{path}: takes and gives {', '.join(names)}; {INPUT}, {OUTPUT} are expected"
            )
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map

    def forward(self, images: Tensor) -> ExportedOutput:
        """Logits of (N, in_channels, H, W) images.

        Raises:
            MemoryError: they do not fit in memory.
        """
        array = images.detach().to("cpu", torch.float32).contiguous().numpy()
        try:
            (logits,) = self.session.run([OUTPUT], {INPUT: array})
        except Exception as error:
            if any(words in str(error) for words in ("Failed to allocate", "bad_alloc", "out of memory")):
                raise MemoryError(_first_line(error)) from error
            raise RuntimeError(f"onnxruntime: {_first_line(error)}") from error
        return ExportedOutput(torch.from_numpy(logits).to(images.device))


class ProgramModel(nn.Module):
    """A TorchScript or torch.export program, always in float32.

    Args:
        program: tensor of images -> tensor of logits.
    """

    def __init__(self, program: Any) -> None:
        super().__init__()
        self._program = [program]  # in a list: a program in eval mode refuses to be set to eval mode

    def forward(self, images: Tensor) -> ExportedOutput:
        """Logits of (N, in_channels, H, W) images."""
        with torch.autocast(images.device.type, enabled=False):
            return ExportedOutput(self._program[0](images.float().contiguous()))


def load_exported(
    path: str | Path, device: torch.device | str = "cpu", *, trust: bool = False
) -> tuple[nn.Module, ExportFacts]:
    """Open what export.py wrote.

    An ONNX file is data. The other two are programs: opening one from a stranger can execute anything, so
    they are opened only on demand.

    Args:
        path: a file that ends in ``.onnx``, ``.torchscript`` or ``.pt2``.
        device: where it runs.
        trust: open programs too.

    Returns:
        A module whose output has ``logits``, and what the file carries.

    Raises:
        CheckpointError: no such file, damaged, or not written by export.py.
        ConfigError: onnxruntime is not installed, or ``trust`` is needed.
    """
    path, device = Path(path), torch.device(device)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such model")
    kind = exported_format(path)
    if kind == "onnx":
        model = OnnxModel(path, device)
        return model, ExportFacts.from_strings(model.metadata, path)
    if not trust:
        raise ConfigError(
            f"{path}: is a program, which may do anything when it is opened; if you made it yourself, give "
            "--trust; files from others: use the ONNX or the .pth"
        )
    try:
        with quiet():
            program, metadata = (_load_script if kind == "torchscript" else _load_program)(path, device)
        strings = json.loads(metadata)
    except (RuntimeError, OSError, ValueError, LookupError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read ({_first_line(error)})") from error
    return ProgramModel(program), ExportFacts.from_strings(strings, path)


def _load_script(path: Path, device: torch.device) -> tuple[Any, str]:
    extra = {METADATA_FILE: ""}
    program = torch.jit.load(str(path), map_location=device, _extra_files=extra)
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


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).replace(os.linesep, " ")[:300]
