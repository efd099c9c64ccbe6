"""Names of `tf.train` that are not there, with what takes their place."""

from __future__ import annotations

from typing import NoReturn

from duograph.errors import GraphError

_INPUTS = "read data in Python, for instance with duograph.utils.data, and feed it: session.run(…, feed_dict={x: batch})"
_PROCESSES = "sessions run in one process"

REFUSED = {
    **dict.fromkeys(
        (
            "Coordinator", "QueueRunner", "LooperThread", "add_queue_runner", "batch", "batch_join", "input_producer",
            "limit_epochs", "match_filenames_once", "maybe_batch", "maybe_batch_join", "maybe_shuffle_batch",
            "maybe_shuffle_batch_join", "queue_runner", "range_input_producer", "shuffle_batch", "shuffle_batch_join",
            "slice_input_producer", "start_queue_runners", "string_input_producer",
        ),
        ("there are no queues", _INPUTS),
    ),
    **dict.fromkeys(
        ("ClusterDef", "ClusterSpec", "JobDef", "Server", "ServerDef", "SyncReplicasOptimizer", "WorkerSessionCreator",
         "replica_device_setter", "Supervisor", "SessionManager"),
        (_PROCESSES, "tf.train.MonitoredTrainingSession"),
    ),
    **dict.fromkeys(
        ("BytesList", "Example", "Feature", "FeatureList", "FeatureLists", "Features", "FloatList", "Int64List",
         "SequenceExample"),
        ("records of examples are not there", _INPUTS),
    ),
    "basic_train_loop": ("there is no Supervisor", "tf.train.MonitoredTrainingSession"),
    "warm_start": ("this is not there", "tf.train.init_from_checkpoint"),
    "Checkpoint": ("objects are not saved, variables are", "tf.train.Saver"),
    "CheckpointManager": ("objects are not saved, variables are", "tf.train.Saver(max_to_keep=…)"),
}  # fmt: skip


def refuse(name: str) -> NoReturn:
    """The error for such a name; AttributeError for any other."""
    if name in REFUSED:
        why, way = REFUSED[name]
        raise MissingName(f"tf.train.{name}: {why}", hint=way)
    raise AttributeError(f"module 'duograph.graph.train' has no attribute {name!r}")


class MissingName(GraphError, AttributeError):
    """A name of TensorFlow's that is not there on purpose."""
