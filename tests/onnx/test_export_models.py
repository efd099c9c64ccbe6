"""The networks of `duograph.models`, small, written as ONNX: sizes that stay open, loops, the same numbers."""

import pytest
from round_trip import round_trip

import duograph as dg
from duograph import models, nn


def tokens(*shape):
    return dg.randint(0, 11, shape)


IMAGES = {
    "resnet": (lambda: models.ResNet(models.BasicBlock, [1, 1, 1, 1], num_classes=5), 32, {0: "n", 2: "h", 3: "w"}, (3, 40, 36)),
    "mobilenet": (lambda: models.MobileNetV2(num_classes=5, width_mult=0.25), 32, {0: "n"}, (3, 32, 32)),
    "autoencoder": (lambda: models.ConvAutoencoder(in_channels=3, image_size=16, channels=(4, 8)), 16, {0: "n"}, (3, 16, 16)),
    "vit": (
        lambda: models.VisionTransformer(
            image_size=16, patch_size=4, hidden_dim=16, num_layers=2, num_heads=2, mlp_dim=32, num_classes=5
        ),
        16,
        {0: "n"},
        (3, 16, 16),
    ),
}


def unlike(model):
    """The model with parameters none of which is zero."""
    with dg.no_grad():
        for parameter in model.parameters():
            parameter.add_(dg.randn(*parameter.shape) * 0.1)
    return model


@pytest.mark.parametrize("name", IMAGES)
def test_networks_of_images(name):
    make, side, axes, other = IMAGES[name]
    round_trip(unlike(make()), dg.randn(1, 3, side, side), dynamic_axes={"x": axes}, others=[(dg.randn(2, *other),)])


LANGUAGE = {
    "gpt2": lambda: models.GPT2(vocab_size=11, n_positions=32, n_embd=8, n_layer=2, n_head=2),
    "lstm": lambda: models.LSTMLanguageModel(vocab_size=11, embedding_dim=8, hidden_size=8, num_layers=2),
}
AXES = {"input_ids": {0: "batch", 1: "length"}}


@pytest.mark.parametrize("name", LANGUAGE)
def test_networks_of_language(name):
    round_trip(unlike(LANGUAGE[name]()), tokens(1, 5), dynamic_axes=AXES, others=[(tokens(2, 9),)])


@pytest.mark.parametrize("name", LANGUAGE)
def test_generation_is_a_loop(name):
    model = unlike(LANGUAGE[name]()).eval()
    made = round_trip(model.generate, tokens(1, 5), dynamic_axes=AXES, others=[(tokens(2, 9),)])
    assert "Loop" in {node.op_type for node in made.graph.node}


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.GRU(4, 6, bidirectional=True), (5, 2, 4)),
        (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 5, 16)),
    ],
)
def test_layers_of_sequences(make, shape):
    round_trip(unlike(make()), dg.randn(*shape))
