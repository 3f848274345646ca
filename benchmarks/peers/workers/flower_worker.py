"""Runs Flower's own SecAgg+ functions on request: JSON lines in, JSON lines out. Runs under Flower's environment, alone."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module, metadata
from types import SimpleNamespace
from typing import Any

import numpy as np
from flwr.common import bytes_to_ndarray, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.crypto.shamir import create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import encrypt, generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_concat
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation import secaggplus_workflow as workflow
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)

# The package has a function of the same name as this module.
mod = import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
CLIP, TARGET, MODULUS = 1.0, 1 << 16, 1 << 32
ME = 1
clock = time.perf_counter


def update_of(index: int, length: int) -> np.ndarray:
    """Return the update of a client; the same as ours in harness.cohort."""
    base = np.random.default_rng(0).uniform(-1, 1, 2 * length).astype(np.float32)
    return base[(7919 * index) % length :][:length]


def key_pair() -> tuple[bytes, bytes]:
    """Return Flower's private and public key as Flower sends them."""
    private, public = generate_key_pairs()
    return private_key_to_bytes(private), public_key_to_bytes(public)


def agreed(private: bytes, public: bytes) -> bytes:
    """Return Flower's shared key."""
    return generate_shared_key(bytes_to_private_key(private), bytes_to_public_key(public))


class Client:
    """One client's round, stage by stage, through the functions that Flower's mod calls for each message."""

    def __init__(self, clients: int, length: int, threshold: int) -> None:
        self.others = {nid: (key_pair(), key_pair()) for nid in range(ME + 1, clients + 1)}
        self.length, self.clients, self.threshold = length, clients, threshold
        self.parameters = ndarrays_to_parameters([update_of(0, length)])

    def run(self) -> dict[str, Any]:
        """Return what one round took; what the other clients would have sent is made between the stages, untimed."""
        phases: dict[str, float] = {}
        state = mod.SecAggPlusState(nid=ME)
        configs = {
            Key.SAMPLE_NUMBER: self.clients, Key.SHARE_NUMBER: self.clients, Key.THRESHOLD: self.threshold,
            Key.CLIPPING_RANGE: CLIP, Key.TARGET_RANGE: TARGET, Key.MOD_RANGE: MODULUS, Key.MAX_WEIGHT: 1.0,
        }  # fmt: skip
        begin = clock()
        mod._setup(state, configs)  # noqa: SLF001
        phases["keys"] = clock() - begin
        keys = {str(nid): [one[1], two[1]] for nid, (one, two) in self.others.items()}
        keys[str(ME)] = [state.pk1, state.pk2]
        begin = clock()
        mod._share_keys(state, keys)  # noqa: SLF001
        phases["shares"] = clock() - begin
        seed_share, key_share = len(state.rd_seed_share_dict[ME]), len(state.sk1_share_dict[ME])
        sent = [
            encrypt(
                agreed(two[0], state.pk2),
                share_keys_plaintext_concat(nid, ME, os.urandom(seed_share), os.urandom(key_share)),
            )
            for nid, (_, two) in self.others.items()
        ]
        forwarded = {Key.CIPHERTEXT_LIST: sent, Key.SOURCE_LIST: list(self.others)}
        begin = clock()
        masked = mod._collect_masked_vectors(state, forwarded, 1, self.parameters)  # noqa: SLF001
        phases["masked"] = clock() - begin
        lists = {Key.ACTIVE_NODE_ID_LIST: [ME, *self.others], Key.DEAD_NODE_ID_LIST: []}
        begin = clock()
        mod._unmask(state, lists)  # noqa: SLF001
        phases["unmask"] = clock() - begin
        payload = masked[Key.MASKED_PARAMETERS]
        return {
            "seconds": sum(phases.values()),
            "phases": phases,
            "bytes_up": sum(map(len, payload)),
            "error": self._error(state, [bytes_to_ndarray(part) for part in payload]),
        }

    def _error(self, state: Any, vector: list[np.ndarray]) -> float:
        shapes = [part.shape for part in vector]
        vector = parameters_subtraction(vector, pseudo_rand_gen(state.rd_seed, MODULUS, shapes))
        for nid, (one, _) in self.others.items():
            mask = pseudo_rand_gen(agreed(one[0], state.pk1), MODULUS, shapes)
            vector = (parameters_subtraction if nid < ME else parameters_addition)(vector, mask)
        (opened,) = dequantize(parameters_mod(vector, MODULUS)[1:], CLIP, TARGET)
        return float(np.abs(opened - update_of(0, self.length)).max())


