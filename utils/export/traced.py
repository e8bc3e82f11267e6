"""ONNX files of old operator versions, which torch writes from a traced network only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.export.contract import COARSE, INPUT, OUTPUT

OLDEST = 11  # opset; older ones cannot pad or resize to a size that follows the image


def write_traced(
    model: nn.Module,
    example: Tensor,
    path: Path,
    opset: int,
    metadata: Mapping[str, str],
    explained: Callable[[str, Callable[[], None]], None],
) -> None:
    """Trace a network and write it as ONNX, unchecked.

    Args:
        model: maps images to logits, or with ``both`` to logits and those on the network's own grid.
        example: images to trace with.
        path: file to write.
        opset: version of the ONNX operators, :data:`OLDEST` to 20.
        metadata: name -> text, written to ``metadata_props``.
        explained: calls a function for a format, and turns its errors into an :class:`ExportError`.

    Raises:
        ExportError: these operators cannot hold the network.
        OSError: the file cannot be written.
    """
    outputs = [OUTPUT, COARSE] if model.both else [OUTPUT]
    sides = {
        INPUT: ("height", "width"),
        OUTPUT: ("height", "width"),
        COARSE: ("coarse_height", "coarse_width"),
    }
    axes = {name: {0: "batch", 2: sides[name][0], 3: sides[name][1]} for name in (INPUT, *outputs)}

    def write() -> None:
        torch.onnx.export(
            model,
            (example,),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=outputs,
            dynamic_axes=axes,
        )

    explained("onnx", write)
    _finish(path, metadata)


def _finish(path: Path, metadata: Mapping[str, str]) -> None:
    """Add the facts, and remove the paths of this machine."""
    import onnx

    model = onnx.load(str(path))
    _clean(model.graph)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path))


def _clean(graph: Any) -> None:
    for node in graph.node:
        node.doc_string = ""
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _clean(attribute.g)
