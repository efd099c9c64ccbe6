"""Tests of graphs with Python's unittest: TensorFlow 1's `tf.test`."""

from __future__ import annotations

import tempfile
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .building import Graph
from .session import Session, get_default_session

__all__ = [
    "TestCase", "get_temp_dir", "gpu_device_name", "is_built_with_cuda", "is_gpu_available", "main",
]  # fmt: skip

main = unittest.main


def is_gpu_available(cuda_only: bool = False, min_cuda_compute_capability: Any = None) -> bool:
    """False: graphs run on the CPU."""
    return False


def is_built_with_cuda() -> bool:
    """False: graphs run on the CPU."""
    return False


def gpu_device_name() -> str:
    """The empty string: graphs run on the CPU."""
    return ""


def get_temp_dir() -> str:
    """A folder of its own for what a test writes."""
    return tempfile.mkdtemp()


class TestCase(unittest.TestCase):
    """A test with a graph of its own for each method."""

    def setUp(self) -> None:
        super().setUp()
        context = Graph().as_default()
        context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)

    @contextmanager
    def session(
        self, graph: Graph | None = None, config: Any = None, use_gpu: bool = False, force_gpu: bool = False
    ) -> Iterator[Session]:
        """A new session, as the default one."""
        with Session(graph=graph, config=config) as made:
            yield made

    cached_session = session

    @property
    def test_session(self) -> Any:
        """The same; a property, so that nobody takes it for a test."""
        return self.session

    def get_temp_dir(self) -> str:
        """A folder of its own for what a test writes."""
        return get_temp_dir()

    def evaluate(self, tensors: Any) -> Any:
        """The values of tensors in the default session, or in a new one."""
        found = get_default_session()
        if found is not None:
            return found.run(tensors)
        with Session() as made:
            return made.run(tensors)

    def assertAllClose(self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, msg: Any = None) -> None:
        """Whether arrays, or structures of them, have one shape and are nearly equal."""
        if isinstance(a, dict):
            self.assertEqual(set(a), set(b), msg)
            for key in a:
                self.assertAllClose(a[key], b[key], rtol, atol, msg)
            return
        self.assertEqual(np.shape(a), np.shape(b), msg)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=str(msg or ""))

    def assertAllEqual(self, a: Any, b: Any, msg: Any = None) -> None:
        """Whether arrays have one shape and are equal."""
        self.assertEqual(np.shape(a), np.shape(b), msg)
        np.testing.assert_array_equal(a, b, err_msg=str(msg or ""))

    def assertNear(self, f1: float, f2: float, err: float, msg: Any = None) -> None:
        """Whether two numbers are no further apart than `err`."""
        self.assertLessEqual(abs(f1 - f2), err, msg)

    def assertShapeEqual(self, np_array: Any, tf_tensor: Any, msg: Any = None) -> None:
        """Whether an array has the shape of a tensor of the graph."""
        self.assertEqual(list(np.shape(np_array)), tf_tensor.shape.as_list(), msg)
