"""Opens exported models so that they predict like networks of this program."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from utils.errors import CheckpointError, ConfigError, first_line
from utils.export.contract import COARSE, INPUT, OUTPUT, ExportFacts, exported_format
from utils.export.write import METADATA_FILE, quiet, require

logger = logging.getLogger(__name__)


class ExportedOutput(NamedTuple):
    """What an exported model returns.

    Attributes:
        logits: (N, classes, H, W) float32 on the device of the input.
    """

    logits: Tensor


class ExportedModel(nn.Module):
    """What all have in common.

    Attributes:
        stride: images are padded to multiples of this before :meth:`forward_coarse` decides on its own grid; only
            models that offer one have that method.
    """

    stride: int = 1
    metadata: Mapping[str, str]


class OnnxModel(ExportedModel):
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
                f"{path}: is no ONNX file that can be run ({first_line(error)[:300]})"
            ) from error
        given, wanted = (
            [v.name for v in get()] for get in (self.session.get_inputs, self.session.get_outputs)
        )
        if given != [INPUT] or wanted[:1] != [OUTPUT]:
            raise CheckpointError(
                f"{path}: takes {', '.join(given)} and gives {', '.join(wanted)}; {INPUT} and {OUTPUT} are due"
            )
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        if COARSE in wanted:
            self.forward_coarse = self._coarse

    def forward(self, images: Tensor) -> ExportedOutput:
        """Logits of (N, in_channels, H, W) images.

        Raises:
            MemoryError: they do not fit in memory.
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
                raise MemoryError(first_line(error)[:300]) from error
            raise RuntimeError(f"onnxruntime: {first_line(error)[:300]}") from error
        return ExportedOutput(torch.from_numpy(logits).to(images.device))


class ProgramModel(ExportedModel):
    """A TorchScript or torch.export program, always in float32.

    Args:
        program: tensor of images -> tensor of logits.
        metadata: what the file carries.
    """

    def __init__(self, program: Any, metadata: Mapping[str, str]) -> None:
        super().__init__()
        self.metadata = metadata
        self._program = [program]  # in a list: a program in eval mode refuses to be set to eval mode
        if hasattr(program, "unfitted"):  # the method's name in TorchScript files
            self.forward_coarse = self._coarse

    def forward(self, images: Tensor) -> ExportedOutput:
        """Logits of (N, in_channels, H, W) images."""
        return self._run(self._program[0], images)

    def _coarse(self, images: Tensor) -> ExportedOutput:
        return self._run(self._program[0].unfitted, images)

    def _run(self, function: Any, images: Tensor) -> ExportedOutput:
        with torch.autocast(images.device.type, enabled=False):
            return ExportedOutput(function(images.float().contiguous()))


def load_exported(
    path: str | Path, device: torch.device | str = "cpu", *, trust: bool = False
) -> tuple[ExportedModel, ExportFacts]:
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
        return _with_facts(OnnxModel(path, device), path)
    if not trust:
        raise ConfigError(
            f"{path}: is a program, which may do anything when it is opened; if you made it yourself, give "
            "--trust; files from others: use the ONNX or the .pth"
        )
    try:
        with quiet():
            program, metadata = (_load_script if kind == "torchscript" else _load_program)(path, device)
        network = ProgramModel(program, json.loads(metadata))
    except (RuntimeError, OSError, ValueError, LookupError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read ({first_line(error)[:300]})") from error
    return _with_facts(network, path)


def _with_facts(network: ExportedModel, path: Path) -> tuple[ExportedModel, ExportFacts]:
    facts = ExportFacts.from_strings(network.metadata, path)
    network.stride = facts.stride
    return network, facts


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
