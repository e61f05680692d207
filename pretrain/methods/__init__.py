"""Contrastive bases: what pulls the views of an image together."""

from pretrain.methods.barlow_twins import BarlowTwins
from pretrain.methods.byol import BYOL
from pretrain.methods.method import Embedded, Method
from pretrain.methods.moco import MoCo
from pretrain.methods.simclr import SimCLR

__all__ = ["BYOL", "BarlowTwins", "Embedded", "Method", "MoCo", "SimCLR"]
