"""`tf.debugging`: checks of values, by the names that they have there."""

from .assertions import assert_equal as assert_equal
from .assertions import assert_greater as assert_greater
from .assertions import assert_greater_equal as assert_greater_equal
from .assertions import assert_integer as assert_integer
from .assertions import assert_less as assert_less
from .assertions import assert_less_equal as assert_less_equal
from .assertions import assert_near as assert_near
from .assertions import assert_negative as assert_negative
from .assertions import assert_non_negative as assert_non_negative
from .assertions import assert_non_positive as assert_non_positive
from .assertions import assert_none_equal as assert_none_equal
from .assertions import assert_positive as assert_positive
from .assertions import assert_rank as assert_rank
from .assertions import assert_rank_at_least as assert_rank_at_least
from .assertions import assert_rank_in as assert_rank_in
from .assertions import assert_type as assert_type
from .elementwise import is_finite as is_finite
from .elementwise import is_inf as is_inf
from .elementwise import is_nan as is_nan
from .host import Assert as Assert
from .host import check_numerics as check_numerics

__all__ = [
    "Assert",
    "assert_equal",
    "assert_greater",
    "assert_greater_equal",
    "assert_integer",
    "assert_less",
    "assert_less_equal",
    "assert_near",
    "assert_negative",
    "assert_non_negative",
    "assert_non_positive",
    "assert_none_equal",
    "assert_positive",
    "assert_rank",
    "assert_rank_at_least",
    "assert_rank_in",
    "assert_type",
    "check_numerics",
    "is_finite",
    "is_inf",
    "is_nan",
]
