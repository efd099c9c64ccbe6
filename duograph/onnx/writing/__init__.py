"""Models as Python: the text of an `nn.Module` whose forward is the graph, line by line, and its weights beside it."""
