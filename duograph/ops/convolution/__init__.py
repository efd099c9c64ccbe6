"""Convolutions: contractions of windows with kernels.

Each is a contraction (or, with one channel in a group, a sum of products) of a view of windows; nothing multiplies
zeros that strides would put between elements.
"""
