"""Where temporaries lie, and what is computed again.

So that few bytes are alive at once.
"""
