"""Frames of ckks that must be refused, at the places of the script where they would do harm; made with everybody's keys."""

from reference import frames
from reference.ckks_common import chunk
from reference.frames import HOLDER, SERVER
from reference.hashes import digest
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

THRESHOLD = "ThresholdError"


def place(session):
    """Return the threat, who learns the sum, the round and the phase."""
    settings = session.settings
    return settings.threat, settings.reveal, session.round_id, session.server.phase


def rechunked(session, frame, at=None, payload=None, sender=None, key_hash=None):
    """Return a chunk with another place or payload, validly signed."""
    _, (own, name, round_id, number, index, _, old) = frames.outer(frame)
    name, key_hash = sender or name, key_hash or session.server.key.hash
    return chunk(
        identity(name), own, name, key_hash, at or (round_id, number, index), old if payload is None else payload
    )


def with_fields(frame, changes):
    """Return a chunk with other fields in its outer array, its signature left as it is."""
    _, fields = frames.outer(frame)
    for at, value in changes.items():
        fields[at] = value(fields[at]) if callable(value) else value
    return frames.frame(frames.CHUNK, fields)


# -- to the holder ------------------------------------------------------------------------------------------------------


def _key_requests(frame):
    return [
        *malformed(frame),
        (remade(frame, sender="ana"), PEER, "a request by a client"),
        (remade(frame, {2: OTHER}), AUTH, "other Params"),
        (remade(frame, {3: OTHER}), AUTH, "another roster"),
        (remade(frame, {1: 3}), AUTH, "another number of rounds"),
        (remade(frame, {0: 2**63 - 1}), PEER, "rounds too large"),
    ]


def _decrypt_requests(session, frame):
    ana, cy, eva = frames.body(frame)[4]
    channel = session.server.key.channel

    def shown(*headers):
        return remade(frame, {4: list(headers)})

    made = [
        *malformed(frame),
        (remade(frame, sender="ana"), PEER, "a request by a client"),
        (remade(frame, session=OTHER_SESSION), AUTH, "another session"),
        (remade(frame, {1: OTHER}), AUTH, "other Params"),
        (remade(frame, {2: OTHER}), AUTH, "another key"),
        (remade(frame, {0: 9}), PEER, "a round that the key does not cover"),
        (remade(frame, {3: [1, 0, 2, 3]}), PEER, "participants unsorted"),
        (remade(frame, {3: [0, 1, 2, 7]}), PEER, "an unknown participant"),
        (remade(frame, {3: [0, 1]}), PEER, "fewer participants than m"),
        (remade(frame, {3: [0, 1, 2]}), AUTH, "other participants than those of the headers"),
        (remade(frame, {6: SMALL_ORDER}), AUTH, "a server key of small order"),
        (remade(frame, {6: channel}), AUTH, "the holder's own channel key"),
        (shown(ana, cy), PEER, "fewer survivors than m"),
        (shown(cy, ana, eva), PEER, "survivors unsorted"),
        (shown(ana, ana, cy, eva), PEER, "a survivor twice"),
        (shown(badly_signed(ana), cy, eva), AUTH, "a header with a forged signature"),
        (shown(ana, remade(cy, signer="ana"), eva), AUTH, "a header signed by another"),
        (shown(ana, cy, remade(eva, sender="zed")), PEER, "a header of a stranger"),
        (shown(ana, cy, remade(eva, session=OTHER_SESSION)), AUTH, "a header of another session"),
        (shown(ana, cy, remade(eva, kind=frames.DECRYPTED)), AUTH, "a frame that is no header"),
        (shown(ana, cy, remade(eva, {0: 2})), AUTH, "a header of another round"),
        (shown(ana, cy, remade(eva, {1: OTHER})), AUTH, "a header under other Params"),
        (shown(ana, cy, remade(eva, {2: OTHER})), AUTH, "a header under another key"),
        (shown(ana, cy, remade(eva, {3: OTHER})), AUTH, "a header for other participants"),
        (shown(ana, cy, remade(eva, {4: OTHER})), AUTH, "a survivor of another context"),
    ]
    if session.settings.padded:
        made += [
            (shown(ana, cy, remade(eva, {5: SMALL_ORDER})), AUTH, "a header with a key of small order"),
            (shown(ana, cy, remade(eva, {5: channel})), AUTH, "a header with the holder's channel key"),
        ]
    length = (lambda told: told + OTHER) if session.settings.recompute else (lambda told: told[:-1])
    return [*made, (remade(frame, {5: length}), DECODE, "a tag of the sum of another length")]


