"""Vision transformers against PyTorch's, their names, and images of other sizes."""

from __future__ import annotations

import pytest
import torch_networks as twins
from agreement import against_torch, images

import duograph as dg
from duograph import models
from duograph.errors import DomainError, ShapeError

SIZES = {"image_size": 16, "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32, "num_classes": 5}


def test_trains_as_in_torch():
    against_torch(
        lambda: models.VisionTransformer(**SIZES),
        lambda: twins.VisionTransformer(16, 4, 2, 2, 16, 32, 5),
        images(10, 6, 16, 5),
        optimizer=lambda library, parameters: library.optim.AdamW(parameters, lr=1e-3),
    )


def test_images_of_other_sizes_have_places_between():
    dg.manual_seed(0)
    model = models.VisionTransformer(**SIZES).eval()
    dg.nn.init.normal_(model.heads.head.weight)
    static = dg.static(model)
    with dg.no_grad():
        for height, width in ((16, 16), (24, 16), (32, 40), (12, 20)):
            x = dg.rand(2, 3, height, width)
            assert dg.allclose(static(x), model(x), rtol=1e-4, atol=1e-5)
        assert model._places(4, 4) is model.encoder.pos_embedding
    assert static.captures <= 4


def test_names_are_torchvisions():
    names = list(models.VisionTransformer(**SIZES).state_dict())
    assert names[:4] == ["class_token", "conv_proj.weight", "conv_proj.bias", "encoder.pos_embedding"]
    assert names[4:9] == [
        "encoder.layers.encoder_layer_0.ln_1.weight",
        "encoder.layers.encoder_layer_0.ln_1.bias",
        "encoder.layers.encoder_layer_0.self_attention.in_proj_weight",
        "encoder.layers.encoder_layer_0.self_attention.in_proj_bias",
        "encoder.layers.encoder_layer_0.self_attention.out_proj.weight",
    ]
    assert "encoder.layers.encoder_layer_1.mlp.3.weight" in names
    assert names[-4:] == ["encoder.ln.weight", "encoder.ln.bias", "heads.head.weight", "heads.head.bias"]


def test_errors():
    with pytest.raises(DomainError, match="patches of 5 do not fill images of 16"):
        models.vit_tiny(image_size=16, patch_size=5)
    model = models.VisionTransformer(**SIZES)
    for call in (model, dg.static(model)):
        with pytest.raises(ShapeError, match="patches of 4 do not fill an image of 16×18"):
            call(dg.rand(1, 3, 16, 18))
