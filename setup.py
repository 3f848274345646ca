"""The one thing pyproject.toml cannot say: which C module to build, and for which stable ABI."""

from setuptools import setup

setup(cffi_modules=["build_ffi.py:ffi"], options={"bdist_wheel": {"py_limited_api": "cp311"}})
