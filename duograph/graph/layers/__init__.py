"""Layers: functions of tensors that make their variables, as functions and as classes. TensorFlow 1's `tf.layers`.

The regularizers that TensorFlow 1 has in `tf.contrib.layers` are here, too: `l1_regularizer`, `l2_regularizer`, …
"""

from ..layer import Layer as Layer
from .convolutional import *
from .dense import *
from .normalization import *
from .pooling import *
from .regularizers import *
