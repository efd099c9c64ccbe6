"""Numbers, sizes and text that only a run knows.

As the user's code sees them during a capture; arguments and results are trees of them and of tensors.
"""
