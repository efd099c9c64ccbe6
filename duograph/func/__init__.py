"""Transformations of functions, under `torch.func`'s names. They nest in each other, in static functions too."""

from .mapping import vmap
from .transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "value_and_grad", "vjp", "vmap"]
