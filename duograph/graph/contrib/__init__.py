"""What programs take from TensorFlow 1's `tf.contrib` most of all; the rest is refused by name."""

from __future__ import annotations

from typing import NoReturn

from ..train.refused import MissingName
from . import framework as framework
from . import layers as layers
from . import rnn as rnn
from . import seq2seq as seq2seq

__all__ = ["framework", "layers", "rnn", "seq2seq"]


def __getattr__(name: str) -> NoReturn:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise MissingName(
        f"tf.contrib.{name}: of tf.contrib there are framework, layers, rnn and seq2seq",
        hint="look for it in tf.layers, tf.nn, tf.train, or in duograph, whose functions and Modules take graph tensors",
    )
