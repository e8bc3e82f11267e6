"""Writes a trained network as ONNX, TorchScript or torch.export file that runs without this program.

All three are recorded once, from one example, so whatever a forward pass decides by the size of its input
would be fixed as it was for the example. Batch, height and width are therefore dynamic throughout, and
:mod:`utils.export.compare` compares every file with the network at other sizes before it gets its name.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import ConfigError, ExportError
from utils.export.contract import COARSE, INPUT, OUTPUT

METADATA_FILE = "metadata.json"
_EXAMPLE = (2, 75, 109)  # batch, height, width: no multiples of a stride, and unlike each other
_LARGEST_ONNX = 2**31 - 2**24  # a protocol buffer ends at 2 GiB
OTHER = {"onnx": "torchscript", "torch-export": "torchscript", "torchscript": "onnx"}


class PlainOutputs(nn.Module):
    """A network that returns tensors instead of a named tuple.

    Args:
        model: its output has ``logits``; it has ``forward_coarse`` and ``fit_to``.
        both: return the logits on the network's own grid too.
    """

    def __init__(self, model: nn.Module, both: bool = False) -> None:
        super().__init__()
        self.model: Any = model
        self.both = both

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        coarse = self.unfitted(images)
        logits = self.model.fit_to(coarse, images)
        return (logits, coarse) if self.both else logits

    def unfitted(self, images: Tensor) -> Tensor:  # TorchScript files store the method under this name
        return self.model.forward_coarse(images).logits


def check_packages(format_name: str) -> None:
    """Find out early whether a format can be written here.

    Raises:
        ConfigError: a package is missing, or torch is too old.
    """
    if format_name != "torchscript" and not _dynamic_options():
        raise ConfigError(
            f"--format {format_name}: torch {torch.__version__} cannot record dynamic sizes; "
            "upgrade torch to 2.10, or use --format torchscript"
        )
    if format_name == "onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            require(name)


def require(package: str) -> Any:
    """Import an optional package.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(f"needs {package}: pip install -r requirements-onnx.txt ({error})") from error


def write_model(
    model: nn.Module,
    in_channels: int,
    path: Path,
    format_name: str,
    metadata: Mapping[str, str],
    opset: int | None = None,
) -> None:
    """Record a network and write it, unchecked, to ``path``.

    Args:
        model: a network of this program in eval mode, on the CPU, in float32.
        in_channels: channels of the images.
        path: ends as the format does.
        format_name: ``onnx``, ``torchscript`` or ``torch-export``.
        metadata: name -> text; ONNX: ``metadata_props``, the others: the extra file ``metadata.json``.
        opset: version of the ONNX operators; the exporter's default if ``None``.

    Raises:
        ExportError: the format cannot hold this network.
        ConfigError: a package is missing.
        OSError: the file cannot be written.
    """
    example = torch.randn(_EXAMPLE[0], in_channels, *_EXAMPLE[1:], generator=torch.Generator().manual_seed(0))
    wrapped = PlainOutputs(model).eval()
    with quiet(), torch.no_grad():
        coarse = wrapped.unfitted(example).shape[-1] < example.shape[-1]
        if format_name == "torchscript":
            inputs = {name: example for name in ("forward", *["unfitted"] * coarse)}
            program = _recorded(
                format_name, lambda: torch.jit.trace_module(wrapped, inputs, check_trace=False)
            )
            _write_script(program, path, metadata)
        elif format_name == "torch-export":
            recorded = _recorded(format_name, lambda: _record(wrapped, example))
            torch.export.save(recorded, path, extra_files={METADATA_FILE: json.dumps(dict(metadata))})
        else:
            wrapped.both = coarse
            recorded = _recorded(format_name, lambda: _record(wrapped, example))
            _write_onnx(recorded, path, metadata, opset)


def _record(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """A program for every batch, height and width from 1.

    Sizes are handled as unknown (``backed_size_oblivious``), or the program would be for sides that differ
    from those that give a feature map of one pixel. What it then asserts at run time is which branch torch's
    own operators took for the example, not what the result needs; the comparison shows that.
    """
    import torch.fx.experimental._config as symbolic

    dynamic = torch.export.Dim.DYNAMIC
    with symbolic.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        program = torch.export.export(
            model,
            (example,),
            dynamic_shapes={INPUT: {0: dynamic, 2: dynamic, 3: dynamic}},
            **_dynamic_options(),
        )
    graph = program.graph
    for node in list(graph.nodes):
        node.meta.pop("stack_trace", None)  # paths of this machine
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _dynamic_options() -> dict[str, Any]:
    """What makes torch.export leave sizes open; empty where this torch cannot."""
    name = "prefer_deferred_runtime_asserts_over_guards"
    import torch.fx.experimental._config as symbolic

    known = name in inspect.signature(torch.export.export).parameters
    return {name: True} if known and hasattr(symbolic, "backed_size_oblivious") else {}


def _write_script(program: Any, path: Path, metadata: Mapping[str, str]) -> None:
    """The archive of torch.jit, less its tables of where in the source each line came from."""
    whole = io.BytesIO()
    torch.jit.save(program, whole, _extra_files={METADATA_FILE: json.dumps(dict(metadata))})
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                target.writestr(entry.filename, source.read(entry))


def _write_onnx(
    recorded: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str], opset: int | None
) -> None:
    size = sum(tensor.nbytes for tensor in recorded.state_dict.values())
    if size > _LARGEST_ONNX:
        raise ExportError(
            f"the weights take {size / 2**30:.1f} GiB and a single ONNX file holds 2; use --format torch-export"
        )
    outputs = [OUTPUT, COARSE][: len(recorded.graph_signature.user_outputs)]
    program = _recorded(
        "onnx",
        lambda: torch.onnx.export(
            recorded,
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=outputs,
            external_data=False,
            verbose=False,
        ),
    )
    model = program.model
    if opset is not None and model.opset_imports[""] != opset:
        raise ExportError(
            f"--opset {opset}: this network could only be written with {model.opset_imports['']}"
        )
    for node in model.graph:
        node.metadata_props.clear()  # paths of this machine
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None  # in the exporter's own symbols; every runtime infers it anew
    for value in (*model.graph.inputs, *model.graph.outputs):
        sides = ["coarse_height", "coarse_width"] if value.name == COARSE else ["height", "width"]
        value.shape = type(value.shape)(["batch", value.shape[1], *sides])
    model.metadata_props.update(metadata)
    program.save(str(path), external_data=False)


def _recorded(format_name: str, record: Any) -> Any:
    """What ``record`` returns; its errors, which are of every kind, as one line with a remedy."""
    try:
        return record()
    except (ImportError, MemoryError, OSError):
        raise
    except Exception as error:
        reason = next(
            (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        raise ExportError(
            f"--format {format_name} cannot hold this network ({type(error).__name__}: {reason[:200]}); try "
            f"--format {OTHER[format_name]}, and let no 'if' or Python number in its forward pass depend on "
            "the size of the images"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's own words: what they warn of is compared afterwards, errors are told in one line."""
    names = ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir", "torch.jit")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
