"""Running a function dynamically and statically, bit by bit alike."""

import numpy as np

import duograph as dg


def vector(*values):
    return dg.tensor([float(v) for v in values])


def same(a, b):
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def reads_anew(function, config, before=lambda: None):
    """Run dynamically and statically, each after `before`, while what the function reads changes from run to run."""
    static = dg.static(function)
    for config.scale in (2.0, 3.0, 5.0):
        before()
        expected = function(vector(1, 2))
        before()
        same(static(vector(1, 2)), expected)


def both(function, *makers, **options):
    """Run dynamically and statically (three times) on fresh arguments; compare results and arguments."""
    static = dg.static(function, strict=True, **options)
    for _ in range(3):
        ours, theirs = [m() for m in makers], [m() for m in makers]
        got, expected = static(*ours), function(*theirs)
        got, expected = [x if isinstance(x, (tuple, list)) else (x,) for x in (got, expected)]
        for g, e in zip(got, expected, strict=True):
            if isinstance(e, dg.Tensor):
                same(g, e)
            else:
                assert g == e
        for ours_one, theirs_one in zip(ours, theirs):
            same(ours_one, theirs_one)
    return static
