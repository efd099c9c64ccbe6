"""Every model of examples/ and of duograph.models in a file: onnxruntime and our own reader give what dynamic mode gives."""

import importlib
import json
import pathlib
import runpy
import sys
import warnings

import numpy as np
import onnx
import pytest
from round_trip import flat, outputs_of

import duograph as dg
import duograph.graph as tf
from duograph import models, nn
from duograph.graph.session import fed_array

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
TOLERANCE = 1e-4  # of the largest element of each output
RANDOM = {"RandomUniformLike", "RandomNormalLike", "RandomUniform", "RandomNormal"}


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Imports an example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(EXAMPLES / "graph"))
    monkeypatch.chdir(tmp_path)
    before = {*sys.modules}
    yield importlib.import_module
    for name in {*sys.modules} - before:
        if getattr(sys.modules[name], "__file__", None) and str(EXAMPLES) in sys.modules[name].__file__:
            del sys.modules[name]


def as_near(found, wanted):
    """Arrays as tensors' values; outputs that are all but zero or endless would prove nothing."""
    wanted = [np.asarray(x.detach().numpy() if isinstance(x, dg.Tensor) else x) for x in wanted]
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        scale = float(np.abs(theirs).max(initial=0.0))
        assert np.isfinite(theirs).all()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * scale or TOLERANCE)


def saved(model, args, others, tmp_path, **options):
    """The model in a file, which is checked in full; run for these arguments and others, here and by onnxruntime."""
    path = tmp_path / "model.onnx"
    dg.onnx.export(model, args, path, **options)
    onnx.checker.check_model(str(path), full_check=True)
    again = dg.load_static(path)
    for each in (args, *others):
        with dg.jit.dynamic_mode():
            wanted = flat(model(*each))
        tensors = [x for arg in each for x in flat(arg)]
        as_near(outputs_of(path, *tensors), wanted)
        as_near(results_of(again, *tensors), wanted)


def results_of(model, *args):
    """What a file gives that is read again. What no program can be made of is read node by node."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.errors.CaptureWarning)
        return [x.detach().numpy() for x in flat(model(*args))]


def lively(model):
    """The network in evaluation mode, with outputs that depend on its input: weights that are zero at first, and statistics."""
    dg.manual_seed(3)
    with dg.no_grad():
        for parameter in model.parameters():
            if not parameter.abs().max().item():
                parameter.copy_(0.1 * dg.randn(*parameter.shape))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
    return model


def settled(model, x, times=2):
    """The same with statistics of its own activations."""
    lively(model).train()
    with dg.no_grad():
        for _ in range(times):
            model(x)
    return model.eval()


# ---- networks

FULL = [pytest.mark.long]
CLASSIFIERS = ["resnet18", "resnet50", "mobilenet_v2", "vit_tiny"]


@pytest.mark.parametrize("small", [True, pytest.param(False, marks=FULL)])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_of_the_example(example, tmp_path, name, small):
    model = settled(example("classify").make_model(name, small), dg.randn(16, 1, 64, 64))
    axes, images = {0: "n", 2: "h", 3: "w"}, [(dg.randn(n, 1, side, side),) for n, side in ((2, 32), (3, 48), (1, 64))]
    if name != "vit_tiny":
        saved(model, images[0], images[1:], tmp_path, dynamic_axes={"x": axes})
        return
    with pytest.warns(UserWarning, match=r"holds where \(h//4\)\*\(w//4\) \+ 1 == 65"):
        dg.onnx.export(model, images[0], dynamic_axes={"x": axes})
    for image in images:  # places are made for a size of images
        saved(model, image, [(dg.randn(4, *image[0].shape[1:]),)], tmp_path, dynamic_axes={"x": {0: "n"}})


@pytest.mark.long
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_of_the_package(tmp_path, name):
    model = settled(getattr(models, name)(), dg.randn(4, 3, 224, 224), 1)
    saved(model, (dg.randn(1, 3, 224, 224),), [(dg.randn(3, 3, 224, 224),)], tmp_path, dynamic_axes={"x": {0: "n"}})


@pytest.mark.parametrize("small", [True, False])
def test_autoencoder(tmp_path, small):
    channels = (4, 8) if small else (16, 32)
    model = settled(models.ConvAutoencoder(image_size=16, channels=channels, code_size=8), dg.rand(8, 1, 16, 16))
    saved(model, (dg.rand(2, 1, 16, 16),), [(dg.rand(5, 1, 16, 16),)], tmp_path, dynamic_axes={"x": {0: "n"}})


LANGUAGE = [("gpt2", True, False), ("lstm", True, False)]
LANGUAGE += [pytest.param(*row, marks=FULL) for row in (("gpt2", False, False), ("lstm", False, False), ("gpt2", False, True))]


@pytest.mark.parametrize(("name", "small", "full"), LANGUAGE)
def test_networks_of_language(example, tmp_path, name, small, full):
    model = lively(example("language").make_model(name, 96, small, full)).eval()
    axes = {"input_ids": {0: "batch", 1: "length"}}

    def tokens(*shape):
        return dg.randint(0, 96, shape)

    saved(model, (tokens(2, 6),), [(tokens(1, 17),), (tokens(3, 40),)], tmp_path, dynamic_axes=axes)
    if small:
        saved(model.generate, (tokens(1, 5),), [(tokens(2, 9),)], tmp_path, dynamic_axes=axes)


def test_digits(example, tmp_path):
    model = example("digits").make_model().eval()
    saved(model, (dg.rand(10, 64),), [(dg.rand(3, 64),)], tmp_path, dynamic_axes={"x": {0: "n"}})


# ---- programs of two graphs


def race(hare, tortoise):
    turns = dg.tensor(0)
    while (hare < tortoise)[0]:
        hare = hare + 2
        tortoise = tortoise + 1
        turns = turns + 1
    return hare, tortoise, turns


def slopes(function, *leaves):
    """A function that gives the gradients of another's last result, too."""

    def program():
        made = function()
        last = made[-1] if isinstance(made, tuple) else made
        return made, dg.autograd.grad(last, leaves)

    return program


