"""Secure aggregation for federated learning: each client's update stays hidden, the server learns only the exact sum."""

from secagg import errors
from secagg._kernels import build_info
from secagg.aggregate import Aggregate, EncryptedAggregate
from secagg.client import Client
from secagg.encoding import FixedPoint, Integer, Layout
from secagg.holder import KeyHolder
from secagg.identity import Identity, PublicKey, Roster
from secagg.member import Member
from secagg.params import Params
from secagg.planner import plan
from secagg.receipt import Receipt
from secagg.server import Server
from secagg.simulate import simulate
from secagg.wire import HOLDER

__version__ = "0.1.0"

__all__ = [
    "HOLDER",
    "Aggregate",
    "Client",
    "EncryptedAggregate",
    "FixedPoint",
    "Identity",
    "Integer",
    "KeyHolder",
    "Layout",
    "Member",
    "Params",
    "PublicKey",
    "Receipt",
    "Roster",
    "Server",
    "__version__",
    "build_info",
    "errors",
    "plan",
    "simulate",
]
