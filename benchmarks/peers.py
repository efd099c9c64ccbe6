"""Builders for the peers; one that is not installed is left out, and said so."""

from __future__ import annotations

import importlib
import io
import os
import sys
from types import ModuleType
from typing import Any

_HOBBLES = ("OPENBLAS_CORETYPE", "MKL_DEBUG_CPU_TYPE", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


def prepare(threads: int) -> None:
    """Give every library the same cores: called before any of them is imported."""
    for name in _HOBBLES:
        os.environ.pop(name, None)
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DUOGRAPH_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def flush_denormals() -> None:
    """As JAX and TensorFlow always do; see also `load`."""
    import duograph

    duograph.set_flush_denormal(True)


ALONE = "DUOGRAPH_BENCH_ALONE"  # set: no peers


def wanted() -> bool:
    """Whether peers are to be measured."""
    return not os.environ.get(ALONE)


def load(name: str) -> ModuleType | None:
    """The peer's module, or None where it is not installed or not wanted."""
    if not wanted():
        return None
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        print(f"    ({name} is not installed: left out; {error})", file=sys.stderr)
        return None
    if name == "torch":
        module.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        module.set_flush_denormal(True)
    if name == "tensorflow":
        module.config.threading.set_intra_op_parallelism_threads(int(os.environ["OMP_NUM_THREADS"]))
        module.config.threading.set_inter_op_parallelism_threads(1)
    return module


def onnx_session(
    node_builder: Any, inputs: dict[str, Any], outputs: dict[str, tuple[int, ...]], constants: dict[str, Any]
) -> Any:
    """A onnxruntime session with its inputs and outputs bound: a callable that runs it once."""
    onnxruntime, onnx = load("onnxruntime"), load("onnx")
    if onnxruntime is None or onnx is None:
        return None
    helper = onnx.helper
    float_type = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        node_builder(helper),
        "bench",
        [helper.make_tensor_value_info(k, float_type, v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, float_type, s) for k, s in outputs.items()],
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for name in outputs:
        binding.bind_output(name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def openvino_matmul(a: Any, b: Any, constant_b: bool, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """An OpenVINO matmul in float32: a callable that runs it once."""
    openvino = load("openvino")
    if openvino is None:
        return None
    ops = openvino.opset13
    first = ops.parameter(list(a.shape), openvino.Type.f32)
    second = ops.constant(b) if constant_b else ops.parameter(list(b.shape), openvino.Type.f32)
    node = ops.matmul(first, second, transpose_a, transpose_b)
    model = openvino.Model([node], [first] if constant_b else [first, second])
    config = {"INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"]), "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(a, shared_memory=True))
    if not constant_b:
        request.set_input_tensor(1, openvino.Tensor(b, shared_memory=True))
    return request.infer


def openvino_module(module: Any, x: Any, precision: str = "f32") -> Any:
    """A PyTorch module as an OpenVINO model for one input: a callable that runs it once."""
    openvino = load("openvino")
    if openvino is None:
        return None
    model = openvino.convert_model(module, example_input=x, input=[list(x.shape)])
    config = {"INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"]), "INFERENCE_PRECISION_HINT": precision}
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(x.numpy(), shared_memory=True))
    return lambda: (request.infer(), request.get_output_tensor(0).data)[1]


def onnxruntime_module(module: Any, x: Any) -> Any:
    """A PyTorch module, exported as ONNX, in onnxruntime: a callable that runs it once."""
    torch, onnxruntime = load("torch"), load("onnxruntime")
    if torch is None or onnxruntime is None:
        return None
    file = io.BytesIO()
    torch.onnx.export(module, (x,), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    array = x.numpy()
    return lambda: session.run(None, {given.name: array})[0]
