"""Flower's SecAgg+, if flwr is installed beside this package: its own functions, called as its mod and its workflow call them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from importlib import import_module, metadata
from types import SimpleNamespace
from typing import Any

import numpy as np

from secagg.cli.bench.estimate import Terms
from secagg.cli.bench.figures import Phase, Sample, Size
from secagg.cli.bench.memory import Meter
from secagg.cli.bench.protections import Missing
from secagg.cli.bench.session import updates_of

__all__ = ["Flower"]

CLIP, MODULUS = 1.0, 1 << 32
MOST_BITS = 22  # Flower's quantized values and their sum have to stay below its modulus
ME = 1


class Flower:
    """One client's four messages in a full graph, and the server's unmask stage.

    The other clients are keys and shares made outside the clock. The workflow does not run whole with Flower's current Message
    API: the messages around its unmask stage are stand-ins with the same contents, everything between them is Flower's.
    """

    name, title = "peer flower", "peer: Flower SecAgg+"
    terms = Terms(client=("nL", "n", "L", "1"), server=("nL", "n", "nnn", "nn", "1"), holder=(), power=3, real=1)
    setup: tuple[str, ...] = ("keys", "shares")
    exchanges, holder_exchanges = 4, 0
    bytes_a_value = 24.0

    def __init__(self) -> None:
        self._size = Size(1, 1, 1, 0)
        self._target = 1 << 16

    def prepare(self, size: Size) -> None:
        """Find Flower's functions; Missing if they are not there."""
        self._size, self._target = size, 1 << min(size.bits, MOST_BITS)
        base = "flwr.common.secure_aggregation"
        try:
            version = metadata.version("flwr")
        except metadata.PackageNotFoundError:
            raise Missing("flwr is not installed beside secagg: pip install flwr") from None
        try:
            self._mod = import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
            self._workflow: Any = import_module("flwr.server.workflow.secure_aggregation.secaggplus_workflow")
            self._constants = import_module("flwr.server.workflow.constant")
            self._parameters = import_module("flwr.common")
            self._keys = import_module("flwr.supercore.primitives.asymmetric")
            self._symmetric = import_module(f"{base}.crypto.symmetric_encryption")
            self._shamir = import_module(f"{base}.crypto.shamir")
            self._arithmetic = import_module(f"{base}.ndarrays_arithmetic")
            self._quantization = import_module(f"{base}.quantization")
            self._names = import_module(f"{base}.secaggplus_constants")
            self._utils = import_module(f"{base}.secaggplus_utils")
        except ImportError as absent:
            raise Missing(f"flwr {version} is not laid out as this adapter expects: {absent}") from None
        logging.getLogger("flwr").setLevel(logging.ERROR)
        self.title = f"peer: Flower {version} SecAgg+"

    def _pair(self) -> tuple[bytes, bytes]:
        private, public = self._keys.generate_key_pairs()
        return self._keys.private_key_to_bytes(private), self._keys.public_key_to_bytes(public)

    def _agreed(self, private: bytes, public: bytes) -> bytes:
        made = self._symmetric.generate_shared_key(
            self._keys.bytes_to_private_key(private), self._keys.bytes_to_public_key(public)
        )
        return bytes(made)

    def _threshold(self, clients: int) -> int:
        return max(2, clients - max(self._size.lost_of(clients), -(-clients // 10)))

    def run(self, clients: int, length: int, meter: Meter | None = None) -> Sample:
        """Run one client among so many, and the server's last stage."""
        begin = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            phases = self._client(clients, length, meter)
            seconds, error = self._server(clients, length, meter)
        last = phases["unmask"]
        phases["unmask"] = Phase(client=last.client, server=seconds, up=last.up, down=last.down)
        return Sample(clients, length, phases, time.perf_counter() - begin, error)

    def _client(self, clients: int, length: int, meter: Meter | None) -> dict[str, Phase]:
        key, mod = self._names.Key, self._mod
        others = {nid: (self._pair(), self._pair()) for nid in range(ME + 1, clients + 1)}
        update = self._parameters.ndarrays_to_parameters([updates_of(length)(0)])
        state = mod.SecAggPlusState(nid=ME)
        configs = {
            key.SAMPLE_NUMBER: clients, key.SHARE_NUMBER: clients, key.THRESHOLD: self._threshold(clients),
            key.CLIPPING_RANGE: CLIP, key.TARGET_RANGE: self._target, key.MOD_RANGE: MODULUS, key.MAX_WEIGHT: 1.0,
        }  # fmt: skip
        took: dict[str, tuple[float, Any]] = {}

        def timed(phase: str, do: Any, *arguments: Any) -> Any:
            if meter is not None:
                made = meter.watch("client", "client", lambda: do(*arguments))
            else:
                begin = time.perf_counter()
                made = do(*arguments)
                took[phase] = time.perf_counter() - begin, made
            took.setdefault(phase, (0.0, made))
            return made

        timed("keys", mod._setup, state, configs)  # noqa: SLF001  # what its mod calls for each message
        keys = {str(nid): [one[1], two[1]] for nid, (one, two) in others.items()} | {str(ME): [state.pk1, state.pk2]}
        timed("shares", mod._share_keys, state, keys)  # noqa: SLF001
        seed, secret = len(state.rd_seed_share_dict[ME]), len(state.sk1_share_dict[ME])
        boxes = [
            self._symmetric.encrypt(
                self._agreed(two[0], state.pk2),
                self._utils.share_keys_plaintext_concat(nid, ME, os.urandom(seed), os.urandom(secret)),
            )
            for nid, (_, two) in others.items()
        ]
        forwarded = {key.CIPHERTEXT_LIST: boxes, key.SOURCE_LIST: list(others)}
        timed("masked", mod._collect_masked_vectors, state, forwarded, 1, update)  # noqa: SLF001
        asked = {key.ACTIVE_NODE_ID_LIST: [ME, *others], key.DEAD_NODE_ID_LIST: []}
        timed("unmask", mod._unmask, state, asked)  # noqa: SLF001
        down = {"keys": configs, "shares": keys, "masked": forwarded, "unmask": asked}
        return {
            name: Phase(client=spent, up=_bytes(made), down=_bytes(down[name])) for name, (spent, made) in took.items()
        }

    def _server(self, clients: int, length: int, meter: Meter | None) -> tuple[float, float]:
        """Return the seconds of one unmask stage, and the error of its mean."""
        key, updates, arithmetic = self._names.Key, updates_of(length), self._arithmetic
        nids, lost = list(range(1, clients + 1)), self._size.lost_of(clients)
        dead, threshold = set(nids[:lost]), self._threshold(clients)
        alive = [nid for nid in nids if nid not in dead]
        keys, seeds = {nid: self._pair() for nid in nids}, {nid: os.urandom(32) for nid in alive}
        shares = {
            nid: self._shamir.create_shares(keys[nid][0] if nid in dead else seeds[nid], threshold, clients)
            for nid in nids
        }
        replies = [
            SimpleNamespace(
                has_error=lambda: False,
                metadata=SimpleNamespace(src_node_id=holder),
                content=SimpleNamespace(
                    config_records={
                        self._names.RECORD_KEY_CONFIGS: {
                            key.NODE_ID_LIST: nids, key.SHARE_LIST: [shares[nid][holder - 1] for nid in nids],
                        }
                    }
                ),
            )
            for holder in alive
        ]  # fmt: skip
        total: list[Any] = []
        for nid in alive:
            plain = arithmetic.factor_combine(
                self._target, self._quantization.quantize([updates(nid - 1)], CLIP, self._target)
            )
            total = arithmetic.parameters_addition(total, plain) if total else plain
        shapes = [part.shape for part in total]
        for nid in alive:
            mask = self._utils.pseudo_rand_gen(seeds[nid], MODULUS, shapes)
            total = arithmetic.parameters_addition(total, mask)
            for other in dead:
                mask = self._utils.pseudo_rand_gen(self._agreed(keys[nid][0], keys[other][1]), MODULUS, shapes)
                join = arithmetic.parameters_addition if nid > other else arithmetic.parameters_subtraction
                total = join(total, mask)
        fitted = SimpleNamespace(parameters=None)
        state = self._workflow.WorkflowState(
            sampled_node_ids=set(nids), active_node_ids=set(alive), threshold=threshold, clipping_range=CLIP,
            quantization_range=self._target, mod_range=MODULUS, nid_to_neighbours={nid: set(nids) for nid in nids},
            nid_to_publickeys={nid: [public, b""] for nid, (_, public) in keys.items()},
            aggregate_ndarrays=arithmetic.parameters_mod(total, MODULUS), legacy_results=[(None, fitted)],
        )  # fmt: skip
        constants = self._constants
        context: Any = SimpleNamespace(
            state=SimpleNamespace(config_records={constants.MAIN_CONFIGS_RECORD: {constants.Key.CURRENT_ROUND: 1}}),
            strategy=SimpleNamespace(aggregate_fit=lambda *_: (None, {})),
        )
        grid: Any = SimpleNamespace(send_and_receive=lambda *_, **__: replies)
        flow = self._workflow.SecAggPlusWorkflow(
            clients, threshold, max_weight=1.0, clipping_range=CLIP, quantization_range=self._target
        )
        own, self._workflow.Message = self._workflow.Message, lambda *_, **fields: SimpleNamespace(**fields)
        try:
            begin = time.perf_counter()
            if meter is None:
                done = flow.unmask_stage(grid, context, state)
            else:
                done = meter.watch("server", "", lambda: flow.unmask_stage(grid, context, state))
            seconds = time.perf_counter() - begin
        finally:
            self._workflow.Message = own
        if not done:
            raise Missing("Flower's unmask stage gave up")
        mean = self._parameters.parameters_to_ndarrays(fitted.parameters)[0]
        exact = sum((updates(nid - 1) for nid in alive), np.zeros(length)) / len(alive)
        return seconds, float(np.abs(mean - exact).max())

    def words(self) -> tuple[str, str]:
        """Say how secure it is, and who learns what."""
        return (
            (
                "masks by a Mersenne Twister from a seed of 32 bits: no cryptographic generator; unsigned keys; a server that "
                "follows the protocol"
            ),
            "server: sum, every client's weight, who took part; clients: who took part",
        )

    def error_bound(self) -> float | None:
        """Return the step of its quantization."""
        return 2 * CLIP / self._target

    def facts(self) -> dict[str, Any]:
        """Return Flower's version."""
        return {
            "flwr": metadata.version("flwr"),
            "note": "server: the unmask stage alone",
        }


def _bytes(record: Any) -> int:
    """Return the bytes of what a message holds, without its framing."""
    if isinstance(record, dict):
        return sum(_bytes(value) for value in record.values())
    if isinstance(record, list | tuple):
        return sum(map(_bytes, record))
    return len(record) if isinstance(record, bytes | str) else 8
