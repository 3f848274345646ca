"""Constant time: no branch, address or divisor in the C kernels depends on a secret.

The driver ct.c runs every kernel with the parameters marked that its `CT:` line calls secret. Memcheck follows them through the
machine code of plain C, AES-NI and AVX2, MemorySanitizer through the intermediate code of every instruction set, and a
tracer compares the instructions executed under two secrets. Each tool must also report leaks that were built in.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.ct_lines import ALWAYS, functions

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SOURCES = [
    *sorted((ROOT / "native").glob("*.c")),
    *sorted(p for p in (ROOT / "native" / "kernels").glob("*.c") if not p.name.endswith(".inc.c")),
]
# As in build_ffi.py; the driver leaves most of driver.h unused.
FLAGS = ["-std=c11", "-fno-fast-math", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
DRIVER = ["-DSA_CT_CHECK", "-Wno-unused-function", "-Wno-unused-variable"]
REQUIRED = os.environ.get("SECAGG_CT_REQUIRED") == "1"  # set by `make ct`, which installs the tools
X86 = platform.machine() in {"x86_64", "AMD64"}

# Which of the leaks in ct_controls.h each tool must report; the others it must not. No tool sees them all, which is why there are
# several: division is MemorySanitizer's, and the disassembly's below.
SEES = {
    "memcheck": {"branch", "index", "comparison", "keystream"},
    "msan": {"branch", "index", "comparison", "division", "keystream"},
    "trace": {"branch", "comparison", "keystream"},
}
LEAKS = ["branch", "index", "comparison", "division", "keystream", "nothing"]

# Functions that divide, without the suffix of their instruction set, and what by.
DIVIDES = {
    "fixed_encode": "the clip",
    "sa_encode_prepare": "the clip",
    "sa_fixed_decode_u64": "the number of levels",
    "sa_mask_run": "the bytes of a chunk",
    "sa_keystream_fill": "the bytes of a chunk",
    "sa_aes_rounds": "the bytes of a chunk",
    "sa_pack_run_u16": "the width",
    "sa_pack_run_u32": "the width",
    "sa_pack_run_u64": "the width",
    "sa_unpack_run_u16": "the width",
    "sa_unpack_run_u32": "the width",
    "sa_unpack_run_u64": "the width",
    "sa_unpack_add_run_u16": "the width",
    "sa_unpack_add_run_u32": "the width",
    "sa_unpack_add_run_u64": "the width",
    "pack": "the width",
    "unpack": "the width",
    "forward": "the modulus",
    "inverse": "the modulus",
    "multiply_add": "the modulus",
    "multiply_inverse": "the modulus",
    "round_off": "delta",
    "sa_ring_round": "delta",
    "sa_hint_add": "values a coefficient",
    "sa_hint_mask": "width and values a coefficient",
    "sa_hint_open": "width and values a coefficient",
    "sa_hint_store": "values a coefficient",
    "sa_residues_add_u64": "numbers of moduli and buffers",
    "sa_rlwe_add": "the degree",
    "sa_rlwe_add_seeded": "the degree",
    "sa_rlwe_encrypt": "the degree and delta",
    "sa_rlwe_encrypt_seeded": "the degree and delta",
    "sa_rlwe_decrypt": "the degree",
    "sa_rlwe_store": "the degree",
    "payload_apply": "the degree",
    "payload_bytes": "the degree",
}

# Functions that handle nothing secret (CT: secret=none, all of them ciphertexts), and those that name implementations.
NOT_DRIVEN = {
    ("rlwe.c", "ask_ahead"),
    ("rlwe.c", "padding_is_zero"),
    ("rlwe.c", "payload_apply"),
    ("rlwe.c", "piecewise"),
    ("rlwe.c", "unpack"),
    ("ring_lanes.inc.c", "checked_add"),
    ("ring_lanes.inc.c", "fold_or"),
    ("dispatch.c", "sa_compiler"),
    ("dispatch.c", "sa_selected"),
}


def _need(what: str, *, there: bool) -> None:
    if there:
        return
    if REQUIRED:
        pytest.fail(f"no {what}")
    pytest.skip(f"no {what}: `make ct` as root installs it")


def _run(command: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=1500, env={**os.environ, **extra}
    )


class Tool:
    """One build of the driver, and how to run it."""

    def __init__(self, name: str, program: Path, wrapper: list[str]) -> None:
        self.name = name
        self._command = [*wrapper, str(program)]

    def control(self, leak: str) -> bool:
        """Whether this leak is reported."""
        run = _run([*self._command, "control", leak])
        if self.name == "msan" and run.returncode != 0:
            assert "use-of-uninitialized-value" in run.stderr, run.stderr
            return True
        assert run.returncode == 0, run.stderr
        tool, said, reports = run.stdout.split()
        assert (tool, said) == (self.name, leak)
        return int(reports) != 0

    def marked(self, *arguments: str) -> dict[str, dict[str, frozenset[str]]]:
        """Run all cases; for each implementation what was marked in each kernel."""
        run = _run([*self._command, *arguments])
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-6000:]
        out: dict[str, dict[str, frozenset[str]]] = {}
        for line in run.stdout.splitlines():
            tool, isa, kernel, secrets, reports = line.split()
            assert tool == self.name
            assert reports == "0", line
            out.setdefault(isa, {})[kernel] = frozenset(secrets.split(","))
        return out


def _built(tool: str, compiler: str, flags: list[str], folder: Path) -> Tool:
    _need(compiler, there=shutil.which(compiler) is not None)
    wrapper: list[str] = []
    if tool == "memcheck":
        _need(
            "valgrind", there=shutil.which("valgrind") is not None and Path("/usr/include/valgrind/memcheck.h").exists()
        )
        wrapper = ["valgrind", "-q"]
    if tool == "trace":
        # Bound at once, so that a first call takes no other path than a second.
        flags = [*flags, "-DCT_TRACE", "-Wl,-z,now"]
        _need("single steps on this processor", there=X86)
    if tool == "msan":
        flags = [*flags, "-fsanitize=memory", "-include", str(HERE / "ct_msan.h")]
        # The compiler may be there without the sanitizer's library.
        probe = folder / "probe.c"
        probe.write_text("int main(void) { return 0; }\n")
        linked = _run([compiler, "-fsanitize=memory", str(probe), "-o", str(folder / "probe")])
        _need("MemorySanitizer of clang", there=linked.returncode == 0)
    program = folder / "ct"
    files = ["-I", str(ROOT / "native" / "include"), str(HERE / "ct.c"), *map(str, SOURCES), "-lm", "-o", str(program)]
    # Valgrind 3.19 cannot read clang's default, DWARF 5.
    built = _run([compiler, *FLAGS, *DRIVER, "-gdwarf-4", *flags, *files])
    assert built.returncode == 0, built.stderr
    return Tool(tool, program, wrapper)


BUILDS = {
    "memcheck": ("gcc", ["-O3"]),
    "msan": ("clang", ["-O1"]),
    "trace": ("gcc", ["-O3"]),
    # Other optimisers, and the kernels of processors that lack what this one has.
    "memcheck of clang": ("clang", ["-O3"]),
    "memcheck at -O1": ("gcc", ["-O1"]),
    "memcheck without FMA": ("gcc", ["-O3", "-DSA_HIDDEN_FEATURES=(SA_CPU_FMA)"]),
    "msan at -O3": ("clang", ["-O3"]),
    "msan without IFMA": ("clang", ["-O1", "-DSA_HIDDEN_FEATURES=(SA_CPU_IFMA)"]),
}
EVERYDAY = {"memcheck", "msan"}


@pytest.fixture(
    scope="module", params=[pytest.param(b, marks=[] if b in EVERYDAY else [pytest.mark.slow]) for b in BUILDS]
)
def tool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    compiler, flags = BUILDS[request.param]
    return _built(request.param.split()[0], compiler, flags, tmp_path_factory.mktemp("ct"))


def _expected() -> dict[str, frozenset[str]]:
    return {function.name: function.secrets for function in functions() if function.secrets}


def test_every_function_that_is_handed_data_says_what_is_secret() -> None:
    assert len(functions()) >= 50
    for function in functions():
        assert function.line is not None, f"{function.name} has no CT: line"
        assert function.secrets <= set(function.parameters), f"{function.name}: {function.line}"
        assert ALWAYS & set(function.parameters) <= function.secrets, f"{function.name}: {function.line}"


def test_the_page_lists_every_kernel_that_handles_secrets() -> None:
    table = (ROOT / "docs" / "constant-time.md").read_text("utf-8").split("<!-- kernels", 1)[1]
    listed = {}
    for stem, lanes, secrets in re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\| ([^|]*?) \|", table, re.MULTILINE):
        for name in [f"{stem}_{lane}" for lane in lanes.split(", ")] if lanes else [stem]:
            listed[name] = frozenset(secrets.split(", "))
    assert listed == _expected()


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_that_was_built_in_is_reported(tool: Tool, leak: str) -> None:
    assert tool.control(leak) == (leak in SEES[tool.name])


def test_no_secret_decides_anything(tool: Tool) -> None:
    # What memcheck cannot run is traced; the tracer is slow.
    marked = tool.marked("only", "vaes512") if tool.name == "trace" else tool.marked()
    if tool.name == "trace" and not marked:
        pytest.skip("this processor has no AVX-512 with VAES")
    assert marked
    if tool.name != "trace":
        assert "portable" in marked
    for isa, kernels in marked.items():
        assert kernels == _expected(), f"what ct.c marks on {isa} is not what the CT: lines say"


@pytest.mark.slow
def test_only_public_numbers_divide(tmp_path: Path) -> None:
    _need(
        "gcc and objdump for x86-64",
        there=X86 and shutil.which("gcc") is not None and shutil.which("objdump") is not None,
    )
    found: set[str] = set()
    for source in SOURCES:
        built = _run(
            ["gcc", *FLAGS, "-O3", "-I", str(ROOT / "native" / "include"), "-c", str(source), "-o", str(tmp_path / "o")]
        )
        assert built.returncode == 0, built.stderr
        name = ""
        for line in _run(["objdump", "-d", "--no-show-raw-insn", str(tmp_path / "o")]).stdout.splitlines():
            if begin := re.match(r"[0-9a-f]+ <([\w.]+)>:", line):
                name = re.sub(r"_(portable|avx2|avx512|ifma)$", "", begin[1].split(".")[0])
            elif re.search(r"\t(i?div[bwlq]?|v?divs[sd]|v?divp[sd]|v?sqrt[sp][sd])\b", line):
                found.add(name)
    assert "sa_mask_run" in found  # which divides by the size of a chunk: the search finds divisions
    assert found <= set(DIVIDES), "a kernel divides: say by what in DIVIDES, if that is public"


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["ct", "driver"])
def test_every_kernel_of_this_machine_is_driven(driver: str, tmp_path: Path) -> None:
    """By coverage: neither the secrets of ct.c nor the sanitizers of test_driver.py leave a function out."""
    _need("gcov", there=shutil.which("gcc") is not None and shutil.which("gcov") is not None)
    _need("valgrind's headers", there=Path("/usr/include/valgrind/memcheck.h").exists())
    objects = []
    for source in [HERE / f"{driver}.c", *SOURCES]:
        objects.append(str(tmp_path / f"{source.stem}.o"))
        command = [
            "gcc",
            *FLAGS,
            *(DRIVER if driver == "ct" else []),
            "-O0",
            "--coverage",
            "-I",
            str(ROOT / "native" / "include"),
            "-c",
            str(source),
        ]
        built = _run([*command, "-o", objects[-1]])
        assert built.returncode == 0, built.stderr
    assert _run(["gcc", "--coverage", *objects, "-lm", "-o", str(tmp_path / "all")]).returncode == 0
    run = _run([str(tmp_path / "all")])
    assert run.returncode == 0, run.stderr
    counts: dict[tuple[str, str], int] = {}
    for source in SOURCES:
        if driver == "ct" and source.stem.startswith("residues"):
            continue  # ciphertexts, all of it
        for file in json.loads(_run(["gcov", "-t", "-j", str(tmp_path / f"{source.stem}.gcda")]).stdout)["files"]:
            for function in file["functions"]:
                at = (Path(file["file"]).name, function["name"])
                counts[at] = counts.get(at, 0) + function["execution_count"]
    assert counts["mask.c", "sa_mask_run"] > 0
    unused = {at for at, count in counts.items() if count == 0}
    if driver == "driver":
        assert unused <= {("dispatch.c", "sa_compiler")}
        return
    public = {function.name for function in functions() if not function.secrets}
    assert {at for at in unused if at[1] not in public and not at[1].startswith("sa_aes_rounds_")} <= NOT_DRIVEN
