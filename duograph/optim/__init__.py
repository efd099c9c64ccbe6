"""Optimisers: each updates all parameters of a group by one program."""

from .adam import Adam, AdamW
from .optimizer import Optimizer, OptimizerError
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "OptimizerError"]
