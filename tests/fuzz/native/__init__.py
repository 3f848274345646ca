"""libFuzzer on the C kernels."""
