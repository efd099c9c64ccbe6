"""ResNets against PyTorch's, at any size of image, and their errors."""

from __future__ import annotations

import pytest
import torch_networks as twins
from agreement import against_torch, images, strict_is_dynamic
from sklearn.datasets import load_digits

import duograph as dg
from duograph import models, nn
from duograph.errors import ArgumentError, DomainError

KINDS = [(models.BasicBlock, twins.Basic, [1, 1, 1, 1]), (models.Bottleneck, twins.Narrowing, [2, 1, 1, 1])]


@pytest.mark.parametrize(("block", "twin", "layers"), KINDS, ids=["basic", "bottleneck"])
def test_trains_as_in_torch(block, twin, layers):
    against_torch(
        lambda: models.ResNet(block, layers, num_classes=5, width=8),
        lambda: twins.ResNet(twin, layers, 5, 8),
        images(10, 8, 64, 5, seed=2),
        seed=2,
    )


def test_strict_bits():
    strict_is_dynamic(
        lambda: models.ResNet(models.BasicBlock, [1, 1, 1, 1], num_classes=5, width=8, zero_init_residual=True),
        images(2, 8, 64, 5),
    )


def test_one_static_function_for_images_of_any_size():
    """Trained on digits of 28×28, it classifies them in other sizes without a compilation for each."""
    pictures, labels = load_digits(return_X_y=True)
    digits = nn.functional.interpolate(dg.tensor(pictures[:64] / 16).float().reshape(64, 1, 8, 8), size=28, mode="bilinear")
    target = dg.tensor(labels[:64])
    dg.manual_seed(0)
    model = models.ResNet(models.BasicBlock, [1, 1, 1, 1], num_classes=10, width=8, in_channels=1)
    optimizer = dg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    @dg.static
    def step(x, y):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(digits, target).item() for _ in range(40)]
    assert losses[-1] < losses[0] / 4

    model.eval()
    classify = dg.static(lambda x: model(x).argmax(1))
    with dg.no_grad():
        assert (classify(digits) == target).float().mean().item() > 0.9
        for size in (100, 64, 37, 28):
            enlarged = nn.functional.interpolate(digits[:8], size=size, mode="bilinear")
            assert classify(enlarged).tolist() == model(enlarged).argmax(1).tolist()
    assert classify.compilations <= classify.captures == 2


def test_names_and_counts_are_torchvisions():
    state = models.resnet18().state_dict()
    assert len(state) == 122
    assert list(state)[:7] == ["conv1.weight", *(f"bn1.{x}" for x in BATCH_NORM), "layer1.0.conv1.weight"]
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert list(state)[-2:] == ["fc.weight", "fc.bias"]


BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_weights_from_a_file(tmp_path):
    settings = {"num_classes": 3, "width": 4}
    saved = models.resnet18(**settings)
    dg.save(saved.state_dict(), tmp_path / "resnet.safetensors")
    read = models.resnet18(weights=str(tmp_path / "resnet.safetensors"), **settings)
    assert all(dg.equal(a, b) for a, b in zip(saved.state_dict().values(), read.state_dict().values()))


def test_dilation_in_place_of_strides_keeps_the_size():
    plain = models.ResNet(models.Bottleneck, [1, 1, 1, 1], width=4)
    dilated = models.ResNet(models.Bottleneck, [1, 1, 1, 2], width=4, replace_stride_with_dilation=[False, True, True])
    x = dg.rand(2, 3, 32, 32)

    def features(model):
        made = model.maxpool(model.bn1(model.conv1(x)))
        return model.layer4(model.layer3(model.layer2(model.layer1(made)))).shape

    assert features(plain) == (2, 128, 1, 1)
    assert features(dilated) == (2, 128, 4, 4)
    assert [m.conv2.dilation for m in (*dilated.layer3, *dilated.layer4)] == [(1, 1), (2, 2), (4, 4)]


def test_errors():
    with pytest.raises(ArgumentError, match=r"ResNet: layers must say .* 4 stages has, got \[2, 2\]"):
        models.ResNet(models.BasicBlock, [2, 2])
    with pytest.raises(ArgumentError, match="replace_stride_with_dilation must be 3 answers"):
        models.resnet50(replace_stride_with_dilation=[True])
    with pytest.raises(DomainError, match="BasicBlock: has no groups, widths and dilations, got groups=2"):
        models.resnet18(groups=2)
