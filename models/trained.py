"""Trained models, ready to use: from checkpoints, run folders and exported files."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from base.base_model import BaseModel
from models.build import MODELS, build_untrained, of_version
from utils.config.factory import Component, require
from utils.config.file import load_config
from utils.config.user_code import catalogue_by_default
from utils.dataset_info import DatasetInfo
from utils.errors import CheckpointError, ConfigError
from utils.export.contract import exported_format
from utils.export.load import load_exported
from utils.predict.arguments import predict_options
from utils.predict.ensemble import Ensemble
from utils.predict.options import PredictOptions
from utils.predict.predictor import Predictor
from utils.run.checkpoint import load_checkpoint
from utils.run.find import find_checkpoint
from utils.run.trust import checkpoint_names
from utils.system.allocator import keep_freed_memory
from utils.system.device import resolve_device
from utils.system.precision import Precision, resolve_precision

logger = logging.getLogger(__name__)


def load_predictor(
    models: str | Path | Sequence[str | Path],
    *,
    options: PredictOptions | None = None,
    device: str | None = None,
    precision: str = "auto",
    rule: Literal["mean", "majority"] = "mean",
    weights: Sequence[float] | None = None,
    configs: Sequence[str] = (),
    trust: bool = False,
    always_ensemble: bool = False,
) -> Predictor | Ensemble:
    """Load one model, or several as an ensemble, to predict images.

    Args:
        models: a checkpoint, a run folder, a folder of runs (the newest is taken) or an exported model; several
            make an ensemble.
        options: how images are predicted; what is left open follows the training, see
            :meth:`utils.predict.options.PredictOptions.for_model`.
        device: ``cpu``, ``cuda``, ``cuda:1`` or a GPU number; ``None`` is a GPU where there is one.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        rule: how an ensemble decides.
        weights: one number per member, for the rule ``mean``.
        configs: a config for each model; its ``arch`` must be that of the checkpoint.
        trust: also open ``.torchscript`` and ``.pt2`` files, which are programs, and import the class outside the
            catalogue that a checkpoint names.
        always_ensemble: make an ensemble of one model too, which can report disagreement.

    Raises:
        CheckpointError: a model cannot be used.
        ConfigError: options that contradict each other.
    """
    paths = [models] if isinstance(models, (str, Path)) else list(models)
    if configs and len(configs) != len(paths):
        raise ConfigError(f"--config: {len(configs)} for {len(paths)} models; give one each, or none")
    if weights and len(paths) == 1:
        raise ConfigError("--weights: there is one model only; weights are for the members of an ensemble")
    target = resolve_device(device)
    arithmetic = resolve_precision(precision, target)
    settings = _Settings(options or PredictOptions(), target, arithmetic, precision, trust)
    members = [
        _load_member(Path(path), configs[number] if configs else None, settings)
        for number, path in enumerate(paths)
    ]
    if len(members) == 1 and not always_ensemble:
        return members[0]
    return Ensemble(members, rule, weights)


def predictor_of(args: argparse.Namespace, *, always_ensemble: bool = False) -> Predictor | Ensemble:
    """Load the models of a command line with :func:`utils.predict.arguments.add_model_arguments`.

    Raises:
        CheckpointError: a model cannot be used.
        ConfigError: options that contradict each other.
    """
    if resolve_device(args.device).type == "cpu" and not args.no_tune_allocator:
        keep_freed_memory()
    return load_predictor(
        args.model,
        options=predict_options(args),
        device=args.device,
        precision=args.precision,
        rule=args.rule,
        weights=args.weights,
        configs=getattr(args, "config", None) or (),
        trust=args.trust,
        always_ensemble=always_ensemble,
    )


def model_from_checkpoint(checkpoint: Mapping[str, Any]) -> tuple[BaseModel, DatasetInfo]:
    """Rebuild a trained model, in eval mode on the CPU, with the facts of its data set.

    The averaged weights are taken where the run kept them. Nothing is downloaded. A class outside the
    catalogue is imported only within :func:`utils.run.trust.checkpoint_names`, where that says so.

    Args:
        checkpoint: the result of :func:`utils.run.checkpoint.load_checkpoint`.

    Raises:
        CheckpointError: it does not hold a model, or its weights do not fit the architecture.
    """
    try:
        arch, info = checkpoint["arch"], DatasetInfo.from_plain(checkpoint["dataset"])
        version = checkpoint.get("architecture_version", 1)
        weights = checkpoint.get("ema") or checkpoint["model"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint holds no complete model: {error!r}") from error
    try:
        with catalogue_by_default():
            model = _untrained(arch, info, version)
    except ConfigError as error:
        writer = (checkpoint.get("versions") or {}).get("segwright")
        by = f" (written by Segwright {writer})" if writer else ""
        raise CheckpointError(f"the checkpoint's model cannot be built: {error}{by}") from error
    load_weights(model, weights)
    return model.eval(), info


def _untrained(arch: Any, info: DatasetInfo, version: int) -> BaseModel:
    """Build the model that a checkpoint names, checked like that of a config."""
    component = of_version(Component.from_plain(arch, "arch"), version)
    require(MODELS, component, "arch")
    return build_untrained(component, info)


def load_weights(model: BaseModel, weights: Mapping[str, Any]) -> None:
    """Load a state dict that must fit exactly.

    Raises:
        CheckpointError: it does not; the message counts and names what differs.
    """
    own = model.state_dict()
    missing, unexpected = own.keys() - weights.keys(), weights.keys() - own.keys()
    reshaped = [k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape]
    if missing or unexpected or reshaped:
        first = sorted([*missing, *unexpected, *reshaped])[0]
        raise CheckpointError(
            f"the weights are of another architecture than {type(model).__name__}: {len(missing)} "
            f"missing, {len(unexpected)} unexpected, {len(reshaped)} of another shape (first: {first})"
        )
    model.load_state_dict(weights)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the checkpoint's name before a mistake found in it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


class _Settings(NamedTuple):
    """The settings that all members of an ensemble share; ``asked`` is the precision as the user gave it."""

    options: PredictOptions
    device: torch.device
    precision: Precision
    asked: str
    trust: bool


def _load_member(given: Path, config: str | None, settings: _Settings) -> Predictor:
    path = find_checkpoint(given)
    if exported_format(path):
        return _load_exported(path, config, settings)
    checkpoint = load_checkpoint(path)
    if config is not None:
        _compare(config, checkpoint.get("arch"), path)
    plain = {} if config is None else load_config(config)
    with naming(path), checkpoint_names(given, path, plain, trust=settings.trust):
        model, info = model_from_checkpoint(checkpoint)
    options = _options_for(path, settings, checkpoint.get("crop_size"), checkpoint.get("flip"))
    pairs = checkpoint.get("flip_pairs") or ()
    return Predictor(model, info, settings.device, settings.precision, options, pairs)


def _load_exported(path: Path, config: str | None, settings: _Settings) -> Predictor:
    """Load a file of export.py, which computes in float32 whatever the other members do."""
    model, facts = load_exported(path, settings.device, trust=settings.trust)
    if config is not None:
        _compare(config, dict(facts.arch), path)
    if settings.asked in ("bf16", "fp16"):
        logger.warning("%s: an exported model computes in fp32, not in %s", path, settings.asked)
    precision = Precision("fp32", settings.device.type)
    options = _options_for(path, settings, facts.crop_size, facts.flip)
    return Predictor(model, facts.info, settings.device, precision, options, facts.flip_pairs)


def _options_for(path: Path, settings: _Settings, crop_size: Any, flip: bool | None) -> PredictOptions:
    asked = settings.options
    if flip is False and asked.tta is None and asked.mode == "multiscale":
        logger.info(
            "%s: was trained without mirror images, so none are averaged over; --tta identity hflip adds them",
            path,
        )
    return asked.for_model(crop_size, flip)


def _compare(config: str, arch: Any, path: Path) -> None:
    """Refuse a config that names another model; checkpoints carry their own config."""
    if load_config(config).get("arch") != arch:
        raise ConfigError(f"{config}: arch is not the one that {path} was trained with; leave --config out")
