"""Checkpoint to GGUF and ONNX. Needs the extra `[export]`."""
