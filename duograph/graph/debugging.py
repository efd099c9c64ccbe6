"""`tf.debugging`: checks of values, by the names that they have there."""

from .elementwise import is_finite as is_finite
from .elementwise import is_inf as is_inf
from .elementwise import is_nan as is_nan
from .host import Assert as Assert
from .host import check_numerics as check_numerics

__all__ = ["Assert", "check_numerics", "is_finite", "is_inf", "is_nan"]
