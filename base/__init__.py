"""The abstract classes of data sets, loaders, models and trainers."""

from base.base_dataloader import BaseDataLoader
from base.base_dataset import BaseDataSet
from base.base_model import BaseModel, SegmentationOutput
from base.base_trainer import BaseTrainer

__all__ = ["BaseDataLoader", "BaseDataSet", "BaseModel", "BaseTrainer", "SegmentationOutput"]
