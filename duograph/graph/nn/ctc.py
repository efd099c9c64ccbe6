"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError
from duograph.nn import functional as F

from ..definition import Operand, operation
from ..elements import Tensor

__all__ = ["ctc_loss", "ctc_loss_v2"]


@operation("CTCLoss")
def _ctc(
    labels: Operand,
    logits: Operand,
    label_length: Operand,
    logit_length: Operand,
    time_major: bool,
    blank: int,
    name: str | None = None,
) -> Any:
    logits = logits if time_major else logits.permute([1, 0, 2])
    labels = labels.to(core.int64)
    lengths = (labels >= 0).sum(1) if label_length is None else label_length.to(core.int64)
    steps = logit_length.to(core.int64)
    targets = dg.clamp(labels, 0)
    place = blank if blank >= 0 else int(logits.shape[2]) + blank
    return F.ctc_loss(dg.log_softmax(logits, 2), targets, steps, lengths, place, "none")


def ctc_loss(
    labels: Any,
    inputs: Any = None,
    sequence_length: Any = None,
    preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True,
    ignore_longer_outputs_than_inputs: bool = False,
    time_major: bool = True,
    logits: Any = None,
) -> Tensor:
    """The negative logarithm of the probability of label sequences, over all their alignments (Graves et al., 2006).

    Args:
        labels: [N, L] of class numbers, filled up with -1; the blank is the last class.
        inputs: [T, N, C] before the softmax, or [N, T, C] with time_major=False.
        sequence_length: [N], how many of the T steps count.

    Shapes:   → [N]; infinite where the labels do not fit into the steps

    Differs:  labels are a matrix, as there are no sparse tensors; preprocess_collapse_repeated and ctc_merge_repeated cannot be
              changed
    """
    if preprocess_collapse_repeated or not ctc_merge_repeated:
        raise ArgumentError(
            "ctc_loss: repeated labels are kept and repeated outputs are merged",
            hint="leave preprocess_collapse_repeated=False, ctc_merge_repeated=True",
        )
    made: Tensor = _ctc(labels, logits if inputs is None else inputs, None, sequence_length, time_major, -1, "CTCLoss")
    return made


def ctc_loss_v2(
    labels: Any,
    logits: Any,
    label_length: Any,
    logit_length: Any,
    logits_time_major: bool = True,
    unique: Any = None,
    blank_index: int | None = None,
    name: str | None = None,
) -> Tensor:
    """`ctc_loss` with the labels' lengths, and any class as blank: by default class 0."""
    place = 0 if blank_index is None else blank_index
    made: Tensor = _ctc(labels, logits, label_length, logit_length, logits_time_major, place, name or "ctc_loss_dense")
    return made
