"""`tf.math`: arithmetic and functions of numbers."""

from .arithmetic import *
from .binary import *
from .elementwise import *
from .nn import in_top_k as in_top_k
from .nn import l2_normalize as l2_normalize
from .nn import log_softmax as log_softmax
from .nn import softmax as softmax
from .nn import softplus as softplus
from .nn import softsign as softsign
from .nn import top_k as top_k
from .nn import zero_fraction as zero_fraction
from .ordering import invert_permutation as invert_permutation
from .reductions import *
from .segments import *
