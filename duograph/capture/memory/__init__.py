"""Which tensors share memory.

Storages as cells whose values change, views of them, and tensors that are others' memory on some ways only.
"""
