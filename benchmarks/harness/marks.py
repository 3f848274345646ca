"""The marks: what each named ratio has to reach. A mark that is not met stays in the table, as not met."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MARKS", "Mark"]


@dataclass(frozen=True)
class Mark:
    """A bound: at least so much (peer's time / ours, or bound / ours), or at most so much (ours / peer's, or a size)."""

    most: bool
    bound: float
    unit: str = "x"

    def met(self, value: float) -> bool:
        """Whether a measured value reaches the mark."""
        return value <= self.bound if self.most else value >= self.bound

    def __str__(self) -> str:
        return f"{'<=' if self.most else '>='} {self.bound:g}{'' if self.unit == 'x' else ' ' + self.unit}"


def _least(bound: float) -> Mark:
    return Mark(most=False, bound=bound)


def _most(bound: float, unit: str = "x") -> Mark:
    return Mark(most=True, bound=bound, unit=unit)


MARKS = {
    "mask_vs_bound": _least(0.85),
    "mask_vs_cryptography": _least(3),
    "client_vs_flower_k10": _least(15),
    "client_vs_flower_k100": _least(60),
    "server_vs_flower_n100": _least(300),
    "server_vs_plaintext": _most(3),
    "server_vs_plaintext_drop10": _most(5),
    "shamir_vs_pycryptodome": _least(300),
    "bytes_vs_plaintext": _most(0.73),
    "client_peak_memory": _most(64, "MB"),
    "client_setup_k100": _most(10, "ms"),
    "server_rebuild_k100": _most(20, "ms"),
    "ckks_encrypt_vs_tenseal": _least(40),
    "ckks_seeded_vs_tenseal": _least(100),
    "ckks_server_vs_tenseal": _least(40),
    "ckks_decrypt_vs_tenseal": _least(10),
    "ckks_bytes_n10": _most(8.5, "B/value"),
    "ckks_bytes_n1000": _most(11, "B/value"),
    "ckks_interop_add_vs_tenseal": _least(1.5),
    "ckks_interop_add_vs_tenseal_uncompressed": _least(12),
    "flower_round_vs_plain": _most(1.3),
    "oneshot_client_vs_pairwise": _least(4),
    "oneshot_server_dropout": _most(1.1),
    "oneshot_server_vs_plaintext": _most(4),
    "oneshot_bits_n100": _most(27.5, "bits"),
    "oneshot_bits_n1000": _most(30, "bits"),
    "oneshot_shares_rho16": _most(60, "kB"),
}
