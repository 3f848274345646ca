"""The one thing pyproject.toml cannot say: which C module to build, and for which stable ABI.

SECAGG_PURE=1 builds a wheel without it, for machines that have no compiler: the fallback kernels run.
"""

import os

from setuptools import setup

if os.environ.get("SECAGG_PURE") == "1":
    setup()
else:
    setup(cffi_modules=["build_ffi.py:ffi"], options={"bdist_wheel": {"py_limited_api": "cp311"}})
