"""Special functions under `torch.special`'s names: the operators that are there only, and those that are everywhere."""

from __future__ import annotations

from typing import Any

from .ops import spaces as _spaces

_OTHERS = (
    "digamma erf erfc erfinv exp2 expit=sigmoid expm1 gammainc=igamma gammaincc=igammac gammaln=lgamma i0 log1p log_softmax "
    "logit logsumexp modified_bessel_i0=i0 modified_bessel_i1=i1 multigammaln=mvlgamma polygamma psi=digamma round sinc softmax "
    "xlogy"
)


def __getattr__(name: str) -> Any:
    found = globals()[name] = _spaces.member("special", _OTHERS, name)
    return found


def __dir__() -> list[str]:
    return sorted(_spaces.members("special", _OTHERS))
