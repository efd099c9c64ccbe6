"""`tf.contrib.framework`: nested structures and variables."""

from .. import nest as nest
from ..train import assert_global_step as assert_global_step
from ..train import create_global_step as create_global_step
from ..train import get_global_step as get_global_step
from ..train import get_or_create_global_step as get_or_create_global_step
from ..variable_queries import *
from ..variables import global_variables as get_variables
from ..variables import trainable_variables as get_trainable_variables

__all__ = [
    "assert_global_step", "create_global_step", "get_global_step", "get_or_create_global_step", "get_trainable_variables",
    "get_variables", "nest",
]  # fmt: skip
