"""Differentiation: gradients as values, gradient modes, functions with their own gradient, checkers, the tape as text."""

from . import forward_ad, functional, graph
from .anomaly import detect_anomaly, is_anomaly_check_nan_enabled, is_anomaly_enabled, set_detect_anomaly
from .checks import gradcheck, gradgradcheck
from .function import Context, Function
from .gradients import backward, grad
from .modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .recorded import Tape, tape

__all__ = [
    "Context", "Function", "Tape", "backward", "detect_anomaly", "enable_grad", "forward_ad", "functional", "grad",
    "gradcheck", "gradgradcheck", "graph", "inference_mode", "is_anomaly_check_nan_enabled", "is_anomaly_enabled",
    "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "set_detect_anomaly", "set_grad_enabled", "tape",
]  # fmt: skip
