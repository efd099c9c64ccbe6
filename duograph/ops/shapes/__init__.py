"""Operators that say where elements lie.

New tensors, views, copies, what is joined and taken apart.
"""
