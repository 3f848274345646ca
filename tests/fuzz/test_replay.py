"""Every input that fuzzing kept or found a bug with, once more; and the harness sees what it is there to see."""

from __future__ import annotations

import faulthandler
import os
import shutil
import subprocess
import tracemalloc

import pytest

from fuzz import corpora
from fuzz.native import build
from fuzz.recipe import CHANGES, Recipe, change
from fuzz.targets import TARGETS, load
from secagg.errors import AbortError, AuthenticationError
from secagg.protocols.ckks.intake import Intake as CkksIntake
from secagg.protocols.oneshot.intake import Intake as OneshotIntake
from secagg.protocols.pairwise.intake import Intake
from secagg.store import Ledger

COMPILER = shutil.which("cc")
MOST_BYTES = 64 << 20  # that reading one input may take
HANG = 900.0


@pytest.fixture(autouse=True)
def no_hang():
    """What hangs in C cannot be interrupted: say where, and end."""
    faulthandler.dump_traceback_later(HANG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def inputs(name):
    return corpora.read(corpora.CRASHES / f"{name}.txt") + corpora.read(corpora.CORPUS / f"{name}.txt")


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_pass(name):
    target, kept = load(name), inputs(name)
    assert len(kept) >= 2
    for each in kept:
        target.run(each)


@pytest.mark.parametrize("name", ["frames", "bodies", "params", "toml", "roster", "keys", "policy", "receipt", "seal"])
def test_kept_inputs_take_little_memory(name):
    target = load(name)
    tracemalloc.start()
    try:
        for each in inputs(name):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            target.run(each)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < MOST_BYTES, each.hex()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("folder", [corpora.CORPUS, corpora.CRASHES], ids=lambda path: path.name)
def test_corpora_belong_to_a_target_and_stay_small(folder):
    for path in folder.iterdir():
        assert path.stem in {*TARGETS, *build.TARGETS}
        assert path.stat().st_size <= corpora.MAX_BYTES


def test_corpora_are_written_as_they_are_read(tmp_path):
    given = [b"", b"\x00", b"abc", b"a" * corpora.MAX_BYTES]
    assert corpora.write(tmp_path / "one.txt", given, "a remark") == 3
    assert corpora.read(tmp_path / "one.txt") == given[:3]
    corpora.unpack(given[:3], tmp_path / "work")
    assert sorted(path.read_bytes() for path in (tmp_path / "work").iterdir()) == given[:3]


def test_a_recipe_makes_the_same_change_again_and_no_monster():
    value = [1, b"x" * 100, ["a", None, 1.5], {"b": [b""]}]
    for seed in range(200):
        data = bytes((seed * 7 + i * 13) % 256 for i in range(60))
        made = []
        for _ in range(2):
            recipe, each = Recipe(data), value
            for _ in range(CHANGES):
                each = change(recipe, each)
            made.append(repr(each))
        assert made[0] == made[1]
        assert len(made[0]) < 1 << 20


def _raise(error):
    def instead(*args, **kwargs):
        raise error

    return instead


@pytest.mark.parametrize(
    "name, where, what",
    [
        ("pairwise_server", Intake, "_take_advertisement"),
        ("ckks_server", CkksIntake, "_take_header"),
        ("oneshot_server", OneshotIntake, "_take_answer"),
    ],
)
@pytest.mark.parametrize("error", [KeyError("planted"), AbortError("planted")], ids=["untyped", "abort"])
def test_a_planted_error_is_seen(monkeypatch, name, where, what, error):
    monkeypatch.setattr(where, what, _raise(error))
    target = load(name)
    with pytest.raises((KeyError, AbortError, AssertionError), match=r"planted|ended the round"):
        for each in target.seeds():
            target.run(each)


def test_state_that_a_refused_frame_leaves_is_seen(monkeypatch):
    taken = Intake._take_advertisement

    def careless(self, sender, frame, body):
        self._state.batch.keys_seen.add(body.channel_key)
        taken(self, sender, frame, body)

    monkeypatch.setattr(Intake, "_take_advertisement", careless)
    target = load("pairwise_server")
    with pytest.raises(AssertionError, match="refused changed something"):
        for each in target.seeds():
            target.run(each)


def test_a_lie_that_is_believed_is_seen(monkeypatch):
    """A server that takes any chunk has a wrong sum at the end of the round, which no refused lie explains."""
    monkeypatch.setattr("secagg.protocols.pairwise.intake.aead.gmac_verify", lambda *args: None)
    monkeypatch.setattr("fuzz.targets.receive.OFTEN", 1)
    target = load("pairwise_server")
    made = target.run.__self__.stages()[2]()
    before = target.run.__self__.seen(made)
    lie = next(frame for name, frame in made.frames if frame[3] == 0)
    target.run.__self__.tell(made, "c0", lie[:-1] + bytes([lie[-1] ^ 1]))
    assert made.changed
    assert target.run.__self__.seen(made) != before


def test_a_ledger_that_believes_its_file_is_seen(monkeypatch):
    monkeypatch.setattr(Ledger, "_open", _raise(TypeError("planted")))
    with pytest.raises(TypeError, match="planted"):
        load("ledger")


def test_a_liar_who_is_caught_is_no_finding():
    assert issubclass(AuthenticationError, Exception)
    for name in ("pairwise_client", "ckks_holder"):
        target = load(name)
        for each in list(target.seeds())[:40]:
            target.run(each)


@pytest.fixture(scope="session")
def replay(tmp_path_factory):
    """The C targets in one program, under the sanitizers that the compiler has."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("replay")
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    works = subprocess.run(
        [COMPILER, *sanitize, str(probe), "-o", str(folder / "probe")], check=False, capture_output=True
    )
    flags = ["-std=c11", "-O1", "-ffp-contract=off", "-I", str(build.ROOT / "native" / "include")]
    flags += sanitize if works.returncode == 0 else []
    objects = []
    for name in build.TARGETS:
        objects.append(str(folder / f"{name}.o"))
        source = str(build.HERE / f"fuzz_{name}.c")
        named = [f"-DLLVMFuzzerTestOneInput=fuzz_{name}", "-Wno-unused-function"]
        subprocess.run([COMPILER, *flags, *named, "-c", source, "-o", objects[-1]], check=True)
    program = folder / "replay"
    sources = [str(build.HERE / "replay.c"), *map(str, build.SOURCES)]
    subprocess.run([COMPILER, *flags, *sources, *objects, "-lm", "-o", str(program)], check=True)
    return program


@pytest.mark.parametrize("name", build.TARGETS)
def test_kept_inputs_of_the_kernels_pass(replay, name):
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
    for folder in (corpora.CORPUS, corpora.CRASHES):
        path = folder / f"{name}.txt"
        if path.is_file():
            told = subprocess.run([str(replay), name, str(path)], check=False, capture_output=True, text=True, env=env)
            assert told.returncode == 0, told.stderr[-3000:]
            assert int(told.stdout) == len(corpora.read(path)) > 0
