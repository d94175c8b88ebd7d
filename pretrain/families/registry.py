"""The families that can be pretrained on Megatron-Core, by their ``model_type``."""

from collections.abc import Mapping

from pretrain.families.family import Family
from pretrain.families.gemma import GEMMA
from pretrain.families.llama import LLAMA
from pretrain.families.mistral import MISTRAL
from pretrain.families.qwen import QWEN2, QWEN3

FAMILIES: Mapping[str, Family] = {
    "llama": LLAMA,
    "mistral": MISTRAL,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "gemma": GEMMA,
}