class Server:
    """The unmask stage of a full graph, through the method of Flower's workflow.

    The workflow does not run whole with the current Message API: the messages that it makes and gets are stand-ins that hold the
    same contents. Everything between them is Flower's.
    """

    def __init__(self, clients: int, length: int, threshold: int, dropouts: int) -> None:
        nids = list(range(1, clients + 1))
        self.nids, self.dead, self.threshold = nids, set(nids[:dropouts]), threshold
        alive = [nid for nid in nids if nid not in self.dead]
        keys = {nid: key_pair() for nid in nids}
        seeds = {nid: os.urandom(32) for nid in alive}
        secrets = {nid: keys[nid][0] if nid in self.dead else seeds[nid] for nid in nids}
        shares = {nid: create_shares(secret, threshold, clients) for nid, secret in secrets.items()}
        self.public = {nid: [public, b""] for nid, (_, public) in keys.items()}
        self.replies = [
            SimpleNamespace(
                has_error=lambda: False,
                metadata=SimpleNamespace(src_node_id=holder),
                content=SimpleNamespace(
                    config_records={
                        RECORD_KEY_CONFIGS: {
                            Key.NODE_ID_LIST: nids, Key.SHARE_LIST: [shares[nid][holder - 1] for nid in nids],
                        }
                    }
                ),
            )
            for holder in alive
        ]  # fmt: skip
        total: list[np.ndarray] = []
        for nid in alive:
            plain = factor_combine(TARGET, quantize([update_of(nid - 1, length)], CLIP, TARGET))
            total = parameters_addition(total, plain) if total else plain
        shapes = [part.shape for part in total]
        for nid in alive:
            total = parameters_addition(total, pseudo_rand_gen(seeds[nid], MODULUS, shapes))
            for dead in self.dead:
                mask = pseudo_rand_gen(agreed(keys[nid][0], keys[dead][1]), MODULUS, shapes)
                total = (parameters_addition if nid > dead else parameters_subtraction)(total, mask)
        self.masked = parameters_mod(total, MODULUS)

    def run(self, out: str) -> float:
        """Return the seconds of one unmask stage, and save the mean."""
        workflow.Message = lambda *_, **fields: SimpleNamespace(**fields)
        context: Any = SimpleNamespace(
            state=SimpleNamespace(config_records={MAIN_CONFIGS_RECORD: {WorkflowKey.CURRENT_ROUND: 1}}),
            strategy=SimpleNamespace(aggregate_fit=lambda *_: (None, {})),
        )
        fitres = SimpleNamespace(parameters=None)
        state = workflow.WorkflowState(
            sampled_node_ids=set(self.nids), active_node_ids=set(self.nids) - self.dead, threshold=self.threshold,
            clipping_range=CLIP, quantization_range=TARGET, mod_range=MODULUS,
            nid_to_neighbours={nid: set(self.nids) for nid in self.nids}, nid_to_publickeys=self.public,
            aggregate_ndarrays=self.masked, legacy_results=[(None, fitres)],
        )  # fmt: skip
        grid: Any = SimpleNamespace(send_and_receive=lambda *_, **__: self.replies)
        flow = workflow.SecAggPlusWorkflow(
            len(self.nids), self.threshold, max_weight=1.0, clipping_range=CLIP, quantization_range=TARGET
        )
        begin = clock()
        done = flow.unmask_stage(grid, context, state)
        seconds = clock() - begin
        if not done:
            raise RuntimeError("Flower's unmask stage gave up")
        np.save(out, parameters_to_ndarrays(fitres.parameters)[0])
        return seconds


def serve() -> None:
    """Answer requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints may get between the answers
    kept: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        result: Any = None
        match request.pop("do"):
            case "versions":
                result = {name: metadata.version(name) for name in ("flwr", "cryptography", "pycryptodome", "numpy")}
            case "client":
                place = json.dumps(request)
                if place not in kept:
                    kept[place] = Client(**request)
                result = kept[place].run()
            case "prepare_server":
                kept["server"] = Server(**request)
            case "server":
                result = kept["server"].run(**request)
        answers.write(json.dumps({"result": result}) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
