"""GPT-2 against PyTorch, its checkpoints, and generation as one program for all lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch_networks as twins
from agreement import against_torch, strict_is_dynamic

import duograph as dg
from duograph import models
from duograph.errors import DimensionError, DomainError

WORDS, ROOM, WIDTH = 19, 24, 16
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def small(**settings):
    return models.GPT2(vocab_size=WORDS, n_positions=ROOM, n_embd=WIDTH, n_layer=2, n_head=2, **settings)


def lively():
    """One whose tokens differ from step to step."""
    dg.manual_seed(3)
    return small(initializer_range=0.6).eval()


def texts(count):
    """Batches of a text in which each token follows from the one before, but for some noise; as input and as target."""
    random = np.random.default_rng(0)
    batches = []
    for _ in range(count):
        text = (random.integers(0, WORDS, (3, 1)) + 5 * np.arange(11)) % WORDS
        text = np.where(random.uniform(size=text.shape) < 0.1, random.integers(0, WORDS, text.shape), text)
        batches.append((text[:, :-1], text[:, 1:]))
    return batches


def predicted(functional, logits, target):
    return functional.cross_entropy(logits.flatten(0, 1), target.flatten())


def test_trains_as_in_torch():
    against_torch(
        lambda: small(**NO_DROPOUT),
        lambda: twins.GPT2(WORDS, ROOM, WIDTH, 2, 2),
        texts(10),
        predicted,
        lambda library, parameters: library.optim.AdamW(parameters, lr=1e-2),
    )


def test_strict_bits_with_dropout():
    strict_is_dynamic(small, texts(2), predicted)


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_loads_checkpoints_as_published(prefix, tmp_path):
    """With stored masks, names of the language model and the table's copy."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    theirs = twins.GPT2(WORDS, ROOM, WIDTH, 2, 2)
    state = {prefix + name: value for name, value in theirs.state_dict().items()}
    for number in range(2):
        state[f"{prefix}h.{number}.attn.bias"] = torch.ones(ROOM, ROOM).tril().reshape(1, 1, ROOM, ROOM)
        state[f"{prefix}h.{number}.attn.masked_bias"] = torch.tensor(-1e4)
    if prefix:
        state["lm_head.weight"] = theirs.wte.weight.detach().clone()
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    settings = {"vocab_size": WORDS, "n_positions": ROOM, "n_embd": WIDTH, "n_layer": 2, "n_head": 2}
    ours = models.gpt2(weights=str(path), **settings).eval()
    ids = np.arange(10).reshape(2, 5)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)).numpy()
    np.testing.assert_allclose(ours(dg.tensor(ids)).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_small_has_the_published_size():
    with_positions = 50257 * 768 + 1024 * 768
    block = models.GPT2(vocab_size=1, n_positions=1, n_layer=1)
    parameters = sum(p.numel() for p in block.h.parameters())
    assert with_positions + 12 * parameters + 2 * 768 == 124_439_808
    assert list(block.state_dict())[2:5] == ["h.0.ln_1.weight", "h.0.ln_1.bias", "h.0.attn.c_attn.weight"]
    assert block.h[0].attn.c_attn.weight.shape == (768, 3 * 768)


def test_tokens_are_the_same_with_and_without_cache():
    model = lively()
    ids = dg.randint(0, WORDS, (2, 4))
    found = model.generate(ids, 15)
    assert found.shape == (2, 19)
    assert dg.equal(found[:, :4], ids)
    assert dg.equal(found, model.generate(ids, 15, use_cache=False))
    assert len(set(found[0].tolist())) > 4


def test_a_text_may_be_computed_in_parts():
    model = lively()
    ids = dg.randint(0, WORDS, (2, 9))
    whole = model(ids)
    cache = model.make_cache(2, 12)
    parts = dg.cat([model(ids[:, :3], cache), model(ids[:, 3:8], cache, 3), model(ids[:, 8:], cache, 8)], 1)
    np.testing.assert_allclose(parts.detach().numpy(), whole.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_one_capture_generates_texts_of_any_length():
    model = lively()
    sizes = {"input_ids": (1, dg.Dim("given", min=2)), "max_new_tokens": dg.Dim("added", min=1)}
    generate = dg.static(model.generate, sizes=sizes)
    for given, added in ((5, 6), (4, 8), (9, 1), (2, 22), (20, 3)):
        ids = dg.randint(0, WORDS, (1, given))
        assert dg.equal(generate(ids, added), model.generate(ids, added))
    assert generate.captures == generate.compilations == 1


@pytest.mark.parametrize("settings", [{"use_cache": False}, {"do_sample": True, "temperature": 1.5, "top_k": 5}], ids=str)
def test_the_same_without_a_cache_and_with_draws(settings):
    """Said nothing about, lengths are symbols from the second on."""
    model = lively()
    generate = dg.static(model.generate)
    for given, added in ((5, 6), (4, 8), (9, 2)):
        ids = dg.randint(0, WORDS, (1, given))
        dg.manual_seed(given)
        found = generate(ids, added, **settings)
        dg.manual_seed(given)
        assert dg.equal(found, model.generate(ids, added, **settings))
    assert generate.captures == 2


def test_only_the_likeliest_are_drawn():
    model = lively()
    ids = dg.randint(0, WORDS, (64, 3))
    drawn = model.generate(ids, 1, do_sample=True, top_k=3)[:, -1]
    likeliest = model(ids)[:, -1].topk(3)[1]
    assert bool((likeliest == drawn.unsqueeze(1)).any(1).all())
    assert len(set(drawn.tolist())) > 3


def test_errors():
    model = small().eval()
    with pytest.raises(DomainError, match="GPT2: n_embd=10 features do not fall into n_head=4 heads"):
        models.GPT2(n_embd=10, n_head=4)
    with pytest.raises(DimensionError, match=r"input_ids must have 2 dimensions \(batch, tokens\), got 1"):
        model(dg.tensor([1, 2]))
    with pytest.raises(DomainError, match="25 tokens are more than n_positions=24"):
        model(dg.zeros(1, 25, dtype=dg.int64))
    for call in (model.generate, dg.static(model.generate)):
        with pytest.raises(DomainError, match="4 tokens and 21 more are longer than n_positions=24"):
            call(dg.zeros(1, 4, dtype=dg.int64), 21)
        with pytest.raises(DomainError, match="1 token to begin with and 1 to add, got 0 and 3"):
            call(dg.zeros(1, 0, dtype=dg.int64), 3)
