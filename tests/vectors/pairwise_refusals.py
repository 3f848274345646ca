"""Frames that must be refused, at the places of the script where they would do harm; made with everybody's keys."""

import hashlib

from reference import frames, msgpack
from reference.hashes import u32, u64

(DECODE, AUTH, PEER, TWICE, ABORT) = (
    "DecodeError", "AuthenticationError", "PeerError", "EquivocationError", "AbortError",
)  # fmt: skip
OTHER = bytes(range(32))
SMALL_ORDER = bytes(32)
NOT_CANONICAL = (2**255 - 18).to_bytes(32, "little")
OTHER_SESSION = bytes(range(16))


def identity(name):
    return hashlib.sha256(b"identity " + (name or "server").encode()).digest()


def remade(frame, changes=None, *, sender=None, session=None, kind=None, signer=None):
    """Return the frame with other fields in its body (place -> value or function of the value), validly signed."""
    got, (old_session, old_sender, _, _) = frames.outer(frame)
    body = frames.body(frame)
    for place, value in (changes or {}).items():
        body[place] = value(body[place]) if callable(value) else value
    name = old_sender if sender is None else sender
    return frames.envelope(kind or got, session or old_session, name, body, identity(signer or name))


def flipped(frame, at=-1):
    data = bytearray(frame)
    data[at] ^= 1
    return bytes(data)


def signed_payload(frame, payload):
    """Return an envelope around bytes that are no honest payload."""
    kind, (session, sender, _, _) = frames.outer(frame)
    signature = frames.sign(identity(sender), frames._statement(kind, session, sender, payload))
    return frames.frame(kind, [session, sender, signature, payload])


def badly_signed(frame):
    kind, (session, sender, signature, payload) = frames.outer(frame)
    return frames.frame(kind, [session, sender, flipped(signature), payload])


def spelled_otherwise(frame):
    """Return the same envelope, its session as a bin of 16-bit length; every signature still holds."""
    return frame[:5] + b"\xc5\x00\x10" + frame[7:]


def same_but_longer_integer(frame):
    payload = frames.outer(frame)[1][3]
    return signed_payload(frame, payload[:1] + b"\xcc" + payload[1:])


def malformed(frame):
    body = frames.body(frame)
    return [
        (badly_signed(frame), AUTH, "forged signature"),
        (frame[:-1], DECODE, "torn"),
        (frame + b"\0", DECODE, "trailing byte"),
        (b"SA\x02" + frame[3:], DECODE, "another version"),
        (spelled_otherwise(frame), DECODE, "envelope in another encoding"),
        (same_but_longer_integer(frame), DECODE, "body in another encoding"),
        (signed_payload(frame, msgpack.pack([*body, 0])), DECODE, "one field more"),
        (signed_payload(frame, msgpack.pack(body[:-1])), DECODE, "one field less"),
    ]


# -- to clients -----------------------------------------------------------------------------------------------------


def _to_keys_request(frame):
    return [
        *malformed(frame),
        (remade(frame, sender="ana"), PEER, "a request by a client"),
        (remade(frame, {2: OTHER}), AUTH, "other Params"),
        (remade(frame, {3: OTHER}), AUTH, "another roster"),
        (remade(frame, {1: 3}), AUTH, "another number of rounds"),
        (remade(frame, {0: 2**63}), PEER, "first_round too large"),
        (remade(frame, {4: SMALL_ORDER}), AUTH, "server key of small order"),
        (remade(frame, {4: NOT_CANONICAL}), AUTH, "server key not canonical"),
    ]


