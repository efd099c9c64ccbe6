"""`tf.initializers`: first values of variables, as objects that are called with a shape."""

from __future__ import annotations

import math
from typing import Any

from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError

from .arrays import cast, reshape, transpose
from .constants import constant as make_constant
from .creation import eye
from .dtypes import as_dtype
from .elements import Tensor
from .elementwise import sign
from .linear_algebra import matrix_diag_part, qr
from .randoms import random_normal, random_uniform, truncated_normal
from .shapes import TensorShape

__all__ = [
    "constant_initializer", "glorot_normal_initializer", "glorot_uniform_initializer", "he_normal_initializer",
    "he_uniform_initializer", "identity_initializer", "lecun_normal_initializer", "lecun_uniform_initializer",
    "ones_initializer", "orthogonal_initializer", "random_normal_initializer", "random_uniform_initializer",
    "truncated_normal_initializer", "uniform_unit_scaling_initializer", "variance_scaling_initializer", "zeros_initializer",
]  # fmt: skip


class Initializer:
    """What gives variables their first values: `initializer(shape, dtype=None, partition_info=None)` is a tensor."""

    dtype: Any = core.float32

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """The values for a variable of this shape and dtype (by default the initializer's)."""
        return self.values(TensorShape(shape).as_list(), self.dtype if dtype is None else as_dtype(dtype))

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        """The values."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same initializer."""
        return {name: value.name if name == "dtype" else value for name, value in vars(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The initializer that `get_config` described."""
        return cls(**config)


class zeros_initializer(Initializer):
    """Zeros."""

    def __init__(self, dtype: Any = core.float32) -> None:
        self.dtype = as_dtype(dtype)

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        return make_constant(0, dtype, shape)


class ones_initializer(zeros_initializer):
    """Ones."""

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        return make_constant(1, dtype, shape)


class constant_initializer(Initializer):
    """One value, or values that fill the shape one after another.

    Errors:   ShapeError when it is called, for a shape that has another number of elements
    """

    def __init__(self, value: Any = 0, dtype: Any = core.float32, verify_shape: bool = False) -> None:
        self.value, self.dtype, self.verify_shape = value, as_dtype(dtype), verify_shape

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        return make_constant(self.value, dtype, shape, verify_shape=self.verify_shape)


class random_uniform_initializer(Initializer):
    """Numbers drawn uniformly from [minval, maxval)."""

    def __init__(self, minval: Any = 0, maxval: Any = None, seed: int | None = None, dtype: Any = core.float32) -> None:
        self.minval, self.maxval, self.seed, self.dtype = minval, maxval, seed, as_dtype(dtype)

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        return random_uniform(shape, self.minval, self.maxval, dtype, self.seed)


class random_normal_initializer(Initializer):
    """Numbers from a normal distribution."""

    draw = staticmethod(random_normal)

    def __init__(self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = core.float32) -> None:
        self.mean, self.stddev, self.seed, self.dtype = mean, stddev, seed, as_dtype(dtype)

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        return self.draw(shape, self.mean, self.stddev, dtype, self.seed)


class truncated_normal_initializer(random_normal_initializer):
    """Numbers from a normal distribution, none further than two standard deviations from the mean."""

    draw = staticmethod(truncated_normal)


def fans(shape: list[int]) -> tuple[float, float]:
    """How many inputs an output of a kernel has, and how many outputs an input has."""
    if len(shape) < 2:
        return (float(shape[0]),) * 2 if shape else (1.0, 1.0)
    area = math.prod(shape[:-2])
    return float(area * shape[-2]), float(area * shape[-1])


class variance_scaling_initializer(Initializer):
    """Numbers of mean 0 whose variance is scale / n.

    Args:
        mode: n is the number of inputs ("fan_in"), of outputs ("fan_out") or the mean of both ("fan_avg").
        distribution: "truncated_normal" (or "normal"), "untruncated_normal" or "uniform".

    Errors:   ArgumentError for another mode or distribution, or a scale that is not above 0
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        dtype: Any = core.float32,
    ) -> None:
        kinds = {"normal": "truncated_normal"}
        self.scale, self.mode, self.distribution = scale, mode, kinds.get(distribution.lower(), distribution.lower())
        self.seed, self.dtype = seed, as_dtype(dtype)
        if scale <= 0:
            raise ArgumentError(f"variance_scaling_initializer: scale must be above 0, got {scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ArgumentError(f"variance_scaling_initializer: mode is {mode!r}", hint='"fan_in", "fan_out" or "fan_avg"')
        if self.distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ArgumentError(
                f"variance_scaling_initializer: distribution is {distribution!r}",
                hint='"truncated_normal", "untruncated_normal" or "uniform"',
            )

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        inputs, outputs = fans(shape)
        count = {"fan_in": inputs, "fan_out": outputs, "fan_avg": (inputs + outputs) / 2.0}[self.mode]
        variance = self.scale / max(1.0, count)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random_uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random_normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        return truncated_normal(shape, 0.0, math.sqrt(variance) / _LEFT, dtype, self.seed)


_LEFT = 0.87962566103423978  # the standard deviation of a standard normal distribution cut off at -2 and 2


class _Scaled(variance_scaling_initializer):
    how: tuple[float, str, str]

    def __init__(self, seed: int | None = None, dtype: Any = core.float32) -> None:
        super().__init__(*self.how, seed=seed, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


class glorot_uniform_initializer(_Scaled):
    """Uniform numbers of variance 2 / (inputs + outputs): Glorot and Bengio's."""

    how = (1.0, "fan_avg", "uniform")


class glorot_normal_initializer(_Scaled):
    """Truncated normal numbers of variance 2 / (inputs + outputs)."""

    how = (1.0, "fan_avg", "truncated_normal")


class he_uniform_initializer(_Scaled):
    """Uniform numbers of variance 2 / inputs: He's."""

    how = (2.0, "fan_in", "uniform")


class he_normal_initializer(_Scaled):
    """Truncated normal numbers of variance 2 / inputs."""

    how = (2.0, "fan_in", "truncated_normal")


class lecun_uniform_initializer(_Scaled):
    """Uniform numbers of variance 1 / inputs: LeCun's."""

    how = (1.0, "fan_in", "uniform")


class lecun_normal_initializer(_Scaled):
    """Truncated normal numbers of variance 1 / inputs."""

    how = (1.0, "fan_in", "truncated_normal")


class uniform_unit_scaling_initializer(Initializer):
    """Uniform numbers of variance factor² / inputs."""

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = core.float32) -> None:
        self.factor, self.seed, self.dtype = factor, seed, as_dtype(dtype)

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        limit = math.sqrt(3.0 / max(1.0, float(math.prod(shape[:-1])))) * self.factor
        return random_uniform(shape, -limit, limit, dtype, self.seed)


class orthogonal_initializer(Initializer):
    """A matrix with orthonormal columns or rows, whichever are fewer; further dimensions count as rows.

    Errors:   ShapeError when it is called, for less than two dimensions
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None, dtype: Any = core.float32) -> None:
        self.gain, self.seed, self.dtype = gain, seed, as_dtype(dtype)

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        if len(shape) < 2:
            raise ShapeError(f"orthogonal_initializer: the shape {shape} has less than two dimensions")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = qr(random_normal([max(rows, columns), min(rows, columns)], dtype=dtype, seed=self.seed))
        q = q * sign(matrix_diag_part(r))
        made: Tensor = reshape((transpose(q) if rows < columns else q) * self.gain, shape)
        return made


class identity_initializer(Initializer):
    """The identity matrix. ShapeError for other ranks than 2."""

    def __init__(self, gain: float = 1.0, dtype: Any = core.float32) -> None:
        self.gain, self.dtype = gain, as_dtype(dtype)

    def values(self, shape: list[Any], dtype: Any) -> Tensor:
        if len(shape) != 2:
            raise ShapeError(f"identity_initializer: the shape {shape} is no matrix's")
        made: Tensor = cast(eye(*shape) * self.gain, dtype)
        return made


def __getattr__(name: str) -> Any:
    """`tf.initializers.zeros` is `tf.zeros_initializer`, and so on."""
    found = globals().get(f"{name}_initializer")
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found
