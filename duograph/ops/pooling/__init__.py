"""Pooling: windows of planes reduced to one element each, and back."""