def _to_shares_request(frame):
    ana, bo, cy, eva = frames.body(frame)[1]

    def listed(*advertisements):
        return remade(frame, {1: list(advertisements)})

    cy_key = frames.body(cy)[4]
    return [
        (listed(bo, ana, cy, eva), AUTH, "advertisements unsorted"),
        (listed(ana, ana, bo, cy), AUTH, "an advertisement twice"),
        (listed(ana, cy, eva), AUTH, "our own keys left out"),
        (listed(ana, bo), PEER, "fewer advertisements than min_cohort"),
        (listed(ana, bo, cy, eva, eva), PEER, "more advertisements than clients"),
        (listed(ana, remade(bo, {5: lambda keys: keys[32:] + keys[:32]}), cy, eva), AUTH, "our own keys substituted"),
        (listed(ana, bo, badly_signed(cy), eva), AUTH, "an advertisement with a forged signature"),
        (listed(ana, bo, remade(cy, signer="ana"), eva), AUTH, "an advertisement signed by another"),
        (listed(ana, bo, remade(cy, {3: OTHER}), eva), AUTH, "an advertisement that answers another request"),
        (listed(ana, bo, remade(cy, session=OTHER_SESSION), eva), AUTH, "an advertisement of another session"),
        (listed(ana, bo, cy, remade(eva, {4: cy_key})), AUTH, "a key in two advertisements"),
        (listed(ana, bo, cy, remade(eva, {4: SMALL_ORDER})), AUTH, "a key of small order"),
        (listed(ana, bo, cy, remade(eva, sender="zed")), AUTH, "an advertisement of a stranger"),
        (listed(ana, bo, cy, remade(eva, kind=frames.DEALING)), PEER, "a relayed frame of another kind"),
        (remade(frame, {0: 2}), PEER, "a shares request of another setup"),
        (remade(frame, session=OTHER_SESSION), AUTH, "another session"),
    ]


def _to_masked_request(frame):
    members, roots, boxes = frames.body(frame)[3]

    def delivering(*delivery):
        return remade(frame, {3: list(delivery)})

    return [
        (remade(frame, {1: OTHER}), AUTH, "another setup"),
        (remade(frame, {0: 9}), PEER, "a round outside the setup"),
        (remade(frame, {2: [1, 0, 2, 3]}), PEER, "participants unsorted"),
        (remade(frame, {2: [0, 1, 1, 2]}), PEER, "a participant twice"),
        (remade(frame, {2: [0, 1, 2, 7]}), PEER, "an unknown participant"),
        (remade(frame, {2: [0, 1]}), PEER, "fewer participants than m"),
        (remade(frame, {2: [0, 2, 3]}), PEER, "a list without ourselves"),
        (remade(frame, {3: None}), PEER, "no delivery"),
        (delivering([1, 0, 2, 3], roots, boxes), PEER, "members unsorted"),
        (delivering([0, 2, 3], roots, boxes), ABORT, "left out of the members"),
        (delivering([0, 1], roots, boxes), PEER, "fewer members than min_cohort"),
        (delivering(members, roots[:-32], boxes), PEER, "holder hashes of another length"),
        (delivering(members, roots, boxes[:-1]), PEER, "boxes of another length"),
    ]


def _to_unmask_request(session, frame):
    ana, cy, eva = frames.body(frame)[3]
    bo = session.server.round.headers[1][0]

    def shown(*headers):
        return remade(frame, {3: list(headers)})

    return [
        (remade(frame, {2: [0, 2, 3]}), TWICE, "other participants than in the masked request"),
        (shown(ana, cy), PEER, "fewer survivors than m"),
        (shown(cy, ana, eva), AUTH, "survivors unsorted"),
        (shown(ana, ana, cy, eva), AUTH, "a survivor twice"),
        (shown(ana, bo, cy, eva), AUTH, "a survivor of another context"),
        (shown(badly_signed(ana), cy, eva), AUTH, "a header with a forged signature"),
        (shown(ana, remade(cy, {6: OTHER}), eva), AUTH, "our own header substituted"),
        (shown(ana, cy, remade(eva, {0: 2})), PEER, "a header of another round"),
        (shown(ana, cy, remade(eva, {1: OTHER})), AUTH, "a header under other Params"),
        (shown(ana, cy, remade(eva, {3: OTHER})), AUTH, "a header among other members"),
        (shown(ana, cy, remade(eva, {4: OTHER})), AUTH, "a header for other participants"),
    ]


def before_request(session, name, frame):
    """Refusals before a client gets an honest request."""
    refused = []
    match session.round_id, session.server.phase, name:
        case 1, "keys", "bo":
            refused = _to_keys_request(frame)
        case 1, "shares", "bo":
            refused = _to_shares_request(frame)
        case 1, "masked", "bo":
            refused = _to_masked_request(frame)
        case 1, "unmask", "cy":
            refused = _to_unmask_request(session, frame)
        case 3, "unmask", "cy":  # not sampled: the list of participants is new to it
            refused = [
                (remade(frame, {2: [1, 0, 3]}), PEER, "participants unsorted"),
                (remade(frame, {2: [0, 1]}), PEER, "fewer participants than m"),
                (remade(frame, {2: [0, 1, 2]}), AUTH, "a survivor that is no participant"),
            ]
    for bad, error, why in refused:
        session.client_refuses(name, bad, error, why)


