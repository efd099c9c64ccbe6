"""Kernel specs to object code. See `kernel` for the specs and `emit.compile_kernels` for the way in."""
