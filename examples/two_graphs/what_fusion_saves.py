"""y = w·x + b line by line needs a variable for the product; the static graph does not: one kernel, a fused multiply-add."""

import numpy as np

import duograph as dg

w, x, b = (dg.rand(1000) for _ in range(3))


def affine(w: dg.Tensor, x: dg.Tensor, b: dg.Tensor) -> dg.Tensor:
    return w * x + b


static = dg.static(affine)
np.testing.assert_allclose(static(w, x, b).numpy(), affine(w, x, b).numpy(), rtol=1e-6)
report = static.explain(w, x, b)
print(report)
assert (report.dynamic.variables, report.static.variables) == (5, 4)
assert (report.dynamic.bytes, report.static.bytes) == (5 * 4000, 4 * 4000)
assert (report.dynamic.kernels, report.static.kernels) == (2, 1)
assert [kernel.expression for kernel in report.static.kernel_list] == ["fma(w, x, b)"]

exact = dg.static(affine, strict=True)  # no fused rounding: the dynamic graph's very bits
assert (exact(w, x, b).numpy() == affine(w, x, b).numpy()).all()
assert exact.explain(w, x, b).static.kernels == 1
