"""Helpers around training. So far: `utils.data`."""
