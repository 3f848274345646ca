"""Clients that lack one rule each. An attack has to be seen winning against one of them, or a test of it could not fail.

They are the reference implementation's client with something taken out, behind the verbs of `secagg.Client`; they sit in a
`Federation` among clients of the engine, and get the same frames from the same attacker.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Collection

from reference import errors
from reference.party import Client
from reference.settings import Roster, Settings
from secagg import errors as engine_errors

__all__ = ["AnswersTwice", "NoMinimum", "OneMask", "ShortSeeds", "TellsItsWeight", "weaken"]


class AnswersTwice(Client):
    """Forgets that it has answered, as one does that keeps no state between two messages."""

    def _unmask(self, payload, body):
        super()._unmask(payload, body)
        self.round.state = "submitted"


class NoMinimum(Client):
    """Accepts a cohort, participants and survivors of any number."""

    def __init__(self, settings, *rest):
        settings = copy.copy(settings)
        settings.m = settings.min_cohort = 1
        super().__init__(settings, *rest)


class ShortSeeds(Client):
    """Folds each mask seed to 16 bits before it is expanded."""

    BITS = 16

    def masks(self, round_id, participants):
        return [(self.folded(key), sign) for key, sign in super().masks(round_id, participants)]

    @classmethod
    def folded(cls, key):
        """The seed that is used in place of `key`."""
        short = 0
        for at in range(0, len(key), 4):
            short ^= int.from_bytes(key[at : at + 4], "little")
        return cls.candidate((short ^ short >> 16) % 2**cls.BITS)

    @staticmethod
    def candidate(number):
        """The seed that a number of `BITS` bits stands for."""
        return hashlib.sha256(number.to_bytes(8, "little")).digest()[:16]


class OneMask(Client):
    """Masks every round as it masked its first one."""

    first = None

    def masks(self, round_id, participants):
        self.first = self.first or super().masks(round_id, participants)
        return self.first


class TellsItsWeight(Client):
    """Sends its weight beside the update, in clear."""

    def submit(self, values, weight=1, metrics=(), context=b""):
        super().submit(values, weight, metrics, b"weight %d" % weight)


class Seat:
    """A reference client with the verbs and errors of `secagg.Client`, for flat updates."""

    def __init__(self, client):
        self.client = client

    @property
    def awaiting(self):
        return self.client.awaiting

    def receive(self, frame):
        try:
            self.client.receive(frame)
        except (errors.PeerError, errors.AbortError) as error:
            raise getattr(engine_errors, type(error).__name__)(str(error)) from None

    def submit(self, update, weight=1, metrics=None, context=b""):
        self.client.submit([int(x) for x in update], weight, list((metrics or {}).values()), context)

    def outbox(self):
        return self.client.outbox()


def weaken(f, kind, names: Collection[str]):
    """Put clients that lack a rule into some seats of a federation."""
    keys = {name: f.roster.key(name) for name in f.roster}
    roster, settings = Roster(f.roster.server, keys), Settings(f.params.to_bytes())
    for name in names:
        f.clients[name] = Seat(kind(settings, roster, name, f.keys[name].to_bytes(), os.urandom))
    return f
