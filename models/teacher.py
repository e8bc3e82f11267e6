"""Loading of the teacher that a config names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.trained import model_from_checkpoint, naming
from utils.config.sections import Experiment
from utils.config.user_code import catalogue_only
from utils.dataset_info import DatasetInfo
from utils.errors import CheckpointError, ConfigError
from utils.export.contract import exported_format
from utils.export.load import load_exported
from utils.run.checkpoint import load_checkpoint
from utils.run.find import find_checkpoint
from utils.system.tensor_file import sha256_of
from utils.training.teacher import Teacher, TeacherSource, require_same

logger = logging.getLogger(__name__)


def load_teacher(
    experiment: Experiment,
    info: DatasetInfo,
    device: torch.device,
    resumed: Mapping[str, Any] | None = None,
) -> Teacher | None:
    """Load the teacher of an experiment; no random number of the run is drawn.

    Args:
        experiment: the checked config.
        info: facts of the training data, with the normalisation that the student gets.
        device: device of the teacher.
        resumed: the checkpoint that the run continues from.

    Returns:
        ``None`` where the config names none.

    Raises:
        ConfigError: its classes or channels are not those of the data, it is not the file that the resumed run
            has had, or onnxruntime is missing.
        CheckpointError: the file cannot be used.
    """
    options = experiment.teacher
    if options is None:
        return None
    path = _find(options.model)
    source = TeacherSource(str(path), sha256_of(path))
    require_same(None if resumed is None else resumed.get("teacher"), source)
    with torch.random.fork_rng(devices=[]):
        network, own = _load(path, device, experiment.arch.type)
    if experiment.channels_last:
        network = network.to(memory_format=torch.channels_last)
    logger.info("Teacher: %s, weight %g, temperature %g", path, options.weight, options.temperature)
    return Teacher(network, own, info, options, source, device)


def _find(given: str) -> Path:
    """Return the file that ``teacher.model`` means.

    Raises:
        CheckpointError: there is none.
    """
    try:
        path = find_checkpoint(Path(given))
    except CheckpointError as error:
        raise CheckpointError(f"teacher.model: {str(error).removeprefix('--model ')}") from error
    if not path.is_file():
        raise CheckpointError(f"teacher.model: {given}: no such file or folder")
    return path


def _load(path: Path, device: torch.device, student: str) -> tuple[nn.Module, DatasetInfo]:
    """Open a checkpoint or an ONNX file.

    A resumed run may take the path from its checkpoint, so neither the file nor its folder may name code:
    its class is one of the catalogue, or that of the student, which was looked up before.
    """
    kind = exported_format(path)
    if kind == "onnx":
        with naming("teacher.model"):
            network, facts = load_exported(path, device)
        return network, facts.info
    if kind is not None:
        raise ConfigError(f"teacher.model: {path} is a program; give the checkpoint or its ONNX file")
    with naming("teacher.model"):
        checkpoint = load_checkpoint(path)
        name = checkpoint.get("arch", {}).get("type", "")
        if "." in name and name != student:
            raise CheckpointError(f"{path}: its class '{name}' is outside the catalogue; export it to ONNX")
        with catalogue_only({student}):
            model, info = model_from_checkpoint(checkpoint)
    return model.to(device), info
