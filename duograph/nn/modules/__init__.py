"""`torch.nn.modules`' place for what belongs to all modules."""

from . import module

__all__ = ["module"]
