"""Operators on each element.

Arithmetic, comparison, functions, activations.
"""