TWO_GRAPHS = {
    "branch_on_a_value": lambda x: (x["gated"], [(x["quiet"],), (x["loud"],)]),
    "loop_on_tensors": lambda x: (race, [(dg.Tensor([0]), dg.Tensor([10])), (dg.Tensor([4]), dg.Tensor([1]))]),
    "product_rule": lambda x: (slopes(lambda: x["a"] * x["b"], x["a"], x["b"]), [()]),
    "root_by_iteration": lambda x: (x["cube_root"], [(dg.tensor(v),) for v in (2.0, 8.0, 125.0, 1000.0)]),
    "two_paths": lambda x: (slopes(x["forward"], x["w"], x["x"]), [()]),
    "what_fusion_saves": lambda x: (x["affine"], [(x["w"], x["x"], x["b"])]),
}


@pytest.mark.parametrize("name", TWO_GRAPHS)
def test_programs_of_two_graphs(tmp_path, name):
    function, (args, *others) = TWO_GRAPHS[name](runpy.run_path(str(EXAMPLES / "two_graphs" / f"{name}.py")))
    saved(function, args, others, tmp_path)


@pytest.mark.parametrize("name", ["shuffled_depth", "shuffled_depth_static"])
def test_networks_as_deep_as_the_dice_say(tmp_path, name):
    space = runpy.run_path(str(EXAMPLES / "two_graphs" / f"{name}.py"))
    model = space["network"] if name == "shuffled_depth" else space["Dice"]()
    x = dg.randn(4, 1000 if name == "shuffled_depth" else 30)
    with pytest.raises(dg.errors.GraphError, match="calls Python") as error:
        dg.onnx.export(model, x)
    assert "random.randint(0, " in str(error.value)


def test_every_program_of_two_graphs_is_here():
    programs = {path.stem for path in (EXAMPLES / "two_graphs").glob("*.py")}
    assert programs == {*TWO_GRAPHS, "shuffled_depth", "shuffled_depth_static"}


# ---- define-and-run


class Spy(tf.Session):
    """A session that puts each new kind of run into a file first, and runs that."""

    folder = None
    kinds = None

    def run(self, fetches, feed_dict=None, **options):
        # generators of a file draw other numbers: dropout keeps everything
        feed = {x: 1.0 if x.name == "keep_prob:0" else value for x, value in (feed_dict or {}).items()}
        key = (str(fetches), *feed)
        if feed and key not in self.kinds:
            self.kinds[key] = self.compare(fetches, feed)
        return super().run(fetches, feed, **options)

    def compare(self, fetches, feed):
        """How many numbers were compared."""
        if isinstance(fetches, list) and getattr(fetches[0], "dtype", None) is tf.string:  # summaries
            with pytest.raises(dg.errors.GraphError, match="made by Python after a run"):
                self.graph.as_function(list(feed), fetches, self)
            fetches = fetches[1:]
        function = self.graph.as_function(list(feed), fetches, self)
        args = [dg.from_numpy(np.array(fed_array(x, value))) for x, value in feed.items()]
        names = [x.op.name for x in feed]
        axes = {x.op.name: [i for i, n in enumerate(x.shape.as_list()) if n is None] for x in feed if x.shape.dims is not None}
        path = self.folder / f"run{len(self.kinds)}.onnx"
        dg.onnx.export(function, tuple(args), path, input_names=names, dynamic_axes=axes)
        made = onnx.load(path)
        onnx.checker.check_model(str(path), full_check=True)
        said = {x.key: json.loads(x.value) for x in made.metadata_props}
        pairs = said.get("duograph.state", {})
        found, again = outputs_of(path, *args), dg.load_static(path)
        with dg.jit.dynamic_mode():
            wanted = flat(function(*args))
        wanted += [self.state.read(self.graph.get_tensor_by_name(f"{name}:0")) for name in pairs]
        ours = results_of(again, *args)
        ours += [getattr(*again.places[name]).detach().numpy() for name in pairs]
        drawn = RANDOM & {node.op_type for graph in (made.graph, *made.functions) for node in graph.node}
        if not drawn or "keep_prob" in names:
            as_near(found, wanted)
            as_near(ours, wanted)
        assert len(said["duograph.outputs"]) == len(wanted) - len(pairs)
        return sum(x.size for x in found)


STEPS = {
    "autoencoder": 2,
    "character_rnn": 2,
    "convolutional": 2,
    "fractals": 30,
    "linear_regression": 2,
    "policy_gradient": 2,
    "softmax_regression": 2,
    "word2vec": 2,
}


@pytest.mark.parametrize("name", STEPS)
def test_graphs_of_sessions(example, monkeypatch, tmp_path, name):
    kinds = {}
    monkeypatch.setattr(Spy, "folder", tmp_path)
    monkeypatch.setattr(Spy, "kinds", kinds)
    monkeypatch.setattr(tf, "Session", Spy)
    monkeypatch.setattr(sys, "argv", [name, "--steps", str(STEPS[name])])
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / "graph" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with tf.Graph().as_default():
        module.main()
    assert all(isinstance(x, int) and x for x in kinds.values())


def test_every_graph_is_here():
    assert {path.stem for path in (EXAMPLES / "graph").glob("*.py")} == {*STEPS}
