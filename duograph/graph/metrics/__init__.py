"""Measures over many runs: (the value so far, the operation that takes a batch in). TensorFlow 1's `tf.metrics`.

Each keeps local variables: run `tf.local_variables_initializer()` first, and again to begin anew.
"""

from .confusion import *
from .means import *
