"""`functional_call` under its older name in PyTorch."""

from ...func.stateless import functional_call

__all__ = ["functional_call"]
