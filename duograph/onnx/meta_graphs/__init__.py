"""Graphs of `duograph.graph` with their variables and collections, as ONNX files: `tf.train.export_meta_graph` and its like.

The file's graph has a value for each tensor of the session graph, under its name. What writes to variables is a function of the
domain `duograph.graph`, whose results are the variables' next values. The metadata `duograph.graph` say what the names are.
"""

DOMAIN = "duograph.graph"
KEY = "duograph.graph"
