"""Sums of products.

Of vectors and matrices, by equation, and what is made of them.
"""
