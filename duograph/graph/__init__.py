"""Define-and-run: a graph is built once, then fed, run, differentiated and looked at, under the names of TensorFlow 1.

>>> import duograph.graph as tf
>>> a, b = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
>>> slope = tf.gradients(a * b, a)
>>> with tf.Session() as session:
...     session.run(slope, feed_dict={a: [2.0], b: [5.0]})
[array([5.], dtype=float32)]
"""

from . import app as app
from . import bitwise as bitwise
from . import compat as compat
from . import contrib as contrib
from . import debugging as debugging
from . import errors as errors
from . import flags as flags
from . import gfile as gfile
from . import image as image
from . import initializers as initializers
from . import layers as layers
from . import linalg as linalg
from . import logging as logging
from . import losses as losses
from . import manip as manip
from . import math as math
from . import metrics as metrics
from . import nest as nest
from . import nn as nn
from . import random as random
from . import summary as summary
from . import test as test
from . import train as train
from . import usual as usual
from .arithmetic import *
from .arrays import *
from .assertions import *
from .binary import *
from .blocks import *
from .bridges import *
from .building import *
from .clipping import *
from .compat import *
from .constants import *
from .control_flow import *
from .creation import *
from .custom_gradients import *
from .dtypes import *
from .dtypes import bool as bool
from .elements import *
from .elementwise import *
from .factors import matrix_solve_ls as matrix_solve_ls
from .functional import *
from .gathering import *
from .gradients import *
from .host import *
from .initializers import *
from .linear_algebra import *
from .ordering import *
from .partitioning import *
from .parts import *
from .randoms import *
from .reductions import *
from .refused import refuse as _refuse
from .scattering import *
from .scopes import *
from .segments import *
from .session import *
from .shapes import *
from .tensor_arrays import *
from .usual import *
from .variable_queries import *
from .variable_scopes import *
from .variables import *

__version__ = usual.VERSION


def __getattr__(name: str) -> object:
    if name in ("Event", "Summary"):  # of the library that writes summaries, which is imported when it is needed
        return getattr(summary, name)
    return _refuse(name)
