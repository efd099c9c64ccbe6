"""Networks of graph tensors: TensorFlow 1's `tf.nn`."""

from ..blocks import depth_to_space as depth_to_space
from ..blocks import space_to_depth as space_to_depth
from ..partitioning import batch_to_space as batch_to_space
from ..partitioning import space_to_batch as space_to_batch
from . import rnn_cell as rnn_cell
from .activations import *
from .convolutions import *
from .ctc import *
from .embeddings import *
from .losses import *
from .normalization import *
from .pooling import *
from .raw_rnn import *
from .rnn import *
from .sampling import *
