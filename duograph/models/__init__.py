"""Whole networks, with the names and state-dict keys that their published checkpoints have."""

from .autoencoder import ConvAutoencoder
from .gpt2 import GPT2, GPT2MLP, Conv1D, GPT2Attention, GPT2Block, gpt2
from .lstm_language import LSTMLanguageModel
from .mobilenet_v2 import InvertedResidual, MobileNetV2, mobilenet_v2
from .resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet50
from .vision_transformer import EncoderBlock, VisionTransformer, vit_tiny

__all__ = [
    "GPT2",
    "GPT2MLP",
    "BasicBlock",
    "Bottleneck",
    "Conv1D",
    "ConvAutoencoder",
    "EncoderBlock",
    "GPT2Attention",
    "GPT2Block",
    "InvertedResidual",
    "LSTMLanguageModel",
    "MobileNetV2",
    "ResNet",
    "VisionTransformer",
    "gpt2",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "vit_tiny",
]
