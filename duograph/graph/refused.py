"""Names of TensorFlow's that are not there on purpose, with what takes their place."""

from __future__ import annotations

from typing import NoReturn

from .train.refused import MissingName

_DATA = "read data in Python, for instance with duograph.utils.data, and feed it: session.run(…, feed_dict={x: batch})"
_TEXT = "texts are Python's: change them before they are fed, or when they are fetched"
_SPARSE = "keep indices and values as two tensors: tf.gather, tf.scatter_nd, tf.unsorted_segment_sum, tf.nn.embedding_lookup"

REFUSED = {
    **dict.fromkeys(
        (
            "FIFOQueue", "PaddingFIFOQueue", "PriorityQueue", "QueueBase", "RandomShuffleQueue", "ConditionalAccumulator",
            "FixedLengthRecordReader", "IdentityReader", "ReaderBase", "TFRecordReader", "TextLineReader", "WholeFileReader",
            "data", "queue", "io", "python_io", "lookup", "parse_example", "parse_single_example", "decode_csv", "decode_raw",
            "decode_json_example", "read_file", "write_file", "matching_files", "FixedLenFeature", "VarLenFeature",
            "feature_column",
        ),
        ("there are no queues, readers and pipelines of data", _DATA),
    ),
    **dict.fromkeys(
        (
            "strings", "as_string", "string_join", "string_split", "string_strip", "string_to_hash_bucket", "reduce_join",
            "string_to_hash_bucket_fast", "string_to_number", "substr", "regex_replace", "encode_base64", "decode_base64",
        ),
        ("nothing is computed from texts", _TEXT),
    ),
    **dict.fromkeys(
        (
            "SparseTensor", "SparseTensorValue", "sparse", "sparse_placeholder", "sparse_add", "sparse_concat", "sparse_to_dense",
            "sparse_tensor_to_dense", "sparse_tensor_dense_matmul", "sparse_reduce_sum", "sparse_reshape", "sparse_softmax",
            "sparse_segment_sum", "sparse_segment_mean", "RaggedTensor", "ragged", "IndexedSlices", "sets",
        ),
        ("tensors are dense", _SPARSE),
    ),
    **dict.fromkeys(("complex", "complex64", "complex128", "fft", "ifft", "fft2d", "fft3d", "signal", "spectral"),
                    ("numbers are real", "keep real and imaginary parts as two tensors")),
    "estimator": ("there are no estimators", "tf.train.MonitoredTrainingSession, or a loop around session.run"),
    "keras": ("Keras is not there", "tf.layers, or the Modules of duograph.nn, which take graph tensors"),
    "GradientTape": ("graphs have tf.gradients", "tf.gradients(y, x); in dynamic mode duograph's own tape"),
    "function": ("functions are built as they are called", "dg.static(f), and dg.static(f).graph(…) for its graph"),
    "enable_eager_execution": ("operations are those of a graph here", "use duograph itself: import duograph as dg"),
    "enable_v2_behavior": ("operations are those of a graph here", "use duograph itself: import duograph as dg"),
    "import_graph_def": ("TensorFlow's files of graphs are not read", "tf.train.import_meta_graph, or duograph.onnx"),
    "saved_model": ("TensorFlow's files of models are not read", "tf.train.Saver, tf.train.export_meta_graph, or duograph.onnx"),
    "graph_util": ("TensorFlow's files of graphs are not written", "graph.as_function, or duograph.onnx"),
    "distribute": ("sessions run in one process", "tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=…))"),
    "load_op_library": ("operations of C++ are not loaded", "tf.py_func, or a function of duograph tensors"),
    "variable_creator_scope": ("variables are made as they are asked for", "tf.variable_scope(custom_getter=…)"),
    "get_session_handle": ("values stay in variables, or come back as arrays", "tf.Variable"),
}  # fmt: skip


def refuse(name: str) -> NoReturn:
    """The error for such a name; AttributeError for any other."""
    if name in REFUSED:
        why, way = REFUSED[name]
        raise MissingName(f"tf.{name}: {why}", hint=way)
    raise AttributeError(f"module 'duograph.graph' has no attribute {name!r}")
