"""The examples in the docstrings of duograph.graph run."""

import doctest
import importlib
import pkgutil

import pytest

import duograph.graph as tf

MODULES = [found.name for found in pkgutil.walk_packages(tf.__path__, "duograph.graph.")]
FINDER = doctest.DocTestFinder(exclude_empty=True)


@pytest.mark.parametrize("name", ["duograph.graph", *MODULES])
def test_examples(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in FINDER.find(module, name):
        if example.examples:
            tf.reset_default_graph()
            runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
