"""Losses over many classes of which few are looked at, and the samplers that choose these."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError

from ..definition import Operand, Operands, operation
from ..elements import Tensor
from ..randoms import random_operation
from ..scopes import get_seed, name_scope
from .embeddings import rows_of
from .losses import sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits_v2

__all__ = [
    "log_uniform_candidate_sampler",
    "nce_loss",
    "sampled_softmax_loss",
    "uniform_candidate_sampler",
]


class SampledCandidates(NamedTuple):
    """Chosen classes, and how often true and chosen ones are to be expected among them."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


def _probability(classes: Any, kind: str, range_max: int) -> Any:
    """How likely each of some classes is to be drawn."""
    numbers = classes.to(core.float32)
    if kind == "uniform":
        return dg.full_like(numbers, 1.0 / range_max)
    return dg.log1p(1.0 / (numbers + 1.0)) / math.log(range_max + 1.0)


@random_operation("CandidateSampler")
def _sampled(
    true_classes: Operand, num_sampled: int, unique: bool, range_max: int, kind: str, seeds: Any, name: str | None = None
) -> Any:
    tries: Any = float(num_sampled)
    if unique:
        chosen, tries = _without_repetition(num_sampled, kind, range_max)
    elif kind == "uniform":
        chosen = dg.randint(0, range_max, [num_sampled])
    else:
        drawn = dg.exp(dg.rand([num_sampled]) * math.log(range_max + 1.0)).to(core.int64) - 1
        chosen = dg.clamp(drawn, 0, range_max - 1)
    expected = [_expected(_probability(x, kind, range_max), tries, unique) for x in (true_classes, chosen)]
    return SampledCandidates(chosen.to(core.int64), *expected)


def _expected(probability: Any, tries: Any, unique: bool) -> Any:
    return -dg.expm1(tries * dg.log1p(-probability)) if unique else probability * tries


def _without_repetition(count: int, kind: str, range_max: int) -> Any:
    """(classes, how many draws it took until they were `count` different ones).

    The greatest of log-probabilities with Gumbel noise are distributed as the classes of repeated draws in order of appearance.
    Between two new ones, the number of draws is geometric: the more likely the classes before, the longer it takes.
    """
    every = _probability(dg.arange(range_max), kind, range_max)
    noise = -dg.log(-dg.log(dg.rand([range_max]).clamp(1e-20, 1.0 - 1e-7)))
    chosen = dg.topk(dg.log(every) + noise, count)[1]
    had = dg.cumsum(_probability(chosen, kind, range_max), 0)[: count - 1].clamp(0.0, 1.0 - 1e-7)
    again = dg.floor(dg.log(dg.rand([count - 1]).clamp_min(1e-20)) / dg.log(had.clamp_min(1e-20)))
    return chosen, again.sum() + float(count)


def _sampler(
    kind: str, true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: Any, name: str | None
) -> SampledCandidates:
    function = f"{kind}_candidate_sampler"
    if unique and num_sampled > range_max:
        raise ArgumentError(f"{function}: {num_sampled} different classes of {range_max}", hint="unique=False")
    if num_sampled < 1 or range_max < 1:
        raise ArgumentError(f"{function}: num_sampled = {num_sampled}, range_max = {range_max}: both are at least 1")
    made: SampledCandidates = _sampled(true_classes, num_sampled, unique, range_max, kind, get_seed(seed), name or function)
    return made


def log_uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> SampledCandidates:
    """Classes drawn with probability log((k + 2) / (k + 1)) / log(range_max + 1): for classes sorted by falling frequency.

    Args:
        true_classes: [N, num_true] of class numbers, of which the expected counts are given, too.
        unique: draw until there are `num_sampled` different ones.

    Shapes:   → sampled_candidates int64 [num_sampled], true_expected_count [N, num_true], sampled_expected_count [num_sampled]
    """
    return _sampler("log_uniform", true_classes, num_true, num_sampled, unique, range_max, seed, name)


def uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> SampledCandidates:
    """Classes drawn with equal probability: see `log_uniform_candidate_sampler`."""
    return _sampler("uniform", true_classes, num_true, num_sampled, unique, range_max, seed, name)


@operation("SampledLogits")
def _sampled_logits(
    weights: Operands,
    biases: Operands,
    labels: Operand,
    inputs: Operand,
    sampled: Operand,
    true_expected: Operand,
    sampled_expected: Operand,
    hits: bool,
    strategy: str,
    name: str | None = None,
) -> Any:
    """(logits of true and sampled classes, the distribution they should have)."""
    labels = labels.to(core.int64).reshape([inputs.shape[0], -1])
    count = labels.shape[1]
    own = (rows_of(weights, labels, strategy) * inputs.unsqueeze(1)).sum(2) + rows_of(biases, labels, strategy)
    others = dg.matmul(inputs, rows_of(weights, sampled, strategy).mT) + rows_of(biases, sampled, strategy)
    if hits:
        same = (labels.unsqueeze(2) == sampled).any(1)
        others = dg.where(same, -3.4e38, others)
    logits = dg.cat([own - dg.log(true_expected), others - dg.log(sampled_expected)], 1)
    return logits, dg.cat([dg.ones_like(own) / count, dg.zeros_like(others)], 1)


def _logits(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int,
    sampled_values: Any,
    remove_accidental_hits: bool,
    partition_strategy: str,
    seed: int | None,
) -> Any:
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(labels, num_true, num_sampled, True, num_classes, seed)
    tables = [list(x) if isinstance(x, (list, tuple)) else [x] for x in (weights, biases)]
    return _sampled_logits(*tables, labels, inputs, *sampled_values, remove_accidental_hits, partition_strategy)


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    partition_strategy: str = "mod",
    name: str = "nce_loss",
) -> Tensor:
    """The loss of noise-contrastive estimation: true classes are told from sampled ones (Gutmann and Hyvärinen, 2010).

    Args:
        weights, biases: [num_classes, D] and [num_classes], or lists of their parts.
        labels: [N, num_true] of class numbers.
        inputs: [N, D].
        sampled_values: what a sampler gives; by default that of `log_uniform_candidate_sampler`.

    Shapes:   → [N]
    """
    with name_scope(name, "nce_loss", [inputs]):
        logits, wanted = _logits(
            weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values, remove_accidental_hits,
            partition_strategy, None,
        )  # fmt: skip
        made: Tensor = _sum_rows(sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits))
        return made


@operation("Sum")
def _sum_rows(x: Operand, name: str | None = None) -> Any:
    return x.sum(1)


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss",
    seed: int | None = None,
) -> Tensor:
    """The softmax cross entropy over the true and some sampled classes, for training only (Jean et al., 2014).

    Args and shapes: as of `nce_loss`.
    """
    with name_scope(name, "sampled_softmax_loss", [inputs]):
        logits, wanted = _logits(
            weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values, remove_accidental_hits,
            partition_strategy, seed,
        )  # fmt: skip
        return softmax_cross_entropy_with_logits_v2(labels=wanted, logits=logits)
