"""From groups to a schedule.

Kernel specs in the order in which they run, over buffers.
"""
