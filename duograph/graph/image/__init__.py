"""Images as tensors [N, H, W, C] or [H, W, C]: TensorFlow 1's `tf.image`."""

from ..blocks import extract_image_patches as extract_image_patches
from .colors import *
from .cutting import *
from .resizing import *
