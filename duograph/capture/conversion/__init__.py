"""From Python to calls that a capture can see.

The user's source or instructions, rewritten so that every read of the world outside, every call and every control statement
goes through the recorder.
"""
