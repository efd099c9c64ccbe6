"""Networks: modules, parameters, layers, losses, and how to fill them."""

from __future__ import annotations

from duograph._forks import import_late

TYPE_CHECKING = False  # as in the package itself
if TYPE_CHECKING:
    from typing import Any

    from . import functional as functional
    from . import init as init
    from . import modules as modules
    from . import utils as utils
    from .activation import ELU as ELU
    from .activation import GELU as GELU
    from .activation import LeakyReLU as LeakyReLU
    from .activation import LogSoftmax as LogSoftmax
    from .activation import ReLU as ReLU
    from .activation import Sigmoid as Sigmoid
    from .activation import SiLU as SiLU
    from .activation import Softmax as Softmax
    from .activation import Softplus as Softplus
    from .activation import Tanh as Tanh
    from .adaptive_softmax import AdaptiveLogSoftmaxWithLoss as AdaptiveLogSoftmaxWithLoss
    from .attention import MultiheadAttention as MultiheadAttention
    from .batch_norm import BatchNorm1d as BatchNorm1d
    from .batch_norm import BatchNorm2d as BatchNorm2d
    from .batch_norm import BatchNorm3d as BatchNorm3d
    from .batch_norm import CrossMapLRN2d as CrossMapLRN2d
    from .batch_norm import InstanceNorm1d as InstanceNorm1d
    from .batch_norm import InstanceNorm2d as InstanceNorm2d
    from .batch_norm import InstanceNorm3d as InstanceNorm3d
    from .container import ModuleDict as ModuleDict
    from .container import ModuleList as ModuleList
    from .container import Sequential as Sequential
    from .convolution import Conv1d as Conv1d
    from .convolution import Conv2d as Conv2d
    from .convolution import Conv3d as Conv3d
    from .convolution import ConvTranspose1d as ConvTranspose1d
    from .convolution import ConvTranspose2d as ConvTranspose2d
    from .convolution import ConvTranspose3d as ConvTranspose3d
    from .convolution import Fold as Fold
    from .convolution import Unfold as Unfold
    from .dropping import AlphaDropout as AlphaDropout
    from .dropping import Dropout as Dropout
    from .dropping import Dropout1d as Dropout1d
    from .dropping import Dropout2d as Dropout2d
    from .dropping import Dropout3d as Dropout3d
    from .dropping import FeatureAlphaDropout as FeatureAlphaDropout
    from .embedding_bag import EmbeddingBag as EmbeddingBag
    from .lazy import LazyBatchNorm1d as LazyBatchNorm1d
    from .lazy import LazyBatchNorm2d as LazyBatchNorm2d
    from .lazy import LazyBatchNorm3d as LazyBatchNorm3d
    from .lazy import LazyConv1d as LazyConv1d
    from .lazy import LazyConv2d as LazyConv2d
    from .lazy import LazyConv3d as LazyConv3d
    from .lazy import LazyConvTranspose1d as LazyConvTranspose1d
    from .lazy import LazyConvTranspose2d as LazyConvTranspose2d
    from .lazy import LazyConvTranspose3d as LazyConvTranspose3d
    from .lazy import LazyInstanceNorm1d as LazyInstanceNorm1d
    from .lazy import LazyInstanceNorm2d as LazyInstanceNorm2d
    from .lazy import LazyInstanceNorm3d as LazyInstanceNorm3d
    from .lazy import LazyLinear as LazyLinear
    from .linear import Bilinear as Bilinear
    from .linear import Embedding as Embedding
    from .linear import Linear as Linear
    from .loss import BCEWithLogitsLoss as BCEWithLogitsLoss
    from .loss import CrossEntropyLoss as CrossEntropyLoss
    from .loss import CTCLoss as CTCLoss
    from .loss import L1Loss as L1Loss
    from .loss import MSELoss as MSELoss
    from .loss import NLLLoss as NLLLoss
    from .margin_loss import BCELoss as BCELoss
    from .margin_loss import CosineEmbeddingLoss as CosineEmbeddingLoss
    from .margin_loss import GaussianNLLLoss as GaussianNLLLoss
    from .margin_loss import HingeEmbeddingLoss as HingeEmbeddingLoss
    from .margin_loss import HuberLoss as HuberLoss
    from .margin_loss import KLDivLoss as KLDivLoss
    from .margin_loss import MarginRankingLoss as MarginRankingLoss
    from .margin_loss import MultiLabelMarginLoss as MultiLabelMarginLoss
    from .margin_loss import MultiLabelSoftMarginLoss as MultiLabelSoftMarginLoss
    from .margin_loss import MultiMarginLoss as MultiMarginLoss
    from .margin_loss import PoissonNLLLoss as PoissonNLLLoss
    from .margin_loss import SmoothL1Loss as SmoothL1Loss
    from .margin_loss import SoftMarginLoss as SoftMarginLoss
    from .margin_loss import TripletMarginLoss as TripletMarginLoss
    from .margin_loss import TripletMarginWithDistanceLoss as TripletMarginWithDistanceLoss
    from .module import Module as Module
    from .normalisation import GroupNorm as GroupNorm
    from .normalisation import LayerNorm as LayerNorm
    from .normalisation import RMSNorm as RMSNorm
    from .padding import CircularPad1d as CircularPad1d
    from .padding import CircularPad2d as CircularPad2d
    from .padding import CircularPad3d as CircularPad3d
    from .padding import ConstantPad1d as ConstantPad1d
    from .padding import ConstantPad2d as ConstantPad2d
    from .padding import ConstantPad3d as ConstantPad3d
    from .padding import ReflectionPad1d as ReflectionPad1d
    from .padding import ReflectionPad2d as ReflectionPad2d
    from .padding import ReflectionPad3d as ReflectionPad3d
    from .padding import ReplicationPad1d as ReplicationPad1d
    from .padding import ReplicationPad2d as ReplicationPad2d
    from .padding import ReplicationPad3d as ReplicationPad3d
    from .padding import ZeroPad1d as ZeroPad1d
    from .padding import ZeroPad2d as ZeroPad2d
    from .padding import ZeroPad3d as ZeroPad3d
    from .parameter import Buffer as Buffer
    from .parameter import Parameter as Parameter
    from .parameters import ParameterDict as ParameterDict
    from .parameters import ParameterList as ParameterList
    from .pointwise import CELU as CELU
    from .pointwise import GLU as GLU
    from .pointwise import SELU as SELU
    from .pointwise import CosineSimilarity as CosineSimilarity
    from .pointwise import Hardshrink as Hardshrink
    from .pointwise import Hardsigmoid as Hardsigmoid
    from .pointwise import Hardswish as Hardswish
    from .pointwise import Hardtanh as Hardtanh
    from .pointwise import LocalResponseNorm as LocalResponseNorm
    from .pointwise import LogSigmoid as LogSigmoid
    from .pointwise import Mish as Mish
    from .pointwise import PairwiseDistance as PairwiseDistance
    from .pointwise import PReLU as PReLU
    from .pointwise import ReLU6 as ReLU6
    from .pointwise import RReLU as RReLU
    from .pointwise import Softmax2d as Softmax2d
    from .pointwise import Softmin as Softmin
    from .pointwise import Softshrink as Softshrink
    from .pointwise import Softsign as Softsign
    from .pointwise import Tanhshrink as Tanhshrink
    from .pointwise import Threshold as Threshold
    from .pooling import AdaptiveAvgPool1d as AdaptiveAvgPool1d
    from .pooling import AdaptiveAvgPool2d as AdaptiveAvgPool2d
    from .pooling import AdaptiveAvgPool3d as AdaptiveAvgPool3d
    from .pooling import AdaptiveMaxPool1d as AdaptiveMaxPool1d
    from .pooling import AdaptiveMaxPool2d as AdaptiveMaxPool2d
    from .pooling import AdaptiveMaxPool3d as AdaptiveMaxPool3d
    from .pooling import AvgPool1d as AvgPool1d
    from .pooling import AvgPool2d as AvgPool2d
    from .pooling import AvgPool3d as AvgPool3d
    from .pooling import FractionalMaxPool2d as FractionalMaxPool2d
    from .pooling import FractionalMaxPool3d as FractionalMaxPool3d
    from .pooling import LPPool1d as LPPool1d
    from .pooling import LPPool2d as LPPool2d
    from .pooling import LPPool3d as LPPool3d
    from .pooling import MaxPool1d as MaxPool1d
    from .pooling import MaxPool2d as MaxPool2d
    from .pooling import MaxPool3d as MaxPool3d
    from .pooling import MaxUnpool1d as MaxUnpool1d
    from .pooling import MaxUnpool2d as MaxUnpool2d
    from .pooling import MaxUnpool3d as MaxUnpool3d
    from .recurrent import GRU as GRU
    from .recurrent import LSTM as LSTM
    from .recurrent import RNN as RNN
    from .recurrent import RNNBase as RNNBase
    from .recurrent_cells import GRUCell as GRUCell
    from .recurrent_cells import LSTMCell as LSTMCell
    from .recurrent_cells import RNNCell as RNNCell
    from .recurrent_cells import RNNCellBase as RNNCellBase
    from .regrouping import ChannelShuffle as ChannelShuffle
    from .regrouping import Flatten as Flatten
    from .regrouping import Identity as Identity
    from .regrouping import PixelShuffle as PixelShuffle
    from .regrouping import PixelUnshuffle as PixelUnshuffle
    from .regrouping import Unflatten as Unflatten
    from .transformer import Transformer as Transformer
    from .transformer import TransformerDecoder as TransformerDecoder
    from .transformer import TransformerDecoderLayer as TransformerDecoderLayer
    from .transformer import TransformerEncoder as TransformerEncoder
    from .transformer import TransformerEncoderLayer as TransformerEncoderLayer
    from .upsampling import Upsample as Upsample
    from .upsampling import UpsamplingBilinear2d as UpsamplingBilinear2d
    from .upsampling import UpsamplingNearest2d as UpsamplingNearest2d

