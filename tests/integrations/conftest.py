"""What holds for every plug-in's tests: the package under test is the installed wheel."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import secagg

if os.environ.get("SECAGG_TEST_INSTALLED") == "1":
    here, wanted = Path(secagg.__file__).resolve(), Path(sysconfig.get_path("platlib")).resolve()
    if not here.is_relative_to(wanted):
        message = f"secagg was imported from {here.parent}, not from the wheel in {wanted}"
        raise RuntimeError(message)
