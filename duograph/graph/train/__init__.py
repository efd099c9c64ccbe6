"""Training, under the names of `tf.train`: optimizers, learning rates, checkpoints, sessions that keep an eye on it."""

from .adaptive import *
from .averages import *
from .decays import *
from .descent import *
from .optimizer import *
from .steps import *
