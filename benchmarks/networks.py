"""ResNet-18 on images of 224 × 224: inference of one image and of eight, and the training step of eight with SGD and momentum.

All sides have the same weights, and must give the same results before they are timed. Dynamic mode is compared with PyTorch's
eager mode in the better of its two layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks import jax_resnet, tensorflow_resnet
from benchmarks.harness import OURS, Case
from benchmarks.peers import load, onnxruntime_module, openvino_module

THREADS = (1, 2)
ROUNDS = 9
BATCHES = (1, 8)
CLASSES = 1000
EAGER = ("torch eager", "torch eager, channels last")

Calls = dict[str, Callable[[], object]]


def torch_resnet18(nn: Any) -> Any:
    """PyTorch's network with torchvision's names, which `duograph.models` has, too."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if stride != 1:
                self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x: Any) -> Any:
            shortcut = x if self.downsample is None else self.downsample(x)
            made = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(made)) + shortcut)

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            sizes = (64, 64, 128, 256, 512)
            for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
                blocks = Block(inputs, outputs, 1 if i == 0 else 2), Block(outputs, outputs, 1)
                setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(512, CLASSES)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    return Network()


def twin(torch: Any, model: Any) -> Any:
    """PyTorch's network with the weights of ours."""
    network = torch_resnet18(torch.nn)
    network.load_state_dict({name: torch.from_numpy(value.numpy().copy()) for name, value in model.state_dict().items()})
    return network


def _same(calls: Calls) -> Calls:
    """The calls, all of which give what the first one gives."""
    results = {name: np.asarray(call()) for name, call in calls.items()}
    first = next(iter(results.values()))
    for name, found in results.items():
        np.testing.assert_allclose(found.reshape(first.shape), first, atol=2e-3 * np.abs(first).max(), err_msg=name)
    return calls


def _inference_peers(model: Any, x: np.ndarray) -> Calls:
    calls: Calls = {}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        network, given = twin(torch, model).eval(), torch.from_numpy(x)
        last, turned = (each.to(memory_format=torch.channels_last) for each in (twin(torch, model).eval(), given))
        compiled = torch.compile(network)
        calls[EAGER[0]] = lambda: network(given)
        calls[EAGER[1]] = lambda: last(turned)
        calls["torch.compile"] = lambda: compiled(given)
        for name, make in (("onnxruntime", onnxruntime_module), ("openvino", openvino_module)):
            if run := make(network, given):
                calls[name] = run
    return calls


def _inference(batch: int) -> Iterator[Case]:
    import duograph as dg

    dg.manual_seed(0)
    model = dg.models.resnet18().eval()
    x = np.random.default_rng(0).random((batch, 3, 224, 224), dtype=np.float32)
    given, static = dg.from_numpy(x), dg.static(model)
    with dg.no_grad():
        peers = _inference_peers(model, x)
        calls = _same({"static": lambda: static(given), "dynamic": lambda: model(given), **peers})
        title = f"ResNet-18, inference, batch {batch}"
        yield Case(f"{title}, static", {OURS: calls["static"], **peers}, {"best": 1.0} if peers else {})
        eager = {name: peers[name] for name in EAGER if name in peers}
        yield Case(f"{title}, dynamic", {OURS: calls["dynamic"], **eager}, {"best": 1.3} if eager else {})


def make_step(library: Any, model: Any) -> Callable[[Any, Any], Any]:
    """A training step written for duograph or PyTorch alike."""
    optimizer = library.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_of = library.nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _training_peers(model: Any, x: np.ndarray, y: np.ndarray) -> Calls:
    calls: Calls = {}
    if torch := load("torch"):
        torch.set_grad_enabled(True)
        given, target = torch.from_numpy(x), torch.from_numpy(y)
        turned = given.to(memory_format=torch.channels_last)
        steps = {
            EAGER[0]: (make_step(torch, twin(torch, model)), given),
            EAGER[1]: (make_step(torch, twin(torch, model).to(memory_format=torch.channels_last)), turned),
            "torch.compile": (torch.compile(make_step(torch, twin(torch, model))), given),
        }
        calls = {name: lambda step=step, x=x: step(x, target) for name, (step, x) in steps.items()}  # type: ignore[misc]
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    if jax := load("jax"):
        calls["jax.jit"] = partial(jax_resnet.resnet18_step(jax, state), jax.numpy.asarray(x), jax.numpy.asarray(y))
    if tf := load("tensorflow"):
        images, labels = tf.constant(np.ascontiguousarray(x.transpose(0, 2, 3, 1))), tf.constant(y)
        for name, xla in (("TF function", False), ("TF function, XLA", True)):
            calls[name] = partial(tensorflow_resnet.resnet18_step(tf, state, xla), images, labels)
    return calls


def _training(batch: int) -> Iterator[Case]:
    import duograph as dg

    rng = np.random.default_rng(0)
    x, y = rng.random((batch, 3, 224, 224), dtype=np.float32), rng.integers(0, CLASSES, batch)
    given, target = dg.from_numpy(x), dg.from_numpy(y)
    dg.manual_seed(0)
    peers = _training_peers(dg.models.resnet18(), x, y)
    steps = []
    for _ in range(2):
        dg.manual_seed(0)
        steps.append(make_step(dg, dg.models.resnet18()))
    static, dynamic = dg.static(steps[0]), steps[1]
    calls = _same({"static": lambda: static(given, target), "dynamic": lambda: dynamic(given, target), **peers})
    title = f"ResNet-18, training step, batch {batch}"
    yield Case(f"{title}, static", {OURS: calls["static"], **peers}, {"best": 1.15} if peers else {})
    eager = {name: peers[name] for name in EAGER if name in peers}
    yield Case(f"{title}, dynamic", {OURS: calls["dynamic"], **eager}, {"best": 1.0} if eager else {})


def cases() -> Iterator[Case]:
    for batch in BATCHES:
        yield from _inference(batch)
    yield from _training(BATCHES[-1])
