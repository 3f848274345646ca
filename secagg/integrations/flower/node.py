"""What a node brings of its own: identity, roster, ledger and policy, from files that only its operator names.

They come from ``node_config`` alone. ``run_config`` is written by whoever starts a run, and may only ask for a simulation, which
a node with entries of its own refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context

from secagg.errors import AuthenticationError, InputError, ParameterError
from secagg.identity import Identity, Roster
from secagg.integrations.flower.enrolment import Trust, check_trust, roster_from, roster_settings
from secagg.integrations.policy import Policy
from secagg.integrations.sessions import needed, session_of, session_of_kind
from secagg.params import Params

__all__ = ["Node", "load_node"]

IDENTITY, ROSTER, LEDGER, HOLDER_LEDGER, POLICY, NAME, TRUST, SESSION = (
    "secagg-identity", "secagg-roster", "secagg-ledger", "secagg-holder-ledger", "secagg-policy", "secagg-name",
    "secagg-trust", "secagg-session",
)  # fmt: skip
PREFIX = "secagg-"
KEPT = "secagg.node"  # what a simulated node keeps in Context.state


@dataclass(frozen=True, repr=False)
class Node:
    """One node's side of a federation; `roster` is None until the server has shown one to trust at first use."""

    trust: Trust
    name: str  # empty: no client lives here, only the key holder
    identity: Identity
    roster: Roster | None
    ledger: str | None
    holder_ledger: str | None
    policy: Policy | None  # none in a simulation: there is nobody to protect
    session: bytes | None = None  # what was agreed beforehand, for a committee that is drawn

    def session_for(self, params: Params, settings: dict[str, Any]) -> bytes | None:
        """Return the session id that this node insists on: of its own config, or in a simulation the server's.

        Raises
        ------
        ParameterError
            The Params draw a committee, and nothing was agreed beforehand.
        """
        agreed = self.session
        if self.trust == "simulation" and isinstance(settings.get("session"), bytes):
            agreed = settings["session"]
        if agreed is None:
            needed(params, f"{SESSION} of this node's config")
            return None
        return session_of_kind(agreed, "train" if settings.get("step") == "train" else "evaluate")

    @property
    def holds(self) -> bool:
        """Whether this node takes the part of the key holder, if the roster's is its key."""
        return self.trust == "simulation" or self.holder_ledger is not None

    def trusting(self, settings: dict[str, Any], context: Context) -> Node:
        """Return this node with a roster: its own, or the first one that it is shown, which it keeps.

        Raises
        ------
        AuthenticationError
            There is no roster yet, and none in the message, or one without this node.
        """
        if self.roster is not None:
            return self
        shown, key = roster_from(settings), self.identity.verify_key
        listed = shown.key(self.name) == key if self.name in shown else not self.name
        # A declared holder has its key in the roster or is none: a server that names another one was to be trusted once.
        if not listed or (self.holder_ledger is not None and shown.holder != key):
            raise AuthenticationError("the roster that the server shows does not have this node's key")
        if self.trust == "simulation":
            context.state[KEPT] = ConfigRecord(dict(context.state[KEPT]) | roster_settings(shown))
        else:
            shown.save(_path(context, ROSTER))
        return replace(self, roster=shown)


def _path(context: Context, key: str) -> str:
    value = context.node_config.get(key)
    if not isinstance(value, str) or not value:
        raise ParameterError(f"this node's config lacks {key}: flower-supernode --node-config '{key}=\"...\"'")
    return value


def load_node(context: Context, *, simulation: bool = False) -> Node:
    """Return what this node brings, read anew: every message may come to a new process.

    Parameters
    ----------
    context : Context
    simulation : bool
        What `run_config` can ask for too: a node whose config has no entry of this package's makes an identity for this run.

    Raises
    ------
    ParameterError
        The node's config lacks something, or the run asks for another trust than the node's.
    InputError
        A file cannot be read, or is of another kind.
    """
    simulation = simulation or context.run_config.get(TRUST) == "simulation"
    # Whoever gave a node any of these entries wants it protected, even if another one was forgotten.
    own = sorted(key for key in context.node_config if key.startswith(PREFIX) and key != TRUST)
    trust = check_trust(context.node_config.get(TRUST, "simulation" if simulation and not own else "roster"))
    if simulation and trust == "simulation" and not own:
        return _simulated(context)
    if simulation or trust == "simulation":
        raise ParameterError(
            f"a simulation needs a run that asks for it and a node of no other kind; this node's config has {own or TRUST}"
        )
    try:
        return _deployed(context, trust)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from None


def _deployed(context: Context, trust: Trust) -> Node:
    path, roster_path = Path(_path(context, IDENTITY)), Path(_path(context, ROSTER))
    if trust == "first-use" and not path.exists():
        Identity.generate().save(path)
    identity = Identity.load(path)
    policy = Policy.load(_path(context, POLICY)) if POLICY in context.node_config else Policy()
    holder_ledger = _path(context, HOLDER_LEDGER) if HOLDER_LEDGER in context.node_config else None
    roster = None if trust == "first-use" and not roster_path.exists() else Roster.load(roster_path)
    if roster is None:
        name = "" if holder_ledger is not None and NAME not in context.node_config else _path(context, NAME)
    else:
        name = next((name for name in roster if roster.key(name) == identity.verify_key), "")
        if holder_ledger is not None and roster.holder != identity.verify_key:
            raise ParameterError(
                f"{HOLDER_LEDGER} is given, but the key in {path} is not the holder's on {roster_path}"
            )
        if not name and holder_ledger is None:
            raise ParameterError(f"the key in {path} is not on the roster {roster_path}")
    needed = bool(name) and policy.ledger
    ledger = _path(context, LEDGER) if LEDGER in context.node_config or needed else None
    session = session_of(context.node_config[SESSION], SESSION) if SESSION in context.node_config else None
    return Node(trust, name, identity, roster, ledger, holder_ledger, policy, session)


def _simulated(context: Context) -> Node:
    if KEPT not in context.state:
        context.state[KEPT] = ConfigRecord({"identity": Identity.generate().to_bytes()})
    kept = dict(context.state[KEPT])
    name = f"node-{context.node_config.get('partition-id', context.node_id)}"
    roster = roster_from(kept) if "ids" in kept else None
    return Node("simulation", name, Identity.from_bytes(kept["identity"]), roster, None, None, None)
