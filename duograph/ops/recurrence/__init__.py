"""Loops over time.

A loop as an operator, the cells of recurrent networks, and their layers.
"""
