"""The operators, one block each."""

from .arithmetic import *
from .comparison import *
from .creation import *
from .definition import REGISTRY as REGISTRY
from .movement import *
from .reductions import *
from .slicing import *
from .unary import *

for _definition in REGISTRY.values():  # also what the modules' __all__ leave out
    globals().setdefault(_definition.name, _definition.op)