def after_request(session, name, requests):
    """Refusals, and identical second requests, after a client has answered."""
    match session.round_id, session.server.phase, name:
        case 1, "keys", "bo":
            key = frames.public(OTHER)
            session.client_refuses(name, remade(requests[0], {4: key}), TWICE, "a second, different keys request")
            session.client_refuses(name, remade(requests[0], {0: 0}), PEER, "a keys request for an earlier round")
            session.client_receive(name, requests[0])
        case 1, "shares", "bo":
            fewer = remade(requests[0], {1: lambda all_of_them: all_of_them[:3]})
            session.client_refuses(name, fewer, TWICE, "a second, different shares request")
            session.client_receive(name, requests[0])
        case 1, "masked", "bo":
            session.client_refuses(name, remade(requests[0], {2: [0, 1, 2]}), TWICE, "other participants")
            others = remade(requests[0], {3: lambda delivery: [[0, 1, 2], *delivery[1:]]})
            session.client_refuses(name, others, TWICE, "a second delivery with other members")
        case 1, "masked", "cy":
            session.cy_request = requests[0]
        case 1, "unmask", "bo":  # the request is not its own: in this sum it is not
            session.client_refuses(name, session.inbox["ana"][0], ABORT, "told that it dropped out")
            session.client_refuses(name, session.inbox["ana"][0], PEER, "the round is over")
        case 1, "unmask", "cy":
            extra = remade(requests[0], {4: frames.body(session.cy_request)[3]})
            session.client_refuses(name, extra, TWICE, "a second, different unmask request")
            session.client_refuses(name, session.cy_request, PEER, "a masked request for an answered round")
            session.client_receive(name, requests[0])
        case 2, "masked", "cy":
            session.client_receive(name, requests[0])
            session.submit(name, b"the model")  # the same update: the same bytes
            session.client_refuses(name, session.cy_request, PEER, "a masked request for an earlier round")


# -- to the server --------------------------------------------------------------------------------------------------


def _advertisements(session, frame):
    dealing = [1, OTHER, b"", b"", b""]
    early = frames.envelope(frames.DEALING, session.server.session, "ana", dealing, identity("ana"))
    server_key = session.server.batch.request[4]
    return [
        *malformed(frame),
        (remade(frame, session=OTHER_SESSION), AUTH, "another session"),
        (remade(frame, signer="bo"), AUTH, "signed by another"),
        (remade(frame, kind=frames.KEYS_REQUEST), PEER, "a frame of a server's kind"),
        (early, PEER, "a frame of a phase that is not open"),
        (remade(frame, {0: 2}), AUTH, "an advertisement for another setup"),
        (remade(frame, {2: OTHER}), AUTH, "other Params"),
        (remade(frame, {3: OTHER}), AUTH, "another server key"),
        (remade(frame, {5: lambda keys: keys[:32]}), PEER, "too few mask keys"),
        (remade(frame, {4: SMALL_ORDER}), AUTH, "a key of small order"),
        (remade(frame, {4: NOT_CANONICAL}), AUTH, "a key that is not canonical"),
        (remade(frame, {4: server_key}), AUTH, "the server's own key"),
        (remade(frame, {5: lambda keys: keys[:32] * 2}), AUTH, "one mask key for two rounds"),
    ]


def _chunks(frame):
    _, fields = frames.outer(frame)

    def changed(place, value):
        return frames.frame(frames.CHUNK, [*fields[:place], value, *fields[place + 1 :]])

    return [
        (changed(5, flipped(fields[5])), AUTH, "a wrong tag"),
        (changed(6, flipped(fields[6])), AUTH, "a payload that is not the tag's"),
        (changed(6, fields[6][:-1]), DECODE, "a chunk of another length"),
        (changed(3, 9), DECODE, "a segment that is not there"),
        (changed(4, 9), DECODE, "a chunk that is not there"),
        (changed(2, 2), PEER, "a chunk of another round"),
        (changed(0, OTHER_SESSION), AUTH, "another session"),
    ]


def _headers(frame):
    return [
        (remade(frame, {0: 2}), PEER, "a header of another round"),
        (remade(frame, {1: OTHER}), AUTH, "a header under other Params"),
        (remade(frame, {2: OTHER}), AUTH, "a header of another setup"),
        (remade(frame, {3: OTHER}), AUTH, "a header among other members"),
        (remade(frame, {4: OTHER}), AUTH, "a header for other participants"),
        (remade(frame, {7: [1, 0]}), PEER, "complaints unsorted"),
        (remade(frame, {7: [2]}), PEER, "a complaint of oneself"),
    ]


