"""Frames of oneshot that must be refused, at the places of the script where they would do harm; made with everybody's keys."""

from reference import frames
from reference.field import P
from reference.frames import HOLDER
from reference.hashes import digest
from reference.oneshot_common import chunk
from reference.oneshot_member import write_share
from vectors.ckks_refusals import with_fields
from vectors.pairwise_refusals import (
    AUTH,
    DECODE,
    NOT_CANONICAL,
    OTHER,
    OTHER_SESSION,
    PEER,
    SMALL_ORDER,
    TWICE,
    badly_signed,
    flipped,
    identity,
    malformed,
    remade,
)


def place(session):
    """Return the session's name, the round and the phase."""
    return session.name, session.round_id, session.server.phase


def rechunked(session, frame, at=None, payload=None, key_hash=None, sender=None):
    """Return a chunk with another place or payload, validly signed."""
    _, (own, name, *old_at, _, old) = frames.outer(frame)
    name, key_hash = sender or name, key_hash or session.server.batch.setup.hash
    return chunk(identity(name), own, name, key_hash, at or old_at, old if payload is None else payload)


def keyed(frame, keys, at=4):
    """Return a request that names and shows other member keys."""
    session = frames.outer(frame)[1][0]
    return remade(frame, {2: digest("oneshot-setup", session, *keys), at: keys})


def other_keys(keys, server_key):
    """Return lists of members' keys that make no setup."""
    ana, bo, cy, eva = keys

    def every(changes):
        return [remade(key, changes) for key in keys]

    return [
        ([ana, bo, badly_signed(cy), eva], AUTH, "a key with a forged signature"),
        ([ana, bo, remade(cy, signer="ana"), eva], AUTH, "a key signed by another"),
        ([ana, bo, remade(cy, session=OTHER_SESSION), eva], AUTH, "a key of another session"),
        ([ana, bo, remade(cy, kind=frames.MEMBER_REQUEST), eva], AUTH, "a frame that is no key"),
        ([ana, bo, cy, remade(eva, sender="zed")], AUTH, "a key of a stranger"),
        ([ana, cy, bo, eva], AUTH, "keys unsorted"),
        ([ana, bo, bo, cy], AUTH, "a member twice"),
        ([ana, bo], PEER, "fewer keys than T"),
        ([ana, bo, cy, eva, eva], PEER, "more keys than members"),
        (every({1: 3}), AUTH, "keys for another number of rounds"),
        (every({2: OTHER}), AUTH, "keys under other Params"),
        (every({3: OTHER}), AUTH, "keys for another roster"),
        (every({4: SMALL_ORDER}), AUTH, "a server key of small order"),
        ([ana, bo, cy, remade(eva, {4: frames.public(OTHER)})], AUTH, "a key that answers another request"),
        ([ana, bo, cy, remade(eva, {0: 2})], AUTH, "a key for other rounds than the rest"),
        ([ana, bo, cy, remade(eva, {5: SMALL_ORDER})], AUTH, "a key of small order"),
        ([ana, bo, cy, remade(eva, {5: NOT_CANONICAL})], AUTH, "a key that is not canonical"),
        ([ana, bo, cy, remade(eva, {5: frames.body(cy)[5]})], AUTH, "a key twice"),
        ([ana, bo, cy, remade(eva, {5: server_key})], AUTH, "the server's key, reflected"),
    ]


# -- to the members -----------------------------------------------------------------------------------------------------


def _key_requests(frame):
    session = frames.outer(frame)[1][0]
    return [
        *malformed(frame),
        (remade(frame, sender="ana"), PEER, "a request by a client"),
        (remade(frame, signer="ana"), AUTH, "a request signed by a client"),
        (remade(frame, kind=frames.MEMBER_KEY), PEER, "a frame of a member's kind"),
        (frames.chunk(session, "", 1, 0, 0, bytes(64), b"x"), PEER, "a chunk"),
        (remade(frame, {1: 3}), AUTH, "another number of rounds"),
        (remade(frame, {2: OTHER}), AUTH, "other Params"),
        (remade(frame, {3: OTHER}), AUTH, "another roster"),
        (remade(frame, {0: 2**63 - 1}), PEER, "a batch that ends too late"),
        (remade(frame, {0: 2**64 - 1}), PEER, "a round too large"),
        (remade(frame, {4: SMALL_ORDER}), AUTH, "a server key of small order"),
        (remade(frame, {4: NOT_CANONICAL}), AUTH, "a server key that is not canonical"),
    ]


