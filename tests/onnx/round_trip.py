"""Helpers of the tests of files: write, check, run elsewhere, compare."""

import warnings

import numpy as np
import onnx
import onnxruntime

import duograph as dg


def outputs_of(model, *args):
    """What onnxruntime gives for a file or a model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    given = str(model) if not isinstance(model, onnx.ModelProto) else model.SerializeToString()
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: a.numpy() for i, a in zip(session.get_inputs(), args)})


def flat(result):
    """The tensors of a result in order."""
    if isinstance(result, dg.Tensor):
        return [result]
    items = result.values() if isinstance(result, dict) else result if isinstance(result, (tuple, list)) else []
    return [tensor for item in items for tensor in flat(item)]


def loaded(model):
    """The model as `dg.onnx.load` reads it; None while one of its operators is not known there."""
    try:
        return dg.onnx.load(model)
    except dg.onnx.UnsupportedError:
        return None


def round_trip(model, args, others=(), atol=1e-5, rtol=1e-4, **options):
    """The model written, checked in full, run on these arguments and others; compared with dynamic mode."""
    args = args if isinstance(args, tuple) else (args,)
    made = dg.onnx.export(model, args, **options).model_proto
    onnx.checker.check_model(made, full_check=True)
    again = loaded(made)
    modes = [(part, part.training) for part in getattr(model, "modules", list)()]
    for part, _ in modes:
        part.training = False
    try:
        for each in (args, *others):
            tensors = [tensor for x in each for tensor in flat(x)]
            with dg.no_grad(), dg.jit.dynamic_mode():
                wanted = flat(model(*each))
            found = outputs_of(made, *tensors)
            with warnings.catch_warnings():  # what no program can be made of is read node by node
                warnings.simplefilter("ignore", dg.errors.CaptureWarning)
                ours = [] if again is None else [x.detach().numpy() for x in flat(again(*tensors))]
            assert len(found) == len(wanted) == len(ours or found)
            for a, b in [*zip(found, wanted), *zip(ours, wanted)]:
                assert a.shape == tuple(b.shape)
                np.testing.assert_allclose(a.astype(np.float64), b.numpy().astype(np.float64), atol=atol, rtol=rtol)
    finally:
        for part, mode in modes:
            part.training = mode
    return made
