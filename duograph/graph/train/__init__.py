"""Training, under the names of `tf.train`: optimizers, learning rates, checkpoints, sessions that keep an eye on it."""

from .adaptive import *
from .averages import *
from .checkpoints import *
from .decays import *
from .descent import *
from .optimizer import *
from .saver import *
from .steps import *
