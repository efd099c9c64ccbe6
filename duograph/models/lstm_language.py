"""A language model of LSTM layers, after Zaremba et al. 2014."""

from __future__ import annotations

from .. import _core as core
from .. import nn
from ..autograd import no_grad
from ..errors import DimensionError, DomainError
from ..tensors.creation import zeros

Tensor = core.Tensor
States = tuple[Tensor, Tensor]


class LSTMLanguageModel(nn.Module):
    """Logits of the token that follows each token, and the states after the last.

    Args:
        vocab_size: how many tokens there are.
        embedding_dim, hidden_size, num_layers: features of a token, features of a state, LSTM layers.
        dropout: what each layer's result loses in training.
        tie_weights: the last layer's weight is the tokens' table (Press and Wolf 2016); embedding_dim must be hidden_size.

    Shapes: input_ids [b, t] (integers), states (h, c) each [num_layers, b, hidden_size] or None for zeros
        → [b, t, vocab_size], states
    Parameters are `encoder.weight`, `lstm.*` (as `nn.LSTM` names them), `decoder.weight` and `decoder.bias`.
    Errors: DomainError where tied sizes differ; DimensionError

    >>> import duograph as dg
    >>> small = dg.models.LSTMLanguageModel(vocab_size=11, embedding_dim=8, hidden_size=8)
    >>> logits, states = small(dg.tensor([[1, 2, 3]]))
    >>> logits.shape, states[0].shape
    (duograph.Size([1, 3, 11]), duograph.Size([1, 1, 8]))
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        tie_weights: bool = False,
    ) -> None:
        super().__init__()
        if tie_weights and embedding_dim != hidden_size:
            sizes = f"embedding_dim={embedding_dim}, hidden_size={hidden_size}"
            raise DomainError(f"LSTMLanguageModel: tie_weights needs equal sizes, got {sizes}")
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(vocab_size, embedding_dim)
        between = dropout if num_layers > 1 else 0.0
        self.lstm = nn.LSTM(embedding_dim, hidden_size, num_layers, batch_first=True, dropout=between)
        self.decoder = nn.Linear(hidden_size, vocab_size)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)  # type: ignore[arg-type]
        if tie_weights:
            self.decoder.weight = self.encoder.weight

    def forward(self, input_ids: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        if input_ids.dim() != 2:
            raise DimensionError(f"LSTMLanguageModel: input_ids must have 2 dimensions (batch, tokens), got {input_ids.dim()}")
        made, states = self.lstm(self.drop(self.encoder(input_ids)), states)
        return self.decoder(self.drop(made)), states

    @no_grad()
    def generate(self, input_ids: Tensor, max_new_tokens: int = 20, do_sample: bool = False, temperature: float = 1.0) -> Tensor:
        """The text with `max_new_tokens` tokens added, each the likeliest one or, with `do_sample`, drawn.

        Shapes: input_ids [b, t], t ≥ 1 → [b, t + max_new_tokens]
        `dg.static(model.generate)` is one program for texts and results of any length. Call `eval()` first.
        Errors: DomainError where there is no token to begin with or to add

        >>> import duograph as dg
        >>> small = dg.models.LSTMLanguageModel(vocab_size=11, embedding_dim=8, hidden_size=8).eval()
        >>> small.generate(dg.tensor([[1, 2, 3]]), max_new_tokens=4).shape
        duograph.Size([1, 7])
        """
        batch, given = input_ids.shape
        if given < 1 or max_new_tokens < 1:
            counts = f"{given} and {max_new_tokens}"
            raise DomainError(f"LSTMLanguageModel.generate: needs at least 1 token to begin with and 1 to add, got {counts}")
        text = zeros(batch, given + max_new_tokens, dtype=input_ids.dtype)
        text[:, :given] = input_ids
        logits, states = self(input_ids)
        token = self._next(logits, do_sample, temperature)
        text[:, given] = token
        for position in range(given + 1, given + max_new_tokens):
            logits, states = self(token.unsqueeze(1), states)
            token = self._next(logits, do_sample, temperature)
            text[:, position] = token
        return text

    def _next(self, logits: Tensor, do_sample: bool, temperature: float) -> Tensor:
        """The token [b] that follows the last logits."""
        last = logits[:, -1]
        made: Tensor = (last / temperature).softmax(-1).multinomial(1).squeeze(1) if do_sample else last.argmax(-1)
        return made
