"""tf.image against closed forms in NumPy and Python's colorsys."""

import colorsys

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, DTypeError, ShapeError

IMAGES = np.random.default_rng(0).random((2, 4, 6, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def session():
    with tf.Graph().as_default(), tf.Session() as made:
        yield made


def resized(size, places, weigh):
    """Images of another size: `weigh` gives the weights of the old rows for a place."""
    x = IMAGES.astype(np.float64)
    for axis, want in enumerate(size):
        have = x.shape[axis + 1]
        matrix = np.array([weigh(places(i, have, want), have, have / want) for i in range(want)])
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis + 1)), 0, axis + 1)
    return x


def spread(taps):
    def weigh(place, have, factor):
        row = np.zeros(have)
        for at, weight in taps(place):
            row[min(max(int(at), 0), have - 1)] += weight
        return row

    return weigh


def keys(t):
    near, far = (lambda d: (1.25 * d - 2.25) * d * d + 1), (lambda d: ((-0.75 * d + 3.75) * d - 6) * d + 3)
    return [far(1 + t), near(t), near(1 - t), far(2 - t)]


def covered(place, have, factor):
    row = np.clip(np.minimum(place + factor, np.arange(have) + 1) - np.maximum(place, np.arange(have)), 0, None)
    return row / row.sum()


CORNER = lambda i, have, want: i * have / want  # noqa: E731
ALIGNED = lambda i, have, want: i * (have - 1) / (want - 1)  # noqa: E731
LINE = spread(lambda p: [(np.floor(p), 1 - p % 1), (np.floor(p) + 1, p % 1)])
NEAREST = spread(lambda p: [(np.floor(p), 1)])
CURVE = spread(lambda p: [(np.floor(p) - 1 + k, w) for k, w in enumerate(keys(p % 1))])


@pytest.mark.parametrize("size", [[7, 5], [2, 3], [8, 12]])
@pytest.mark.parametrize(
    ("method", "align", "places", "weigh"),
    [
        (0, False, CORNER, LINE),
        (0, True, ALIGNED, LINE),
        (1, False, CORNER, NEAREST),
        (2, False, CORNER, CURVE),
        (3, False, CORNER, covered),
    ],
)
def test_other_sizes(session, size, method, align, places, weigh):
    x = tf.placeholder(tf.float32, [None, None, None, 3])
    y = tf.image.resize_images(x, size, method, align_corners=align)
    assert y.shape.as_list() == [None, *size, 3]
    np.testing.assert_allclose(session.run(y, {x: IMAGES}), resized(size, places, weigh), rtol=1e-4, atol=1e-5)


def test_a_size_that_is_fed_and_an_image_alone(session):
    x, size = tf.placeholder(tf.float32, [None, 4, 6, 3]), tf.placeholder(tf.int32, [2])
    y = tf.image.resize_bilinear(x, size)
    np.testing.assert_allclose(session.run(y, {x: IMAGES, size: [5, 7]}), resized([5, 7], CORNER, LINE), rtol=1e-4, atol=1e-5)
    assert tf.image.resize_images(x[0], [8, 8], preserve_aspect_ratio=True).shape.as_list() == [5, 8, 3]


def test_turned_cut_and_framed(session):
    x, i = tf.constant(IMAGES), tf.image
    pairs = [
        (i.flip_left_right(x), IMAGES[:, :, ::-1]),
        (i.flip_up_down(x[0]), IMAGES[0, ::-1]),
        (i.transpose_image(x), IMAGES.transpose(0, 2, 1, 3)),
        (i.rot90(x, 3), np.rot90(IMAGES, 3, (1, 2))),
        (i.central_crop(x, 0.5), IMAGES[:, 1:3, 1:5]),
        (i.crop_to_bounding_box(x, 1, 2, 3, 3), IMAGES[:, 1:4, 2:5]),
        (i.pad_to_bounding_box(x, 1, 2, 8, 9), np.pad(IMAGES, ((0, 0), (1, 3), (2, 1), (0, 0)))),
        (i.resize_image_with_crop_or_pad(x, 3, 9), np.pad(IMAGES[:, :3], ((0, 0), (0, 0), (1, 2), (0, 0)))),
    ]
    for made, expected in pairs:
        assert made.shape.as_list() == list(expected.shape)
        assert (session.run(made) == expected).all()
    flipped = session.run(i.random_flip_left_right(tf.tile(x[:1], [64, 1, 1, 1]), seed=1))
    turned = (flipped == IMAGES[0, :, ::-1]).all((1, 2, 3))
    assert 10 < turned.sum() < 54 and (flipped[~turned] == IMAGES[0]).all()


def test_values_and_colours(session):
    x, i = tf.constant(IMAGES), tf.image
    mean = IMAGES.mean((1, 2), keepdims=True)
    centred = IMAGES - IMAGES.mean((1, 2, 3), keepdims=True)
    pairs = [
        (i.adjust_brightness(x, 0.2), IMAGES + 0.2),
        (i.adjust_contrast(x, 2.0), (IMAGES - mean) * 2 + mean),
        (i.per_image_standardization(x), centred / centred.std((1, 2, 3), keepdims=True)),
        (i.rgb_to_grayscale(x)[..., 0], IMAGES @ [0.2989, 0.587, 0.114]),
        (i.rgb_to_hsv(x), np.apply_along_axis(lambda c: colorsys.rgb_to_hsv(*c), -1, IMAGES)),
        (i.hsv_to_rgb(x), np.apply_along_axis(lambda c: colorsys.hsv_to_rgb(*c), -1, IMAGES)),
        (i.total_variation(x), np.abs(np.diff(IMAGES, axis=1)).sum((1, 2, 3)) + np.abs(np.diff(IMAGES, axis=2)).sum((1, 2, 3))),
        (i.adjust_hue(i.adjust_hue(x, 0.3), -0.3), IMAGES),
    ]
    for made, expected in pairs:
        np.testing.assert_allclose(session.run(made), expected, rtol=1e-4, atol=1e-5)
    levels = np.array([0, 128, 255], np.uint8)
    assert session.run(i.convert_image_dtype(i.convert_image_dtype(levels, tf.float32), tf.uint8)).tolist() == levels.tolist()
    assert session.run(i.adjust_brightness(levels, 0.5)).tolist() == [127, 255, 255]


def test_mistakes():
    with pytest.raises(ShapeError, match="expected 4"):
        tf.image.resize_bilinear(tf.ones([4, 4]), [2, 2])
    with pytest.raises(ArgumentError, match="no method 9"):
        tf.image.resize_images(tf.ones([1, 4, 4, 1]), [2, 2], 9)
    with pytest.raises(ShapeError, match="do not lie in an image of 4"):
        tf.image.crop_to_bounding_box(tf.ones([1, 4, 4, 1]), 2, 0, 3, 3)
    with pytest.raises(ShapeError, match="has 4 channels"):
        tf.image.rgb_to_grayscale(tf.ones([1, 4, 4, 4]))
    with pytest.raises(DTypeError, match="must be floats"):
        tf.image.rgb_to_hsv(tf.ones([1, 4, 4, 3], tf.int32))
    with pytest.raises(ArgumentError, match="central_fraction"):
        tf.image.central_crop(tf.ones([1, 4, 4, 3]), 2.0)