# Where names come from that are imported when first asked for.
_LAZY = {
    "activation": ("ELU", "GELU", "LeakyReLU", "LogSoftmax", "ReLU", "Sigmoid", "SiLU", "Softmax", "Softplus", "Tanh"),
    "adaptive_softmax": ("AdaptiveLogSoftmaxWithLoss",),
    "attention": ("MultiheadAttention",),
    "batch_norm": (
        "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "CrossMapLRN2d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
    ),
    "container": ("ModuleDict", "ModuleList", "Sequential"),
    "convolution": ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Fold", "Unfold"),
    "dropping": ("AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"),
    "embedding_bag": ("EmbeddingBag",),
    "functional": (),
    "init": (),
    "lazy": (
        "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
        "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
        "LazyInstanceNorm3d", "LazyLinear",
    ),
    "linear": ("Bilinear", "Embedding", "Linear"),
    "loss": ("BCEWithLogitsLoss", "CrossEntropyLoss", "CTCLoss", "L1Loss", "MSELoss", "NLLLoss"),
    "margin_loss": (
        "BCELoss", "CosineEmbeddingLoss", "GaussianNLLLoss", "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss",
        "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "PoissonNLLLoss",
        "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
    ),
    "module": ("Module",),
    "modules": (),
    "normalisation": ("GroupNorm", "LayerNorm", "RMSNorm"),
    "padding": (
        "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
        "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d",
        "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
    ),
    "parameter": ("Buffer", "Parameter"),
    "parameters": ("ParameterDict", "ParameterList"),
    "pointwise": (
        "CELU", "GLU", "SELU", "CosineSimilarity", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LocalResponseNorm",
        "LogSigmoid", "Mish", "PairwiseDistance", "PReLU", "ReLU6", "RReLU", "Softmax2d", "Softmin", "Softshrink", "Softsign",
        "Tanhshrink", "Threshold",
    ),
    "pooling": (
        "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
        "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d",
        "LPPool2d", "LPPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
    ),
    "recurrent": ("GRU", "LSTM", "RNN", "RNNBase"),
    "recurrent_cells": ("GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"),
    "regrouping": ("ChannelShuffle", "Flatten", "Identity", "PixelShuffle", "PixelUnshuffle", "Unflatten"),
    "transformer": (
        "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
    ),
    "upsampling": ("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"),
    "utils": (),
}  # fmt: skip
_OWNERS = {name: module for module, names in _LAZY.items() for name in names}

__all__ = sorted([*_OWNERS, *(module for module, names in _LAZY.items() if not names)])


def __getattr__(name: str) -> Any:
    if name in _OWNERS:
        found = getattr(import_late(f"{__name__}.{_OWNERS[name]}"), name)
    elif name in _LAZY:
        found = import_late(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
