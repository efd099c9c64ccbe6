"""The world outside of a captured function.

What it reads there and what is assumed of it, what it changes, and calls into Python that each run makes.
"""
