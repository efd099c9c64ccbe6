"""What a user is told.

What was captured and why, what it saved, where two modes part, and errors in the user's own words.
"""
