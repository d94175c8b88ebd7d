"""HanLM: turn an English-centred language model into a Chinese one."""

__version__ = "0.1.0"