def _chunks_to_holder(session, frame):
    _, _, round_id, _, index, _, payload = frames.outer(frame)[1]
    stranger = frames.chunk(session.server.session, "zed", round_id, 0, 0, bytes(64), payload)
    made = [
        (with_fields(frame, {5: flipped}), AUTH, "a signature that does not hold"),
        (with_fields(frame, {6: lambda payload: flipped(payload, 0)}), AUTH, "another payload than was signed"),
        (with_fields(frame, {5: bytes(16)}), AUTH, "a signature of another length"),
        (rechunked(session, frame, key_hash=OTHER), AUTH, "a chunk signed under another key"),
        (rechunked(session, frame, at=(round_id, 9, 0)), DECODE, "a segment that is not there"),
        (rechunked(session, frame, at=(round_id, 0, index + 1)), DECODE, "a chunk that is not there"),
        (rechunked(session, frame, at=(2, 0, 0)), PEER, "a chunk of a round that was not requested"),
        (rechunked(session, frame, payload=payload[:9]), DECODE, "a chunk of another length"),
        (rechunked(session, frame, sender=HOLDER), PEER, "a chunk of the holder's own"),
        (with_fields(frame, {0: OTHER_SESSION}), AUTH, "another session"),
    ]
    if session.settings.recompute:
        server = chunk(identity(SERVER), session.server.session, SERVER, session.server.key.hash, (1, 0, 0), payload)
        return [
            *made, (server, PEER, "a sum, where uploads are wanted"), (stranger, AUTH, "a chunk of a stranger"),
            (rechunked(session, frame, sender="bo"), PEER, "a chunk of a client that is not in the sum"),
        ]  # fmt: skip
    return [*made, (rechunked(session, frame, sender="ana"), PEER, "a client's chunk, where the sum is wanted")]


def before_holder(session, frame):
    """Refusals before the holder gets an honest frame."""
    refused, first = [], frames.outer(frame)[1][3:5] == [0, 0]
    match place(session), frame[3]:
        case ("malicious", "server", 1, "keys"), _:
            refused = _key_requests(frame)
        case ("malicious", _, 1, "decrypt"), frames.DECRYPT_REQUEST:
            refused = _decrypt_requests(session, frame)
        case ("semi-honest", "server", 1, "decrypt"), frames.DECRYPT_REQUEST:
            ana, bo, cy = frames.body(frame)[4]
            keyed = remade(frame, {4: [ana, bo, remade(cy, {5: OTHER})]})
            refused = [(keyed, DECODE, "a header with a channel key where nothing is padded")]
        case ("malicious", _, 1, "decrypt"), frames.CHUNK if first and frames.outer(frame)[1][1] in (SERVER, "ana"):
            refused = _chunks_to_holder(session, frame)
        case ("malicious", "server", 2, "decrypt"), frames.DECRYPT_REQUEST:
            session.receive(HOLDER, session.inbox[HOLDER][2])  # a chunk may come before the request
            session.receive(HOLDER, session.inbox[HOLDER][2])
    for bad, error, why in refused:
        session.refuses(HOLDER, bad, error, why)


def after_holder(session, requests):
    """Refusals, and an identical second request, when the holder has answered."""
    match place(session):
        case "malicious", "server", 1, "keys":
            session.refuses(HOLDER, remade(requests[0], {0: 0}), PEER, "a key for rounds that are over")
            session.receive(HOLDER, requests[0])
        case "malicious", "server", 1, "decrypt":
            other = remade(requests[0], {6: frames.public(OTHER)})
            session.refuses(HOLDER, other, TWICE, "a second, different request")
            chunked = rechunked(session, requests[1], payload=flipped(frames.outer(requests[1])[1][6], 0))
            session.refuses(HOLDER, chunked, TWICE, "a second, different chunk")
            session.receive(HOLDER, requests[1])
            session.receive(HOLDER, requests[0])
            session.first_request = requests[0]
        case "malicious", "server", 2, "decrypt":
            session.refuses(HOLDER, session.first_request, PEER, "a request for a round that is over")
        case "malicious", "server", 4, "keys":
            # Under the new key there is no old round.
            session.refuses(HOLDER, session.first_request, PEER, "a round that the key does not cover any more")
            session.refuses(HOLDER, remade(requests[0], {0: 3}), PEER, "a key for rounds before the present one's")


