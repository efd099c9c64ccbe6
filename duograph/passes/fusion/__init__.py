"""Which nodes share a kernel.

And which values get memory.
"""
