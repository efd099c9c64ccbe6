"""The LSTM language model against PyTorch, texts in parts, and generation as one program for all lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch_networks as twins
from agreement import against_torch
from test_gpt2 import WORDS, predicted, texts

import duograph as dg
from duograph import models
from duograph.errors import DimensionError, DomainError


class WithoutStates(models.LSTMLanguageModel):
    """The logits alone, as PyTorch's twin gives them."""

    def forward(self, input_ids, states=None):
        return super().forward(input_ids, states)[0]


def small(**settings):
    dg.manual_seed(1)
    made = models.LSTMLanguageModel(WORDS, 12, 12, **settings)
    for parameter in made.parameters():
        parameter.data.mul_(4)
    return made.eval()


def test_trains_as_in_torch():
    against_torch(
        lambda: WithoutStates(WORDS, 12, 12, num_layers=2),
        lambda: twins.LSTMLanguageModel(WORDS, 12, 2),
        texts(10),
        predicted,
        optimizer=lambda library, parameters: library.optim.Adam(parameters, lr=1e-2),
    )


def test_a_text_may_be_computed_in_parts():
    model = small(num_layers=2)
    ids = dg.randint(0, WORDS, (3, 9))
    whole, states = model(ids)
    first, between = model(ids[:, :4])
    second, last = model(ids[:, 4:], between)
    np.testing.assert_allclose(dg.cat([first, second], 1).detach().numpy(), whole.detach().numpy(), rtol=1e-4, atol=1e-5)
    for a, b in zip(last, states):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_tied_weights_are_one():
    model = models.LSTMLanguageModel(WORDS, 12, 12, tie_weights=True)
    assert model.decoder.weight is model.encoder.weight
    assert sum(name.endswith("coder.weight") for name, _ in model.named_parameters()) == 1
    again = models.LSTMLanguageModel(WORDS, 12, 12, tie_weights=True)
    again.load_state_dict(model.state_dict())
    ids = dg.randint(0, WORDS, (2, 5))
    assert dg.equal(again(ids)[0], model(ids)[0])


@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "temperature": 0.7}], ids=str)
def test_one_capture_generates_texts_of_any_length(settings):
    model = small()
    sizes = {"input_ids": (1, dg.Dim("given", min=2)), "max_new_tokens": dg.Dim("added", min=1)}
    generate = dg.static(model.generate, sizes=sizes)
    for given, added in ((5, 6), (4, 8), (9, 1), (2, 22)):
        ids = dg.randint(0, WORDS, (1, given))
        dg.manual_seed(added)
        found = generate(ids, added, **settings)
        dg.manual_seed(added)
        assert dg.equal(found, model.generate(ids, added, **settings))
    assert generate.captures == 1


def test_generated_tokens_are_the_likeliest():
    model = small()
    text = model.generate(dg.randint(0, WORDS, (2, 3)), 10)
    logits, _ = model(text[:, :-1])
    assert dg.equal(text[:, 3:], logits[:, 2:].argmax(-1))
    assert len(set(text[0].tolist())) > 3


def test_errors():
    with pytest.raises(DomainError, match="tie_weights needs equal sizes, got embedding_dim=8, hidden_size=16"):
        models.LSTMLanguageModel(WORDS, 8, 16, tie_weights=True)
    model = small()
    with pytest.raises(DimensionError, match=r"input_ids must have 2 dimensions \(batch, tokens\), got 1"):
        model(dg.tensor([1, 2]))
    with pytest.raises(DomainError, match="1 token to begin with and 1 to add, got 2 and 0"):
        model.generate(dg.zeros(1, 2, dtype=dg.int64), 0)