# -- to the clients -----------------------------------------------------------------------------------------------------


def _announced(frame, announcement):
    """Return a request that names and shows another announcement."""
    session, payload = frames.outer(announcement)[1][0], frames.outer(announcement)[1][3]
    return remade(frame, {2: digest("ckks-key", session, payload), 4: announcement})


def _requests(frame):
    shown = frames.body(frame)[4]

    def told(changes):
        return _announced(frame, remade(shown, changes))

    return [
        *malformed(frame),
        (remade(frame, sender="ana"), PEER, "a request by a client"),
        (remade(frame, {1: OTHER}), AUTH, "other Params"),
        (remade(frame, {2: OTHER}), AUTH, "another key is named than shown"),
        (remade(frame, {4: None}), AUTH, "no key"),
        (remade(frame, {4: badly_signed(shown)}), AUTH, "a key with a forged signature"),
        (remade(frame, {4: remade(shown, signer="ana")}), AUTH, "a key signed by another"),
        (_announced(frame, remade(shown, session=OTHER_SESSION)), AUTH, "a key of another session"),
        (remade(frame, {4: remade(shown, kind=frames.DECRYPTED)}), DECODE, "a frame that is no key"),
        (told({1: 3}), AUTH, "a key for another number of rounds"),
        (told({2: OTHER}), AUTH, "a key under other Params"),
        (told({3: OTHER}), AUTH, "a key for another roster"),
        (told({4: SMALL_ORDER}), AUTH, "a channel key of small order"),
        (told({4: NOT_CANONICAL}), AUTH, "a channel key that is not canonical"),
        (told({5: lambda key: key[:20]}), DECODE, "a public key of another length"),
        (told({5: lambda key: key[:16] + bytes(len(key) - 16)}), DECODE, "a public key with a b of zero"),
        (told({5: lambda key: key[:16] + b"\xff" * 4 + key[20:]}), DECODE, "a public key with a residue above q"),
        (remade(frame, {3: [1, 0, 2, 3]}), PEER, "participants unsorted"),
        (remade(frame, {3: [0, 1, 1, 2]}), PEER, "a participant twice"),
        (remade(frame, {3: [0, 1, 2, 7]}), PEER, "an unknown participant"),
        (remade(frame, {3: [0, 1]}), PEER, "fewer participants than m"),
        (remade(frame, {3: [0, 2, 3]}), PEER, "a list without ourselves"),
        (remade(frame, {0: 9}), PEER, "a round that the key does not cover"),
    ]


def before_request(session, name, frame):
    """Refusals before a client gets an honest request."""
    if (*place(session)[:3], name) == ("malicious", "server", 1, "bo"):
        for bad, error, why in _requests(frame):
            session.refuses(name, bad, error, why)


def after_request(session, name, frame):
    """Refusals, and an identical second request, after a client has submitted."""
    match (*place(session), name):
        case "malicious", "server", 1, _, "bo":
            session.bo_request = frame
            session.refuses(name, remade(frame, {3: [0, 1, 2]}), TWICE, "other participants")
            shown = remade(frames.body(frame)[4], {4: frames.public(OTHER)})
            session.refuses(name, _announced(frame, shown), TWICE, "a second key for the same rounds")
            session.refuses(name, remade(frame, session=OTHER_SESSION), AUTH, "another session")
            session.receive(name, frame)
            session.submit(name, b"another model")  # the same update: the same bytes
        case "malicious", "server", 2, _, "bo":
            session.refuses(name, session.bo_request, PEER, "a request for an earlier round")
        case "malicious", "server", 4, _, "bo":
            session.refuses(name, session.bo_request, PEER, "a request under the key before")


# -- to the server ------------------------------------------------------------------------------------------------------


