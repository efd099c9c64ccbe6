"""How often words are there."""

from __future__ import annotations

from typing import Any

import duograph as dg

from ..errors import UnsupportedError
from .definition import Tensor, operator


@operator("TfIdfVectorizer", since=9)
def tf_idf(
    x: Tensor, *, max_gram_length: int, max_skip_count: int, min_gram_length: int, mode: str, ngram_counts: list[int],
    ngram_indexes: list[int], pool_int64s: list[int] | None = None, pool_strings: Any = None, weights: list[float] | None = None,
) -> Tensor:  # fmt: skip
    """How often each sequence of words of a pool is in a row, words left out between them or not."""
    if pool_int64s is None:
        raise UnsupportedError("onnx: TfIdfVectorizer: there are no tensors of text", location=None)
    rows = x.reshape(1, -1) if x.ndim == 1 else x
    made = dg.zeros(rows.shape[0], max(ngram_indexes) + 1)
    ends = [*ngram_counts[1:], len(pool_int64s)]
    done = 0
    for length, (start, end) in enumerate(zip(ngram_counts, ends), 1):
        count = (end - start) // length
        indexes, done = ngram_indexes[done : done + count], done + count
        if count and min_gram_length <= length <= max_gram_length:
            pool = dg.tensor(pool_int64s[start:end], dtype=rows.dtype).reshape(count, length)
            for skip in range(max_skip_count + 1 if length > 1 else 1):
                found = _found(rows, pool, length, skip + 1)
                made = made if found is None else dg.index_add(made, 1, dg.tensor(indexes), found)
    made = (
        made if mode == "TF" or weights is None else (made if mode == "TFIDF" else (made > 0).to(made.dtype)) * dg.tensor(weights)
    )
    made = (made > 0).to(made.dtype) if mode == "IDF" and weights is None else made
    return made.reshape(-1) if x.ndim == 1 else made


def _found(rows: Tensor, pool: Tensor, length: int, step: int) -> Tensor | None:
    """How often each sequence of the pool is in each row, its words so far apart; None where rows are shorter than that."""
    starts = rows.shape[1] - (length - 1) * step
    if starts <= 0:
        return None
    same = [dg.narrow(rows, 1, i * step, starts).unsqueeze(2) == pool[:, i] for i in range(length)]
    together = same[0]
    for more in same[1:]:
        together = together & more
    return together.sum(1).to(dg.float32)
