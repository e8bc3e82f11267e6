"""The catalogue of architectures: one import line per name that a config may use."""

from models.dabnet import DABNet
from models.ddrnet import DDRNet
from models.deeplab import DeepLab
from models.duc_hdc import DeepLab_DUC_HDC
from models.enet import ENet
from models.eomt import EoMT
from models.erfnet import ERFNet
from models.fcn import FCN8s, FCN16s, FCN32s
from models.gcn import GCN
from models.hf import HF
from models.pidnet import PIDNet
from models.pspnet import PSPDenseNet, PSPNet
from models.segformer import SegFormer
from models.segnet import SegNet, SegResNet
from models.smp import SMP
from models.torchvision_models import TV
from models.unet import UNet, UNetBackbone
from models.upernet import UperNet
from models.vit_seg import ViTSeg

FCN8 = FCN8s  # the template family's name
UNetResnet = UNetBackbone  # its name in earlier versions and in the template family

__all__ = [
    "FCN8",
    "GCN",
    "HF",
    "SMP",
    "TV",
    "DABNet",
    "DDRNet",
    "DeepLab",
    "DeepLab_DUC_HDC",
    "ENet",
    "ERFNet",
    "EoMT",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "PIDNet",
    "PSPDenseNet",
    "PSPNet",
    "SegFormer",
    "SegNet",
    "SegResNet",
    "UNet",
    "UNetBackbone",
    "UNetResnet",
    "UperNet",
    "ViTSeg",
]
