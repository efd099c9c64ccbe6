"""Training, under the names of `tf.train`: optimizers, learning rates, checkpoints, sessions that keep an eye on it."""

from typing import Any as _Any

from ..events import summary_iterator as summary_iterator
from .adaptive import *
from .averages import *
from .checkpoints import *
from .decays import *
from .descent import *
from .hooks import *
from .optimizer import *
from .refused import refuse as _refuse
from .restoring import *
from .saver import *
from .sessions import *
from .steps import *


def __getattr__(name: str) -> _Any:
    _refuse(name)
