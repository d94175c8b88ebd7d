"""Model families that can be pretrained on Megatron-Core, described by data: one small map a family."""

from pretrain.families.family import Family
from pretrain.families.read import read_shape
from pretrain.families.registry import FAMILIES
from pretrain.families.shape import ModelShape, RopeScaling
from pretrain.families.weights import Cut, Fuse, Weight

__all__ = ["FAMILIES", "Cut", "Family", "Fuse", "ModelShape", "RopeScaling", "Weight", "read_shape"]
