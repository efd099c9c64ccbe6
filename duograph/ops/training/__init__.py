"""What training is made of.

Losses, and the optimisers' updates.
"""
