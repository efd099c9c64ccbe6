"""GPT-2 (Radford et al. 2019): a language model, and generation with a cache of keys and values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from .. import _core as core
from .. import nn
from ..autograd import no_grad
from ..errors import DimensionError, DomainError
from ..nn import functional
from ..ops.elementwise.choice import where
from ..tensors.creation import arange, empty, zeros
from .weights import with_weights

Tensor = core.Tensor
Cache: TypeAlias = "Sequence[tuple[Tensor, Tensor]]"  # keys and values [b, n_head, room, features] of each block


class Conv1D(nn.Module):
    """y = x @ weight + bias: a linear layer whose weight lies as it does in GPT-2's checkpoints.

    Shapes: x [*, nx] → [*, nf]; weight [nx, nf] from N(0, std²), bias [nf], at first 0
    """

    def __init__(self, nf: int, nx: int, std: float = 0.02) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(nn.init.normal_(empty(nx, nf), std=std))
        self.bias = nn.Parameter(zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias

    def extra_repr(self) -> str:
        return f"nf={self.nf}, nx={self.nx}"


class GPT2Attention(nn.Module):
    """Causal attention of several heads.

    Shapes: x [b, t, n_embd] → the same
    With a cache the keys and values of x are written into it, behind the `past` tokens that it holds (None: it is empty).
    """

    def __init__(self, n_embd: int, n_head: int, attn_pdrop: float, resid_pdrop: float, std: float, std_out: float) -> None:
        super().__init__()
        self.n_head, self.attn_pdrop = n_head, attn_pdrop
        self.c_attn = Conv1D(3 * n_embd, n_embd, std)
        self.c_proj = Conv1D(n_embd, n_embd, std_out)
        self.resid_dropout = nn.Dropout(resid_pdrop)

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None = None, past: Any = None) -> Tensor:
        batch, length, width = x.shape
        heads = (batch, length, self.n_head, width // self.n_head)
        query, key, value = (part.reshape(heads).transpose(1, 2) for part in self.c_attn(x).chunk(3, 2))
        if cache is not None:
            begin, end = (0, length) if past is None else (past, past + length)
            for held, new in zip(cache, (key, value)):
                held[:, :, begin:end] = new
        if cache is None or past is None:
            dropped = self.attn_pdrop if self.training else 0.0
            made = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropped, is_causal=True)
        else:
            keys, values = (held[:, :, :end] for held in cache)
            seen = None if length == 1 else arange(end) <= arange(length).unsqueeze(1) + past
            made = functional.scaled_dot_product_attention(query, keys, values, seen)
        return self.resid_dropout(self.c_proj(made.transpose(1, 2).reshape(batch, length, width)))  # type: ignore[no-any-return]


class GPT2MLP(nn.Module):
    """Two layers with a GELU between them.

    Shapes: x [*, n_embd] → the same
    """

    def __init__(self, n_embd: int, n_inner: int, resid_pdrop: float, std: float, std_out: float) -> None:
        super().__init__()
        self.c_fc = Conv1D(n_inner, n_embd, std)
        self.c_proj = Conv1D(n_embd, n_inner, std_out)
        self.act = nn.GELU(approximate="tanh")
        self.dropout = nn.Dropout(resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))  # type: ignore[no-any-return]


class GPT2Block(nn.Module):
    """Attention and then two layers, each added to what it is given after a normalisation.

    Shapes: x [b, t, n_embd] → the same; `cache` and `past` as `GPT2Attention`
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        n_inner: int,
        attn_pdrop: float,
        resid_pdrop: float,
        eps: float,
        std: float,
        std_out: float,
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd, eps)
        self.attn = GPT2Attention(n_embd, n_head, attn_pdrop, resid_pdrop, std, std_out)
        self.ln_2 = nn.LayerNorm(n_embd, eps)
        self.mlp = GPT2MLP(n_embd, n_inner, resid_pdrop, std, std_out)

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None = None, past: Any = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), cache, past)
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class GPT2(nn.Module):
    """Logits of the token that follows each token; the last layer's weight is the tokens' table.

    Args:
        vocab_size, n_positions: how many tokens there are, and the longest text.
        n_embd, n_layer, n_head: features, blocks, and heads of each block's attention.
        n_inner: features inside of a block's last layers; four times n_embd if left out.
        resid_pdrop, embd_pdrop, attn_pdrop: what is dropped in training of each layer's result, the first features, the weights
            of attention.
        layer_norm_epsilon, initializer_range: of normalisations; the deviation of weights at first, which for layers before a
            sum is divided by √(2 · n_layer).

    Shapes: input_ids [b, t] (integers) → [b, t, vocab_size]
    Parameters have the names and layouts of GPT-2's checkpoints (`wte.weight`, `h.0.attn.c_attn.weight` [n_embd, 3 · n_embd], …).
    Loading also takes names with "transformer." in front, and passes over stored masks and the table's copy `lm_head.weight`.
    Errors: DomainError where heads do not share n_embd evenly or a text is longer than n_positions; DimensionError

    >>> import duograph as dg
    >>> small = dg.models.GPT2(vocab_size=11, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    >>> small(dg.tensor([[1, 2, 3]])).shape
    duograph.Size([1, 3, 11])
    """

    def __init__(
        self,
        vocab_size: int = 50257,
        n_positions: int = 1024,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        n_inner: int | None = None,
        resid_pdrop: float = 0.1,
        embd_pdrop: float = 0.1,
        attn_pdrop: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
        initializer_range: float = 0.02,
    ) -> None:
        super().__init__()
        if n_head < 1 or n_embd % n_head:
            raise DomainError(f"GPT2: n_embd={n_embd} features do not fall into n_head={n_head} heads")
        self.vocab_size, self.n_positions = vocab_size, n_positions
        self.n_embd, self.n_head = n_embd, n_head
        inner = 4 * n_embd if n_inner is None else n_inner
        std, std_out = initializer_range, initializer_range / math.sqrt(2 * max(n_layer, 1))
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(n_positions, n_embd)
        self.drop = nn.Dropout(embd_pdrop)
        blocks = [
            GPT2Block(n_embd, n_head, inner, attn_pdrop, resid_pdrop, layer_norm_epsilon, std, std_out) for _ in range(n_layer)
        ]
        self.h = nn.ModuleList(blocks)
        self.ln_f = nn.LayerNorm(n_embd, layer_norm_epsilon)
        for table in (self.wte, self.wpe):
            nn.init.normal_(table.weight, std=std)
        self.register_load_state_dict_pre_hook(_as_published)

    def forward(self, input_ids: Tensor, cache: Cache | None = None, past: Any = None) -> Tensor:
        """`cache` (of `make_cache`) takes the tokens' keys and values, behind the `past` it holds (None: it is empty)."""
        if input_ids.dim() != 2:
            raise DimensionError(f"GPT2: input_ids must have 2 dimensions (batch, tokens), got {input_ids.dim()}")
        end = input_ids.shape[1] if past is None else past + input_ids.shape[1]
        if end > self.n_positions:
            raise DomainError(f"GPT2: {end} tokens are more than n_positions={self.n_positions}")
        return self._logits(self._features(input_ids, cache, past))

    def _features(self, input_ids: Tensor, cache: Cache | None = None, past: Any = None) -> Tensor:
        """What the last normalisation gives, [b, t, n_embd]."""
        length, table = input_ids.shape[1], self.wpe.weight
        if past is None:
            places = table[:length]
        else:
            places = table[past] if length == 1 else table[past : past + length]
        x = self.drop(self.wte(input_ids) + places)
        for number, block in enumerate(self.h):
            x = block(x, None if cache is None else cache[number], past)
        return self.ln_f(x)  # type: ignore[no-any-return]

    def _logits(self, features: Tensor) -> Tensor:
        return functional.linear(features, self.wte.weight)

    def make_cache(self, batch: int, room: int) -> list[tuple[Tensor, Tensor]]:
        """Memory for the keys and values of `room` tokens: of each block two tensors [batch, n_head, room, n_embd / n_head]."""
        dtype = self.wte.weight.dtype
        size = (batch, self.n_head, room, self.n_embd // self.n_head)
        return [(zeros(size, dtype=dtype), zeros(size, dtype=dtype)) for _ in self.h]

    @no_grad()
    def generate(
        self,
        input_ids: Tensor,
        max_new_tokens: int = 20,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int | None = None,
        use_cache: bool = True,
    ) -> Tensor:
        """The text with `max_new_tokens` tokens added, each the likeliest one or, with `do_sample`, drawn.

        Args:
            temperature: logits are divided by it before drawing.
            top_k: only so many of the likeliest tokens are drawn from.
            use_cache: keys and values of earlier tokens are kept; without, the whole text is computed for each token.

        Shapes: input_ids [b, t], t ≥ 1 → [b, t + max_new_tokens]
        `dg.static(model.generate)` is one program for texts and results of any length. Call `eval()` first.
        Errors: DomainError where there is no token to begin with or to add, or the result is longer than n_positions

        >>> import duograph as dg
        >>> small = dg.models.GPT2(vocab_size=11, n_positions=16, n_embd=8, n_layer=2, n_head=2).eval()
        >>> dg.static(small.generate)(dg.tensor([[1, 2, 3]]), max_new_tokens=4).shape
        duograph.Size([1, 7])
        """
        batch, given = self._check_text(input_ids, max_new_tokens)
        total = given + max_new_tokens
        cache = self.make_cache(batch, total) if use_cache else None
        text = zeros(batch, total, dtype=input_ids.dtype)
        text[:, :given] = input_ids
        token = self._next(self._features(input_ids, cache), do_sample, temperature, top_k)
        text[:, given] = token
        for position in range(given, total - 1):
            if cache is None:
                features = self._features(text[:, : position + 1])
            else:
                features = self._features(token.unsqueeze(1), cache, position)
            token = self._next(features, do_sample, temperature, top_k)
            text[:, position + 1] = token
        return text

    def _check_text(self, input_ids: Tensor, max_new_tokens: int) -> tuple[int, int]:
        """Batch and length of a text that is to be continued."""
        if input_ids.dim() != 2:
            raise DimensionError(f"GPT2.generate: input_ids must have 2 dimensions (batch, tokens), got {input_ids.dim()}")
        batch, given = input_ids.shape
        if given < 1 or max_new_tokens < 1:
            raise DomainError(
                f"GPT2.generate: needs at least 1 token to begin with and 1 to add, got {given} and {max_new_tokens}"
            )
        if given + max_new_tokens > self.n_positions:
            counts = f"{given} tokens and {max_new_tokens} more"
            raise DomainError(f"GPT2.generate: {counts} are longer than n_positions={self.n_positions}")
        return batch, given

    def _next(self, features: Tensor, do_sample: bool, temperature: float, top_k: int | None) -> Tensor:
        """The token [b] that follows the last features."""
        logits = self._logits(features[:, -1])
        if not do_sample:
            likeliest: Tensor = logits.argmax(-1)
            return likeliest
        logits = logits / temperature
        if top_k is not None:
            least = logits.topk(top_k, -1)[0][:, -1:]
            logits = where(logits < least, -math.inf, logits)
        drawn: Tensor = logits.softmax(-1).multinomial(1).squeeze(1)
        return drawn


def _as_published(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Names as checkpoints of the bare and of the language model have them."""
    for name in [name for name in state if name.startswith(prefix)]:
        rest = name[len(prefix) :].removeprefix("transformer.")
        value = state.pop(name)
        stored_mask = rest.startswith("h.") and rest.endswith((".attn.bias", ".attn.masked_bias"))
        if not stored_mask and rest != "lm_head.weight":
            state[prefix + rest] = value


def gpt2(*, weights: str | None = None, **settings: Any) -> GPT2:
    """GPT-2 small: 12 blocks of 768 features, 124 million parameters.

    Args:
        weights: a safetensors file, as it is published or as `dg.save(model.state_dict(), path)` writes it.
        settings: as `GPT2` takes them.

    >>> import duograph as dg
    >>> sum(p.numel() for p in dg.models.gpt2(n_layer=1).parameters())
    46473216
    """
    return with_weights(GPT2(**settings), weights)
