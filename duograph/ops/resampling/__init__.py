"""Resampling: planes of another size, and planes seen from other points."""
