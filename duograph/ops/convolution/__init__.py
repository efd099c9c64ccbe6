"""Convolutions: contractions of views of windows with kernels, that never multiply zeros which strides put between elements."""