def _answers(session, name, frame):
    """Changes of an honest answer; the last is one that holds, under another nonce."""
    client, (_, account, _, sealed, _) = session.clients[name], frames.body(frame)
    key = client.server_key("answer", session.round_id)
    plain = msgpack.unpack(frames.unseal(key, sealed, account))

    def resealed(*fields):
        return remade(frame, {3: frames.seal(key, msgpack.pack(list(fields)), account, bytes)})

    return [
        (remade(frame, {0: 2}), PEER, "an answer of another round"),
        (remade(frame, {1: OTHER}), AUTH, "an answer to another account"),
        (remade(frame, {2: lambda made: flipped(made, 0)}), AUTH, "an account signature that does not hold"),
        (remade(frame, {3: flipped}), AUTH, "a box that does not open"),
        (resealed(plain[0][:-24], *plain[1:]), PEER, "a share too few"),
        (resealed(plain[0], plain[1], plain[2][:-32], plain[3]), PEER, "an opening too short"),
        (resealed(*plain[:3]), DECODE, "an answer of other fields"),
    ], resealed(*plain)


def before_frame(session, name, frame):
    """Refusals before the server gets an honest frame."""
    refused = []
    match session.round_id, session.server.phase, name, frame[3]:
        case 1, "keys", "ana", _:
            refused = _advertisements(session, frame)
            session.server_refuses("zed", remade(frame, sender="zed"), AUTH, "a stranger")
            session.server_refuses("bo", frame, AUTH, "the carrier names another sender")
        case 1, "shares", "ana", _:
            refused = [
                (remade(frame, {1: OTHER}), AUTH, "another setup"),
                (remade(frame, {2: lambda commitments: commitments[:-32]}), DECODE, "too few commitments"),
                (remade(frame, {3: lambda roots: roots[:-32]}), DECODE, "too few holder hashes"),
                (remade(frame, {4: lambda boxes: boxes[:-1]}), DECODE, "boxes of another length"),
            ]
        case 1, "masked", "cy", frames.CHUNK if frames.outer(frame)[1][3:5] == [0, 0]:
            refused = _chunks(frame)
        case 1, "masked", "cy", frames.HEADER:
            refused = _headers(frame)
        case 2, "masked", "cy", frames.HEADER:
            refused = [(remade(frame, {7: [0]}), TWICE, "other complaints than in the first frame")]
        case 1, "unmask", "cy", _:
            refused, _ = _answers(session, name, frame)
            session.server_refuses("bo", remade(frame, sender="bo"), PEER, "an answer of a dropout")
        case 3, "masked", "ana", frames.HEADER:
            unasked = remade(frame, {7: []}, sender="cy")
            session.server_refuses("cy", unasked, PEER, "a header of a client that was not sampled")
    for bad, error, why in refused:
        session.server_refuses(name, bad, error, why)


def after_frames(session, arrived):
    """Second frames, identical and different, when all first ones are there."""
    last = dict(arrived)
    match session.round_id, session.server.phase:
        case 1, "keys":
            other = remade(last["ana"], {5: lambda keys: keys[32:] + keys[:32]})
            session.server_refuses("ana", other, TWICE, "a second, different advertisement")
            session.server_receive("ana", last["ana"])
        case 1, "shares":
            other = remade(last["ana"], {4: flipped})
            session.server_refuses("ana", other, TWICE, "a second, different dealing")
            session.server_receive("ana", last["ana"])
        case 1, "masked":
            session.server_refuses("cy", remade(last["cy"], {6: OTHER}), TWICE, "a second, different header")
            _, fields = next(frames.outer(frame) for name, frame in arrived if name == "cy")
            mac, payload = session.clients["cy"].server_key("upload", 1), flipped(fields[6])
            tag = frames.gmac(mac, u32(fields[3]) + u64(fields[4]), payload)
            other = frames.frame(frames.CHUNK, [*fields[:5], tag, payload])
            session.server_refuses("cy", other, TWICE, "a second, different chunk")
            session.server_receive("cy", last["cy"])
        case 1, "unmask":
            _, other = _answers(session, "cy", last["cy"])
            session.server_refuses("cy", other, TWICE, "a second, different answer")
            session.server_receive("cy", last["cy"])
