"""`tf.math`: arithmetic and functions of numbers."""

from .arithmetic import *
from .binary import *
from .elementwise import *
from .reductions import *
from .segments import *
