"""Two requests for two sets of one round, handed to a client without a ledger by two threads at once."""

import contextlib
import threading

from secagg.errors import EquivocationError
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.messages import Kind
from support.committee import Committee


def race(monkeypatch, party, frames):
    """Hand each frame over in a thread of its own, and let whoever answers wait for the other to get as far."""
    both, errors = threading.Barrier(2, timeout=0.5), []
    honest = sharing.add_shares

    def add(shares):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait()
        return honest(shares)

    def take(frame):
        try:
            party.receive(frame)
        except EquivocationError as error:
            errors.append(error)

    monkeypatch.setattr(sharing, "add_shares", add)
    threads = [threading.Thread(target=take, args=(frame,)) for frame in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_client_answers_for_one_of_two_sets_that_come_at_once(monkeypatch):
    f = Committee(8, corrupt=1, min_clients=5)
    f.until("reveal")
    frame = f.asked(Kind.REVEAL_REQUEST)["c0"]
    errors = race(monkeypatch, f.clients["c0"], [frame, f.fewer(frame, 5)])
    assert len(errors) == 1
    assert len(f.clients["c0"].outbox()) == 1