def _announcements(frame):
    return [
        *malformed(frame),
        (remade(frame, session=OTHER_SESSION), AUTH, "another session"),
        (remade(frame, signer="bo"), AUTH, "signed by another"),
        (remade(frame, kind=frames.KEY_REQUEST), PEER, "a frame of a server's kind"),
        (remade(frame, kind=frames.ENCRYPTED_HEADER), PEER, "a frame of a client's kind"),
        (remade(frame, {0: 2}), AUTH, "a key for other rounds than asked for"),
        (remade(frame, {1: 3}), AUTH, "a key for another number of rounds"),
        (remade(frame, {2: OTHER}), AUTH, "a key under other Params"),
        (remade(frame, {3: OTHER}), AUTH, "a key for another roster"),
        (remade(frame, {4: SMALL_ORDER}), AUTH, "a channel key of small order"),
        (remade(frame, {4: NOT_CANONICAL}), AUTH, "a channel key that is not canonical"),
        (remade(frame, {5: lambda key: key[:20]}), DECODE, "a public key of another length"),
        (remade(frame, {5: lambda key: key[:16] + bytes(len(key) - 16)}), DECODE, "a public key with a b of zero"),
        (
            remade(frame, {5: lambda key: key[:16] + b"\xff" * 4 + key[20:]}),
            DECODE,
            "a public key with a residue above q",
        ),
    ]


def _chunks(session, frame):
    _, _, round_id, _, _, _, payload = frames.outer(frame)[1]
    return [
        (with_fields(frame, {5: flipped}), AUTH, "a signature that does not hold"),
        (with_fields(frame, {6: lambda payload: flipped(payload, 0)}), AUTH, "another payload than was signed"),
        (with_fields(frame, {5: bytes(16)}), AUTH, "a signature of another length"),
        (rechunked(session, frame, key_hash=OTHER), AUTH, "a chunk signed under another key"),
        (rechunked(session, frame, at=(round_id, 9, 0)), DECODE, "a segment that is not there"),
        (rechunked(session, frame, at=(round_id, 0, 9)), DECODE, "a chunk that is not there"),
        (rechunked(session, frame, at=(2, 0, 0)), PEER, "a chunk of another round"),
        (rechunked(session, frame, payload=payload[:9]), DECODE, "a chunk of another length"),
        (with_fields(frame, {0: OTHER_SESSION}), AUTH, "another session"),
    ]


def _headers(session, frame):
    return [
        *malformed(frame),
        (remade(frame, kind=frames.DECRYPTED), PEER, "a frame of the holder's kind"),
        (remade(frame, {0: 2}), AUTH, "a header of another round"),
        (remade(frame, {1: OTHER}), AUTH, "a header under other Params"),
        (remade(frame, {2: OTHER}), AUTH, "a header under another key"),
        (remade(frame, {3: OTHER}), AUTH, "a header for other participants"),
        (remade(frame, {4: OTHER[:-1]}), DECODE, "a context hash of another length"),
        (remade(frame, {5: SMALL_ORDER}), AUTH, "a channel key of small order"),
        (remade(frame, {5: session.server.key.channel}), AUTH, "the holder's channel key"),
        (remade(frame, {5: b""}), AUTH, "no channel key"),
        (remade(frame, {6: OTHER[:-1]}), DECODE, "a tag of another length"),
    ]


def _answers(frame):
    return [
        *malformed(frame),
        (remade(frame, {0: 2}), AUTH, "an answer of another round"),
        (remade(frame, {1: OTHER}), AUTH, "an answer to another account"),
        (remade(frame, {2: OTHER}), AUTH, "another commitment than was signed"),
        (remade(frame, {2: OTHER[:-1]}), DECODE, "a commitment of another length"),
        (remade(frame, {3: lambda made: flipped(made, 0)}), AUTH, "a signature that does not hold"),
        (remade(frame, {3: lambda made: made[:-1]}), DECODE, "a signature of another length"),
        (remade(frame, {4: flipped}), AUTH, "a salt that does not open"),
        (remade(frame, {4: b""}), AUTH, "no salt"),
        (remade(frame, {5: OTHER[:-1]}), DECODE, "a tag of another length"),
    ]


