"""Networks as files for other runtimes: ONNX, TorchScript and torch.export."""
