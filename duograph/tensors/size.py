"""Size: the shape of a tensor, a tuple that counts elements."""

from __future__ import annotations

from .. import _core as core


class Size(tuple):  # type: ignore[type-arg]
    """A tuple of ints; what `Tensor.shape` and `Tensor.size()` return.

    >>> Size([2, 3]) + (4,)
    duograph.Size([2, 3, 4])
    >>> Size([2, 3]).numel()
    6
    """

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements: the product of the sizes."""
        count = 1
        for size in self:
            count *= size
        return count

    def __repr__(self) -> str:
        return f"duograph.Size([{', '.join(str(size) for size in self)}])"

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other):  # type: ignore[no-untyped-def]
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other):  # type: ignore[no-untyped-def]
        return Size(tuple(other) + tuple(self))

    def __mul__(self, count):  # type: ignore[no-untyped-def]
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (Size, (tuple(self),))


core.set_size_type(Size)
