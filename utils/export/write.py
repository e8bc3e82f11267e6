"""Writing of a trained network as an ONNX, TorchScript or torch.export file that runs without this program.

Each is recorded from one example, so a decision that a forward pass takes by the size of its input is fixed to
that of the example. Batch, height and width are therefore dynamic everywhere, and :mod:`utils.export.compare`
compares every file with the network at other sizes before the file gets its name.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from utils.errors import ConfigError, ExportError, first_line
from utils.export.contract import COARSE, INPUT, OUTPUT
from utils.export.traced import write_traced

Recorded = TypeVar("Recorded")
METADATA_FILE = "metadata.json"
_EXAMPLE = (2, 75, 109)  # batch, height, width: all different, and no multiples of a stride
_OLDEST_RECORDED = 18  # opset; torch writes recorded programs with this one or a later one
_LARGEST_ONNX = 2**31 - 2**24  # bytes; a protocol buffer ends at 2 GiB
OTHER = {"onnx": "torchscript", "torch-export": "torchscript", "torchscript": "onnx"}


class PlainOutputs(nn.Module):
    """Wrapper of a network that returns tensors instead of a named tuple.

    Args:
        model: a network with the methods ``forward_coarse`` and ``fit_to``.
        both: return the logits on the network's own grid too.
    """

    def __init__(self, model: nn.Module, both: bool = False) -> None:
        super().__init__()
        self.model: Any = model
        self.both = both

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute logits (N, classes, H, W), and with ``both`` those on the network's own grid."""
        coarse = self.unfitted(images)
        logits: Tensor = self.model.fit_to(coarse, images)
        return (logits, coarse) if self.both else logits

    def unfitted(self, images: Tensor) -> Tensor:
        """Compute logits on the network's own grid; TorchScript files keep this name of the method."""
        coarse: Tensor = self.model.forward_coarse(images).logits
        return coarse


def check_packages(format_name: str) -> None:
    """Check that this machine can write a format, before any other work.

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
        ConfigError: the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(f"needs {package}: pip install -r requirements/onnx.txt ({error})") from error


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
        path: file to write, with the ending of the format.
        format_name: ``onnx``, ``torchscript`` or ``torch-export``.
        metadata: name -> text, written to ``metadata_props`` (ONNX) or to the extra file ``metadata.json``.
        opset: version of the ONNX operators; torch's default if ``None``. Below 18, the network is traced.

    Raises:
        ExportError: the format cannot hold this network.
        ConfigError: a package is missing.
        OSError: the file cannot be written.
    """
    if format_name == "onnx":
        _require_room(model)
    example = torch.randn(_EXAMPLE[0], in_channels, *_EXAMPLE[1:], generator=torch.Generator().manual_seed(0))
    wrapped = PlainOutputs(model).eval()
    with quiet(), torch.no_grad():
        coarse = wrapped.unfitted(example).shape[-1] < example.shape[-1]
        if format_name == "torchscript":
            inputs = {name: example for name in ("forward", *["unfitted"] * coarse)}
            program = _explained(format_name, lambda: _trace(wrapped, inputs))
            _write_script(program, path, metadata)
        elif format_name == "torch-export":
            recorded = _explained(format_name, lambda: _record(wrapped, example))
            torch.export.save(recorded, path, extra_files={METADATA_FILE: json.dumps(dict(metadata))})
        elif opset is not None and opset < _OLDEST_RECORDED:
            wrapped.both = coarse
            write_traced(wrapped, example, path, opset, metadata, _explained)
        else:
            wrapped.both = coarse
            recorded = _explained(format_name, lambda: _record(wrapped, example))
            _write_onnx(recorded, path, metadata, opset)


def _trace(model: nn.Module, inputs: Mapping[str, Tensor]) -> torch.jit.ScriptModule:
    """Record the methods in ``inputs``, each from its example."""
    program: torch.jit.ScriptModule = torch.jit.trace_module(model, dict(inputs), check_trace=False)  # type: ignore[no-untyped-call]
    return program


def _record(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Record a program for every batch, height and width from 1.

    Sizes are treated as unknown (``backed_size_oblivious``); otherwise the program would exclude images whose
    feature map is one pixel wide. The assertions it then makes at run time only repeat which branch torch's own
    operators took for the example, so they are removed; the comparison proves the result.
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
        node.meta.pop("stack_trace", None)  # holds paths of this machine
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _dynamic_options() -> dict[str, Any]:
    """Arguments that make torch.export leave sizes open; empty if this torch has none."""
    name = "prefer_deferred_runtime_asserts_over_guards"
    import torch.fx.experimental._config as symbolic

    known = name in inspect.signature(torch.export.export).parameters
    return {name: True} if known and hasattr(symbolic, "backed_size_oblivious") else {}


def _write_script(program: torch.jit.ScriptModule, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the archive of torch.jit without its debug tables, which hold paths of this machine."""
    archive = io.BytesIO()
    torch.jit.save(program, archive, _extra_files={METADATA_FILE: json.dumps(dict(metadata))})
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                target.writestr(entry.filename, source.read(entry))


def _require_room(model: nn.Module) -> None:
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    if size > _LARGEST_ONNX:
        raise ExportError(
            f"the weights take {size / 2**30:.1f} GiB and a single ONNX file holds 2; use --format torch-export"
        )


def _write_onnx(
    recorded: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str], opset: int | None
) -> None:
    outputs = [OUTPUT, COARSE][: len(recorded.graph_signature.user_outputs)]
    program = _explained(
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
    assert program is not None  # it is only where torch writes the file itself
    model = program.model
    if opset is not None and model.opset_imports[""] != opset:
        raise ExportError(
            f"--opset {opset}: this network could only be written with {model.opset_imports['']}"
        )
    _tidy(model.graph)
    model.metadata_props.update(metadata)
    program.save(str(path), external_data=False)


def _tidy(graph: Any) -> None:
    """Remove paths of this machine from an ONNX graph, and name its free sizes."""
    for node in graph:
        node.metadata_props.clear()
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None  # in symbols of torch.onnx; every runtime infers the shape itself
    for value in (*graph.inputs, *graph.outputs):
        sides = ["coarse_height", "coarse_width"] if value.name == COARSE else ["height", "width"]
        value.shape = type(value.shape)(["batch", value.shape[1], *sides])


def _explained(format_name: str, record: Callable[[], Recorded]) -> Recorded:
    """Call ``record``, and turn its errors, which have any class, into one line with a remedy."""
    try:
        return record()
    except (ImportError, MemoryError, OSError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise ExportError(
            f"--format {format_name} cannot hold this network ({reason}); try "
            f"--format {OTHER[format_name]}, and let no 'if' or Python number in its forward pass depend on "
            "the size of the images"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch: the comparison covers its warnings, and its errors become one line."""
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
