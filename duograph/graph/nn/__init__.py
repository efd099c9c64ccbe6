"""Networks of graph tensors: TensorFlow 1's `tf.nn`."""

from . import rnn_cell as rnn_cell
from .activations import *
from .convolutions import *
from .ctc import *
from .embeddings import *
from .losses import *
from .normalization import *
from .pooling import *
from .rnn import *
from .sampling import *
