"""Operators over dimensions.

Sums, extrema, scans, statistics, norms.
"""
