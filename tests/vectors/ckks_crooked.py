"""What a malicious party of ckks makes for the script: an upload, a sum and a check lane that must not count."""

from hashlib import sha256

from reference import ckks_cipher, frames
from reference.ckks_common import chunk, tag
from reference.frames import HOLDER, SERVER
from vectors.pairwise_refusals import ABORT, AUTH, PEER, identity, remade

THRESHOLD = "ThresholdError"


def malformed_upload(session):
    """Return the frames of cy's upload with a c1 of zero in its first polynomial; its header fits."""
    client, settings = session.clients["cy"], session.settings
    fields = [frames.outer(frame)[1] for frame in client.round.frames[:-1]]
    payloads = {(number, index): payload for _, _, _, number, index, _, payload in fields}
    half = settings.N * settings.B // 8
    payloads[1, 0] = bytes(half) + payloads[1, 0][half:]
    return client.frame(payloads, b"the model")


def is_refused(session, name, frame):
    """Let the server refuse cy's malformed upload when its last frame is there, and anything after that."""
    settings = session.settings
    if (settings.threat, settings.reveal, session.round_id, name) != ("malicious", "server", 2, "cy"):
        return False
    if frame[3] != frames.ENCRYPTED_HEADER:
        return False
    session.server_refuses(name, frame, AUTH, "an upload with a c1 of zero")
    session.server_refuses(name, frame, PEER, "a frame of an upload that was refused")
    return True


def crooked_sum(session, round_id):
    """The server adds cy's upload twice, and bo's not at all: a pad stays, and the holder refuses, then and ever after."""
    session.open_round(round_id, None)
    session.exchange()
    request = session.inbox[HOLDER][0]
    current, settings = session.server.round, session.settings
    parts = [current.ciphertexts[name] for name in ("ana", "cy", "cy", "éva")]
    wrong = ckks_cipher.total(settings, parts)
    payloads = {at: ckks_cipher.to_bytes(settings, wrong[at]) for at in settings.places()}
    told = tag({at: sha256(payload).digest() for at, payload in payloads.items()})
    session.receive(HOLDER, remade(request, {5: told}))
    key_hash = session.server.key.hash
    made = [
        chunk(identity(SERVER), session.server.session, SERVER, key_hash, (round_id, *at), payload)
        for at, payload in payloads.items()
    ]
    for frame in made[:-1]:
        session.receive(HOLDER, frame)
    session.refuses(HOLDER, made[-1], ABORT, "a sum in which an upload is twice and another not at all")
    session.refuses(HOLDER, request, PEER, "a round that could not be opened, and is over")
    session.close_phase(THRESHOLD, "no answer of the holder's")


def garbled_lane(session, round_id):
    """A client whose check lane is 2: its upload cannot be told from others', but the holder refuses the sum."""

    def garbled(session):
        client = session.clients["bo"]
        vectors = [list(vector) for vector in session.vectors]
        vectors[0][2] = 2
        return client.protect(client.encrypt(vectors), b"the model")

    session.open_round(round_id, None)
    session.exchange(replace={"bo": garbled})
    *frames_before, last = session.inbox[HOLDER]
    for frame in frames_before:
        session.receive(HOLDER, frame)
    session.refuses(HOLDER, last, ABORT, "a check lane that does not hold")
    session.close_phase(THRESHOLD, "no answer of the holder's")