def _reveal_requests(session, name, frame):
    body, batch = frames.body(frame), session.server.batch
    (ana, cy, eva), keys, sealed, paths = body[4:]
    box, path = session.settings.box, len(paths) // 3
    own = batch.setup.ids.index(name)
    (other,) = session.inbox["cy"]

    def shown(*headers):
        return remade(frame, {4: list(headers)})

    def changed(**told):
        return remade(eva, {int(at[1:]): value for at, value in told.items()})

    substituted = [*keys[:own], remade(keys[own], {5: frames.public(OTHER)}), *keys[own + 1 :]]
    return [
        *malformed(frame),
        (remade(frame, sender="ana"), PEER, "a request by a client"),
        (remade(frame, session=OTHER_SESSION), AUTH, "another session"),
        (remade(frame, {1: OTHER}), AUTH, "other Params"),
        (remade(frame, {2: OTHER}), AUTH, "other keys are named than shown"),
        (remade(frame, {0: 9}), AUTH, "a round that the keys do not cover"),
        (remade(frame, {0: 2}), AUTH, "another round than that of the headers"),
        (remade(frame, {3: [1, 0, 2, 3]}), PEER, "participants unsorted"),
        (remade(frame, {3: [0, 0, 2, 3]}), PEER, "a participant twice"),
        (remade(frame, {3: [0, 1, 2, 7]}), PEER, "an unknown participant"),
        (remade(frame, {3: [0, 1]}), PEER, "fewer participants than m"),
        (remade(frame, {3: [0, 2, 3]}), AUTH, "other participants than those of the headers"),
        (shown(ana, cy), PEER, "fewer survivors than m"),
        (shown(cy, ana, eva), PEER, "survivors unsorted"),
        (shown(ana, ana, cy), PEER, "a survivor twice"),
        (shown(badly_signed(ana), cy, eva), AUTH, "a header with a forged signature"),
        (shown(ana, remade(cy, signer="ana"), eva), AUTH, "a header signed by another"),
        (shown(ana, cy, remade(eva, signer="server")), AUTH, "a client that the server made up"),
        (shown(ana, cy, remade(eva, sender="zed")), AUTH, "a header of a stranger"),
        (shown(ana, cy, remade(eva, session=OTHER_SESSION)), AUTH, "a header of another session"),
        (shown(ana, cy, remade(eva, kind=frames.MEMBER_KEY)), AUTH, "a frame that is no header"),
        (shown(ana, cy, changed(_0=2)), AUTH, "a header of another round"),
        (shown(ana, cy, changed(_1=OTHER)), AUTH, "a header under other Params"),
        (shown(ana, cy, changed(_2=OTHER)), AUTH, "a header under other keys"),
        (shown(ana, cy, changed(_3=OTHER)), AUTH, "a header for other participants"),
        (shown(ana, cy, changed(_4=OTHER)), AUTH, "a survivor of another context"),
        (shown(ana, cy, changed(_5=SMALL_ORDER)), AUTH, "a header with a key of small order"),
        (shown(ana, cy, changed(_5=batch.setup.server_key)), AUTH, "a header with the server's key"),
        (shown(ana, cy, changed(_5=batch.setup.keys[0])), AUTH, "a header with a member's key"),
        (shown(ana, cy, changed(_6=OTHER)), AUTH, "a header with another root than its shares'"),
        (shown(ana, cy, changed(_6=OTHER[:-1])), DECODE, "a header with a root of another length"),
        (keyed(frame, [*keys[:own], *keys[own + 1 :]], 5), AUTH, "our own key left out"),
        (keyed(frame, substituted, 5), AUTH, "our own key substituted"),
        *((keyed(frame, made, 5), error, why) for made, error, why in other_keys(keys, batch.setup.server_key)),
        (remade(frame, {6: sealed[:-1]}), DECODE, "shares of another length"),
        (remade(frame, {6: sealed[:-box]}), DECODE, "a share too few"),
        (remade(frame, {6: sealed + sealed[:box]}), DECODE, "a share too many"),
        (remade(frame, {6: sealed[box:] + sealed[:box]}), AUTH, "shares in another order"),
        (remade(frame, {6: flipped(sealed)}), AUTH, "a share that its client did not sign for"),
        (remade(frame, {6: frames.body(other)[6], 7: frames.body(other)[7]}), AUTH, "another member's shares"),
        (remade(frame, {7: paths[:-1]}), DECODE, "paths of another length"),
        (remade(frame, {7: paths[:-path]}), DECODE, "a path too few"),
        (remade(frame, {7: flipped(paths)}), AUTH, "a path that does not lead to the root"),
    ]


