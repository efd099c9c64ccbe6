"""Branches and loops as graph nodes.

Their sides and bodies captured once, what they hand on, and their gradients, which are branches and loops again.
"""
