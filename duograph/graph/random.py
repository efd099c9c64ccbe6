"""`tf.random`: random tensors, by the names that they have there."""

from .nn.sampling import log_uniform_candidate_sampler as log_uniform_candidate_sampler
from .nn.sampling import uniform_candidate_sampler as uniform_candidate_sampler
from .randoms import multinomial as categorical
from .randoms import multinomial as multinomial
from .randoms import random_crop as crop
from .randoms import random_gamma as gamma
from .randoms import random_normal as normal
from .randoms import random_poisson as poisson
from .randoms import random_shuffle as shuffle
from .randoms import random_uniform as uniform
from .randoms import set_random_seed as set_random_seed
from .randoms import truncated_normal as truncated_normal
from .scopes import get_seed as get_seed
from .stateless import *

__all__ = [
    "categorical",
    "crop",
    "gamma",
    "multinomial",
    "normal",
    "poisson",
    "set_random_seed",
    "shuffle",
    "truncated_normal",
    "uniform",
]
