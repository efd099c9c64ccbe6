"""Training, under the names of `tf.train`: optimizers, learning rates, checkpoints, sessions that keep an eye on it."""

from typing import Any

from .adaptive import *
from .averages import *
from .checkpoints import *
from .decays import *
from .descent import *
from .hooks import *
from .optimizer import *
from .refused import refuse
from .saver import *
from .sessions import *
from .steps import *


def __getattr__(name: str) -> Any:
    refuse(name)
