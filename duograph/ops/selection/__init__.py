"""Operators that pick elements.

By indices, by masks, by order, and write there.
"""
