"""Sums over windows of single channels: what convolutions with a group for each channel are made of.

There is no product of matrices in them, so nothing is packed: bands of padded rows are copied to scratch, from where each
tap is a vector at an offset of its own. See `launch` for the words of a launch, `driver` for the loops.
"""