# -- to the clients -----------------------------------------------------------------------------------------------------


def _update_requests(session, frame):
    keys = frames.body(frame)[4]
    return [
        *malformed(frame),
        (remade(frame, sender="ana"), PEER, "a request by a client"),
        (remade(frame, session=OTHER_SESSION), AUTH, "another session than that of the keys"),
        (remade(frame, {1: OTHER}), AUTH, "other Params"),
        (remade(frame, {2: OTHER}), AUTH, "other keys are named than shown"),
        (remade(frame, {4: None}), AUTH, "no keys"),
        *(
            (keyed(frame, made), error, why)
            for made, error, why in other_keys(keys, session.server.batch.setup.server_key)
        ),
        (remade(frame, {3: [1, 0, 2, 3]}), PEER, "participants unsorted"),
        (remade(frame, {3: [0, 1, 1, 2]}), PEER, "a participant twice"),
        (remade(frame, {3: [0, 1, 2, 7]}), PEER, "an unknown participant"),
        (remade(frame, {3: [0, 1]}), PEER, "fewer participants than m"),
        (remade(frame, {3: [0, 2, 3]}), PEER, "a list without ourselves"),
        (remade(frame, {0: 0}), PEER, "a round before the keys'"),
        (remade(frame, {0: 9}), PEER, "a round that the keys do not cover"),
    ]


def before_request(session, name, frame):
    """Refusals before a client or member gets an honest request."""
    refused = []
    match (*place(session), name):
        case "malicious", 1, "keys", "bo":
            refused = _key_requests(frame)
        case "malicious", 1, "masked", "bo":
            refused = _update_requests(session, frame)
        case "malicious", 1, "reveal", "bo":
            refused = _reveal_requests(session, name, frame)
        case "drawn", 7, "reveal", _ if name == session.crew[0]:
            (outsider,) = set(session.clients) - set(session.crew)
            session.refuses(outsider, frame, PEER, "a request to open, of somebody outside the committee")
    for bad, error, why in refused:
        session.refuses(name, bad, error, why)


def after_request(session, name, frame):
    """Refusals, and an identical second request, after a client or member has answered."""
    match (*place(session), name):
        case "malicious", 1, "keys", "bo":
            other = remade(frame, {4: frames.public(OTHER)})
            session.refuses(name, other, TWICE, "a second, different request for keys")
            session.refuses(name, remade(frame, {0: 0}), PEER, "keys for rounds that are over")
            session.receive(name, frame)
            session.first_keys = frame
        case "malicious", 1, "masked", "bo":
            session.bo_request = frame
            keys = frames.body(frame)[4]
            session.refuses(name, remade(frame, {3: [0, 1, 2]}), TWICE, "other participants")
            session.refuses(name, keyed(frame, keys[:3]), TWICE, "other keys for the same rounds")
            session.refuses(name, remade(frame, session=OTHER_SESSION), AUTH, "another session")
            elsewhere = remade(session.first_keys, session=OTHER_SESSION)
            session.refuses(name, elsewhere, AUTH, "a request for keys of another session")
            session.receive(name, frame)
            session.submit(name, b"another model")  # the same update: the same bytes
        case "malicious", 1, "reveal", "bo":
            session.bo_reveal = frame
            (ana, _, eva), sealed = frames.body(frame)[4], frames.body(frame)[6]
            session.refuses(name, remade(frame, {4: [ana, eva]}), TWICE, "another set of survivors")
            session.refuses(name, remade(frame, {6: flipped(sealed)}), TWICE, "other shares")
            session.receive(name, frame)
        case "malicious", 2, "masked", "bo":
            session.refuses(name, session.bo_request, PEER, "a request for an earlier round")
        case "malicious", 2, "reveal", "bo":
            session.refuses(name, session.bo_reveal, PEER, "a request to open an earlier round")
            session.refuses(name, remade(session.first_keys, {0: 2}), PEER, "keys for a round that is over")
        case "malicious", 4, "keys", "ana":
            session.refuses(name, session.first_keys, PEER, "a request for the keys before")
            session.refuses(name, session.bo_reveal, AUTH, "a round of the keys before")
            session.refuses(name, remade(frame, {0: 3}), PEER, "keys for rounds before the present one's")
        case "malicious", 4, "masked", "bo":
            session.refuses(name, session.bo_request, PEER, "a request under the keys before")


