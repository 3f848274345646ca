"""Bytes of format version 1, frozen: see wire/v1/README.md."""