def _results(session, frame):
    _, _, round_id, _, _, _, box = frames.outer(frame)[1]
    key = session.server.sealing_key()
    plain = frames.unseal(key, box, b"1/0")
    padded = frames.seal(key, plain[:-1] + bytes([plain[-1] | 0x80]), b"1/0", bytes)
    return [
        (with_fields(frame, {5: flipped}), AUTH, "a signature that does not hold"),
        (rechunked(session, frame, payload=flipped(box)), AUTH, "a box that does not open"),
        (rechunked(session, frame, payload=box[:-1]), DECODE, "a box of another length"),
        (rechunked(session, frame, at=(round_id, 9, 0)), DECODE, "a segment that is not there"),
        (rechunked(session, frame, at=(2, 1, 0)), PEER, "a chunk of another round"),
        (rechunked(session, frame, payload=padded), PEER, "padding that is not zero"),
    ]


def before_frame(session, name, frame):
    """Refusals before the server gets an honest frame."""
    refused, at = [], frames.outer(frame)[1][3:5]
    match (*place(session), name), frame[3]:
        case ("malicious", "server", 1, "keys", _), _:
            refused = _announcements(frame)
            stranger = remade(frame, sender="zed")
            session.server_refuses("zed", stranger, AUTH, "a stranger")
            session.server_refuses("ana", frame, AUTH, "the carrier names another sender")
            session.server_refuses("ana", remade(frame, sender="ana"), PEER, "a key of a client's")
        case ("malicious", "server", 1, "encrypted", "cy"), frames.CHUNK if at == [0, 0]:
            refused = _chunks(session, frame)
        case ("malicious", "server", 1, "encrypted", "cy"), frames.ENCRYPTED_HEADER:
            refused = _headers(session, frame)
        case ("semi-honest", "server", 1, "encrypted", "cy"), frames.ENCRYPTED_HEADER:
            refused = [(remade(frame, {5: OTHER}), DECODE, "a channel key where nothing is padded")]
        case ("malicious", "server", 4, "encrypted", "ana"), frames.ENCRYPTED_HEADER:
            unasked = remade(frame, sender="cy")
            session.server_refuses("cy", unasked, PEER, "a header of a client that was not sampled")
        case ("malicious", "server", 1, "decrypt", _), frames.DECRYPTED:
            refused = _answers(frame)
            session.server_refuses("ana", remade(frame, sender="ana"), PEER, "an answer of a client's")
        case ("malicious", "server", 1, "decrypt", _), frames.CHUNK if at == [1, 0]:
            refused = _results(session, frame)
        case ("malicious", "holder", 1, "decrypt", _), frames.DECRYPTED:
            at = session.round_id, 0, 0
            unasked = chunk(identity(HOLDER), session.server.session, HOLDER, session.server.key.hash, at, bytes(52))
            salted = remade(frame, {4: bytes(60)})
            refused = [
                (unasked, PEER, "a sum, where the holder alone learns it"),
                (salted, DECODE, "a salt, where the holder alone learns the sum"),
            ]
    for bad, error, why in refused:
        session.server_refuses(name, bad, error, why)


def after_frames(session, arrived):
    """Second frames, identical and different, when all first ones are there."""
    last = dict(arrived)
    match place(session):
        case "malicious", "server", 1, "keys":
            other = remade(last[HOLDER], {4: frames.public(OTHER)})
            session.server_refuses(HOLDER, other, TWICE, "a second, different key")
            session.server_receive(HOLDER, last[HOLDER])
        case "malicious", "server", 1, "encrypted":
            session.server_refuses("cy", remade(last["cy"], {6: OTHER}), TWICE, "a second, different header")
            first = next(frame for name, frame in arrived if name == "cy")
            other = rechunked(session, first, payload=flipped(frames.outer(first)[1][6], 0))
            session.server_refuses("cy", other, TWICE, "a second, different chunk")
            session.server_receive("cy", last["cy"])
            session.server_receive("cy", first)
        case "malicious", "server", 1, "decrypt":
            answer = next(frame for _, frame in arrived)
            session.server_refuses(HOLDER, remade(answer, {5: OTHER}), TWICE, "a second, different answer")
            other = rechunked(session, last[HOLDER], payload=flipped(frames.outer(last[HOLDER])[1][6]))
            session.server_refuses(HOLDER, other, TWICE, "a second, different chunk of the sum")
            session.server_receive(HOLDER, answer)
            session.server_receive(HOLDER, last[HOLDER])
