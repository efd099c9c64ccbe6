"""Gradients of convolutions in JAX and TensorFlow, on operands laid out as each wants them beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers import load

if TYPE_CHECKING:
    from benchmarks.convolution import Shape

Calls = dict[str, Callable[[], Any]]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, the kernels, a gradient of the result
LAST = (0, 2, 3, 1)  # images with their channels last
TAPS_FIRST = (2, 3, 1, 0)  # kernels with their taps first


def jax_gradient(shape: Shape, arrays: Arrays, which: int) -> Calls:
    """The gradient to x (0) or to the kernels (1) in both layouts, compiled."""
    jax = load("jax")
    if jax is None:
        return {}
    return {
        "jax.jit": _jax_call(jax, shape, arrays, which, ("NCHW", "OIHW", "NCHW")),
        "jax.jit, channels last": _jax_call(jax, shape, channels_last(arrays), which, ("NHWC", "HWIO", "NHWC")),
    }


def channels_last(arrays: Arrays) -> Arrays:
    x, w, g = arrays
    return tuple(np.ascontiguousarray(a.transpose(p)) for a, p in ((x, LAST), (w, TAPS_FIRST), (g, LAST)))  # type: ignore[return-value]


def _jax_call(jax: Any, shape: Shape, arrays: Arrays, which: int, layout: tuple[str, str, str]) -> Callable[[], Any]:
    strides, pads = (shape.stride,) * 2, ((shape.padding,) * 2,) * 2
    given = [jax.numpy.asarray(value) for value in arrays]

    @jax.jit  # type: ignore[untyped-decorator]
    def gradient(x: Any, w: Any, g: Any) -> Any:
        def convolved(value: Any) -> Any:
            operands = (value, w) if which == 0 else (x, value)
            return jax.lax.conv_general_dilated(
                *operands, strides, pads, dimension_numbers=layout, feature_group_count=shape.groups
            )

        return jax.vjp(convolved, (x, w)[which])[1](g)[0]

    return lambda: gradient(*given).block_until_ready()


def tensorflow_gradient(shape: Shape, arrays: Arrays, which: int) -> Calls:
    """The same with channels last, which TensorFlow's kernels for processors want."""
    tf = load("tensorflow")
    if tf is None:
        return {}
    x, w, g = channels_last(arrays)
    if shape.groups > 1:  # its depthwise kernels are [h, w, channels, kernels of each channel]
        w = np.ascontiguousarray(w.transpose(0, 1, 3, 2))
    x, w, g = (tf.constant(value) for value in (x, w, g))
    pad = shape.padding
    settings = {"strides": [1, shape.stride, shape.stride, 1], "padding": "SAME" if pad else "VALID"}
    if shape.stride > 1:  # here "SAME" pads less in front
        settings |= {"padding": "EXPLICIT", "explicit_paddings": [0, 0, pad, pad, pad, pad, 0, 0]}
    kind = "DepthwiseConv2dNative" if shape.groups > 1 else "Conv2D"
    back = getattr(tf.raw_ops, f"{kind}Backprop{('Input', 'Filter')[which]}")
    run = tf.function(_backwards(back, (x, w)[which].shape.as_list(), which, settings))
    given = (w, x)[which], g
    return {"TF function": lambda: run(*given)}


def _backwards(back: Any, size: list[int], which: int, settings: dict[str, Any]) -> Callable[[Any, Any], Any]:
    if which == 0:
        return lambda w, g: back(input_sizes=size, filter=w, out_backprop=g, **settings)
    return lambda x, g: back(input=x, filter_sizes=size, out_backprop=g, **settings)
