"""d(ab)/da = b and d(ab)/db = a, by recording the product and walking back."""

import duograph as dg

a = dg.tensor(15.0, requires_grad=True)
b = dg.tensor(20.0, requires_grad=True)
product = a * b
product.backward()
print(f"{a} · {b} = {product}; gradients {a.grad} and {b.grad}")
assert f"{product}" == "300.0"
assert repr(a.grad) == "tensor(20.)"
assert (product.item(), a.grad.item(), b.grad.item()) == (300.0, 20.0, 15.0)
