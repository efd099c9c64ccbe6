from duograph.codegen.kernel import *


def emit_scatter(*a):
    raise NotImplementedError