# -- to the server ------------------------------------------------------------------------------------------------------


def _member_keys(session, frame):
    return [
        *malformed(frame),
        (remade(frame, session=OTHER_SESSION), AUTH, "another session"),
        (remade(frame, signer="bo"), AUTH, "signed by another"),
        (remade(frame, kind=frames.MEMBER_REQUEST), PEER, "a frame of a server's kind"),
        (remade(frame, {0: 2}), AUTH, "a key for other rounds than asked for"),
        (remade(frame, {1: 3}), AUTH, "a key for another number of rounds"),
        (remade(frame, {2: OTHER}), AUTH, "a key under other Params"),
        (remade(frame, {3: OTHER}), AUTH, "a key for another roster"),
        (remade(frame, {4: frames.public(OTHER)}), AUTH, "a key that answers another request"),
        (remade(frame, {5: SMALL_ORDER}), AUTH, "a key of small order"),
        (remade(frame, {5: NOT_CANONICAL}), AUTH, "a key that is not canonical"),
        (remade(frame, {5: session.server.batch.request[4]}), AUTH, "the server's key, reflected"),
        (remade(frame, {5: OTHER[:-1]}), DECODE, "a key of another length"),
    ]


def _chunks(session, frame):
    _, _, round_id, _, _, _, payload = frames.outer(frame)[1]
    last = len(session.settings.parts)
    return [
        (with_fields(frame, {5: flipped}), AUTH, "a signature that does not hold"),
        (with_fields(frame, {6: lambda payload: flipped(payload, 0)}), AUTH, "another payload than was signed"),
        (with_fields(frame, {5: bytes(16)}), AUTH, "a signature of another length"),
        (with_fields(frame, {5: bytes(17)}), DECODE, "a signature of no length that there is"),
        (with_fields(frame, {0: OTHER_SESSION}), AUTH, "another session"),
        (rechunked(session, frame, key_hash=OTHER), AUTH, "a chunk signed under other keys"),
        (rechunked(session, frame, at=(round_id, last + 1, 0)), DECODE, "a segment that is not there"),
        (rechunked(session, frame, at=(round_id, 0, 1)), DECODE, "a chunk that is not there"),
        (rechunked(session, frame, at=(round_id, last, 0)), DECODE, "shares of another length"),
        (rechunked(session, frame, at=(2, 0, 0)), PEER, "a chunk of another round"),
        (rechunked(session, frame, payload=payload[:9]), DECODE, "a chunk of another length"),
    ]


def _headers(session, frame):
    setup = session.server.batch.setup
    return [
        *malformed(frame),
        (remade(frame, kind=frames.UPDATE_REQUEST), PEER, "a frame of a server's kind"),
        (remade(frame, {0: 2}), AUTH, "a header of another round"),
        (remade(frame, {1: OTHER}), AUTH, "a header under other Params"),
        (remade(frame, {2: OTHER}), AUTH, "a header under other keys"),
        (remade(frame, {3: OTHER}), AUTH, "a header for other participants"),
        (remade(frame, {4: OTHER[:-1]}), DECODE, "a context hash of another length"),
        (remade(frame, {5: SMALL_ORDER}), AUTH, "a channel key of small order"),
        (remade(frame, {5: NOT_CANONICAL}), AUTH, "a channel key that is not canonical"),
        (remade(frame, {5: setup.server_key}), AUTH, "the server's key"),
        (remade(frame, {5: setup.keys[1]}), AUTH, "a member's key"),
        (remade(frame, {6: OTHER[:-1]}), DECODE, "a root of another length"),
        (remade(frame, {7: OTHER[:-1]}), DECODE, "a tag of another length"),
    ]


