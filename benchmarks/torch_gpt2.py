"""GPT-2 in PyTorch, in the plain way (`nn.Linear`, `scaled_dot_product_attention`), and generation with kept keys and values."""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCKS, HEADS, WIDTH, VOCABULARY, POSITIONS = 12, 12, 768, 50257, 1024


def torch_gpt2(torch: Any, weights: dict[str, np.ndarray]) -> Any:
    """The network with copies of the weights of ours, whose linear layers lie the other way round."""
    network = fresh_gpt2(torch)
    state = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    for name, value in state.items():
        if value.dim() == 2 and name.startswith("h."):
            state[name] = value.t().contiguous()
    network.load_state_dict(state)
    return network


def fresh_gpt2(torch: Any) -> Any:
    """The network as PyTorch initialises it."""
    nn, functional = torch.nn, torch.nn.functional

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.c_attn, self.c_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Any, kept: list[Any] | None) -> Any:
            batch, length, width = x.shape
            query, key, value = (part.view(batch, length, HEADS, -1).transpose(1, 2) for part in self.c_attn(x).split(WIDTH, 2))
            begins = not kept
            if kept is not None:
                if kept:
                    key, value = torch.cat((kept[0], key), 2), torch.cat((kept[1], value), 2)
                kept[:] = key, value
            made = functional.scaled_dot_product_attention(query, key, value, is_causal=begins)
            return self.c_proj(made.transpose(1, 2).reshape(batch, length, width))

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(WIDTH), Attention(), nn.LayerNorm(WIDTH)
            self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, 4 * WIDTH), "c_proj": nn.Linear(4 * WIDTH, WIDTH)})

        def forward(self, x: Any, kept: list[Any] | None) -> Any:
            x = x + self.attn(self.ln_1(x), kept)
            return x + self.mlp["c_proj"](functional.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
            self.h = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.ln_f = nn.LayerNorm(WIDTH)

        def features(self, ids: Any, past: int = 0, kept: list[list[Any]] | None = None) -> Any:
            x = self.wte(ids) + self.wpe(torch.arange(past, past + ids.shape[1]))
            for number, block in enumerate(self.h):
                x = block(x, None if kept is None else kept[number])
            return self.ln_f(x)

        def forward(self, ids: Any) -> Any:
            return functional.linear(self.features(ids), self.wte.weight)

    return Network()


def generate(torch: Any, network: Any, ids: Any, count: int) -> Any:
    """The text with the ``count`` likeliest tokens added."""
    kept: list[list[Any]] = [[] for _ in network.h]
    text = [ids]
    for _ in range(count):
        past = sum(part.shape[1] for part in text[:-1])
        last = network.features(text[-1], past, kept)[:, -1]
        text.append(torch.nn.functional.linear(last, network.wte.weight).argmax(-1, keepdim=True))
    return torch.cat(text, 1)
