"""Feeding data to a training loop: datasets, samplers and a loader of batches (in this process, without workers)."""

from .dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from .loader import BatchSampler, DataLoader, RandomSampler, SequentialSampler, default_collate

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "RandomSampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "default_collate",
    "random_split",
]