def _answers(session, frame):
    _, account, _, _, _ = frames.body(frame)
    key = session.server.sealing_key(frames.outer(frame)[1][1])

    def summed(data):
        return remade(frame, {3: frames.seal(key, data, account, bytes)})

    rows = session.settings.rows
    return [
        *malformed(frame),
        (remade(frame, kind=frames.REVEAL_REQUEST), PEER, "a frame of a server's kind"),
        (remade(frame, {0: 2}), AUTH, "an answer of another round"),
        (remade(frame, {1: OTHER}), AUTH, "an answer to another account"),
        (remade(frame, {2: lambda made: flipped(made, 0)}), AUTH, "a signature that does not hold"),
        (remade(frame, {2: lambda made: made[:-1]}), DECODE, "a signature of another length"),
        (remade(frame, {3: flipped}), AUTH, "a sum that does not open"),
        (remade(frame, {3: b""}), AUTH, "neither a sum nor a complaint"),
        (summed(bytes(16)), DECODE, "a sum of another length"),
        (summed(write_share([P] + [0] * (rows - 1))), DECODE, "an element outside the field"),
        (remade(frame, {4: [0]}), DECODE, "a sum beside a complaint"),
        (remade(frame, {3: b"", 4: [0, 0]}), PEER, "a complaint twice"),
        (remade(frame, {3: b"", 4: [2, 0]}), PEER, "complaints unsorted"),
        (remade(frame, {3: b"", 4: [1]}), PEER, "a complaint of somebody who is not in the sum"),
        (remade(frame, {3: b"", 4: [7]}), PEER, "a complaint of nobody"),
    ]


def before_frame(session, name, frame):
    """Refusals before the server gets an honest frame."""
    refused, at = [], frames.outer(frame)[1][3:5]
    outside = set(session.clients) - set(session.crew)
    match (*place(session), name), frame[3]:
        case ("malicious", 1, "keys", "ana"), _:
            refused = _member_keys(session, frame)
            session.server_refuses("zed", remade(frame, sender="zed"), AUTH, "a stranger")
            session.server_refuses("", remade(frame, sender="", signer="server"), AUTH, "a frame of the server's own")
            session.server_refuses(HOLDER, remade(frame, sender=HOLDER), AUTH, "a key holder")
            session.server_refuses("bo", frame, AUTH, "the carrier names another sender")
        case ("malicious", 1, "keys", "bo"), _:
            (taken,) = [key for key, _ in session.server.batch.keys.values()]
            refused = [(remade(frame, {5: frames.body(taken)[5]}), AUTH, "another member's key")]
        case ("malicious", 1, "masked", "cy"), frames.CHUNK if at == [0, 0]:
            refused = _chunks(session, frame)
        case ("malicious", 1, "masked", "cy"), frames.UPDATE_HEADER:
            refused = _headers(session, frame)
            session.cy_header = frame
        case ("malicious", 4, "masked", "ana"), frames.UPDATE_HEADER:
            unasked = remade(frame, sender="cy")
            session.server_refuses("cy", unasked, PEER, "a header of a client that was not sampled")
        case ("malicious", 1, "reveal", "ana"), _:
            refused = _answers(session, frame)
            session.server_refuses("cy", session.cy_header, PEER, "a header when its phase is over")
        case ("malicious", 4, "reveal", "ana"), _:
            session.server_refuses("bo", remade(frame, sender="bo"), PEER, "an answer of a client that sent no key")
        case ("drawn", 7, "keys" | "reveal", _), _ if name == session.crew[0]:
            for stranger in outside:
                session.server_refuses(stranger, remade(frame, sender=stranger), PEER, "somebody outside the committee")
    for bad, error, why in refused:
        session.server_refuses(name, bad, error, why)


def after_frames(session, arrived):
    """Second frames, identical and different, when all first ones are there."""
    last = dict(arrived)
    match place(session):
        case "malicious", 1, "keys":
            session.server_refuses(
                "bo", remade(last["bo"], {5: frames.public(OTHER)}), TWICE, "a second, different key"
            )
            session.server_receive("bo", last["bo"])
        case "malicious", 1, "masked":
            session.server_refuses("cy", remade(last["cy"], {7: OTHER}), TWICE, "a second, different header")
            first = next(frame for name, frame in arrived if name == "cy")
            other = rechunked(session, first, payload=flipped(frames.outer(first)[1][6], 0))
            session.server_refuses("cy", other, TWICE, "a second, different chunk")
            session.server_receive("cy", last["cy"])
            session.server_receive("cy", first)
        case "malicious", 1, "reveal":
            complaint = remade(last["éva"], {3: b"", 4: [0]})
            session.server_refuses("éva", complaint, TWICE, "a second, different answer")
            session.server_receive("éva", last["éva"])
