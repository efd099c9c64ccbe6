"""ONNX's operators by family: what each means, as a function of duograph tensors."""
