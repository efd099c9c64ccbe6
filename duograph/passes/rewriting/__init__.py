"""From graph to graph.

Nodes become simpler, fewer, or stand elsewhere; the bits stay unless the pass says so.
"""
