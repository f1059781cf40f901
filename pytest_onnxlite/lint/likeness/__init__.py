"""Whether a quantized model, dequantized, is the float model that it was made from.

Both are read into terms, in which quantization is undone and what ONNX Runtime's preparation changes is written one way.
Terms are compared from the outputs backwards; names do not count.
"""
