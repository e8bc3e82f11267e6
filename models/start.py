"""The model that a run starts with: built, with weights, and with the normalisation they expect."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from base import BaseDataLoader
from base.base_model import BaseModel
from models.build import build_model, build_untrained, names_of, recorded_version
from models.weights.known import rename
from models.weights.read import read_file
from utils.config.sections import Experiment
from utils.dataset_info import DatasetInfo, Normalisation
from utils.training.finetune import start_from

logger = logging.getLogger(__name__)


def start_model(
    experiment: Experiment,
    train_loader: BaseDataLoader,
    val_loader: BaseDataLoader | None,
    resumed: Mapping[str, Any] | None = None,
) -> BaseModel:
    """Build the model of an experiment and give the loaders the normalisation that its weights were trained with.

    A config that sets ``mean`` or ``std`` keeps them; without pretrained weights the data set's own serve.

    Args:
        experiment: the checked config.
        train_loader: the training data.
        val_loader: the validation data, if there is any.
        resumed: the checkpoint to continue from, whose weights are loaded later: then nothing is fetched, and
            the run keeps its normalisation.

    Raises:
        ConfigError: a part refused its arguments, or pretrained weights cannot be loaded.
        CheckpointError: ``init_from`` is unusable.
    """
    info = train_loader.info
    if resumed is not None:
        model = build_untrained(experiment.arch, info, recorded_version(experiment.arch, resumed))
        wanted: Normalisation | None = DatasetInfo.from_plain(resumed["dataset"]).normalisation
    else:
        model = build_model(experiment.arch, info)
        brought = start_from(
            experiment.init_from, model, info, names_of(model), read=read_file, rename=rename
        )
        wanted = brought.normalisation or model.normalisation
        if wanted is None and brought.published:
            wanted = getattr(model.backbone, "usual", None)
    if wanted is not None:
        _normalise(wanted.for_channels(info.in_channels), train_loader, val_loader)
    return model


def _normalise(wanted: Normalisation, train: BaseDataLoader, val: BaseDataLoader | None) -> None:
    """Give the loaders a normalisation, unless it is theirs or the config sets one."""
    own = train.info.normalisation
    if wanted == own:
        return
    if train.dataset.has_given_normalisation:
        logger.info("train_loader.args: %s is used, as the config says; the weights expect %s", own, wanted)
        return
    logger.info("Images are normalised as the weights expect: %s; the data set's own is %s", wanted, own)
    for loader in (train, val):
        if loader is not None:
            loader.normalise_as(wanted)
