"""Random numbers.

Of every distribution, and what drops elements at random.
"""
