"""How the server opens a sum (spec, section 7): shares to masks, who is to blame, and what the sum must satisfy."""

from itertools import combinations, islice

from reference import dealing, field, frames
from reference.errors import AbortError, AuthenticationError, PeerError, ThresholdError, refuse
from reference.party import apply

TRIES = 64  # subsets of one dealer's matching shares
SEED, KEY = 0, 1  # kinds of share: of a self-mask seed, of a mask private key
SHARE, LENGTH = (24, 40), (16, 32)


def read_answer(answer, setup, holder, complaints, members, participants, survivors):
    """Return an answer as {(kind, target rank): (share, opening)}; anything but exactly what was asked is refused."""
    path = 16 + 32 * (2 * setup.rounds - 1).bit_length()
    known = [rank for rank in participants if rank == holder or rank in setup.graph[holder]]
    known = [rank for rank in known if rank in members and rank not in complaints]
    shares = {}
    for kind in (SEED, KEY):
        targets = [rank for rank in known if (rank in survivors) == (kind == SEED)]
        data, openings, size = answer[kind], answer[2 + kind], SHARE[kind]
        lengths = (len(data), len(openings)) == (size * len(targets), path * len(targets))
        refuse(not lengths, PeerError, "answer of another length")
        for i, rank in enumerate(targets):
            shares[kind, rank] = data[size * i : size * i + size], openings[path * i : path * i + path]
    return shares


def holder_root(setup, dealer, holder, roots):
    """Cut a holder's root out of a dealer's holder hashes."""
    at = sorted([dealer, *setup.graph[dealer]]).index(holder)
    return roots[32 * at : 32 * at + 32]


class Opener:
    """`dealings` maps a dealer's rank to its dealing's body, `answers` a holder's rank to what `read_answer` returned."""

    def __init__(self, setup, round_id, dealings, answers):
        self.setup, self.round_id, self.dealings, self.answers = setup, round_id, dealings, answers
        self.at, self.blamed = round_id - setup.first_round, {}

    def secret(self, kind, target):
        """Return a survivor's seed or a dropout's mask private key."""
        settings = self.setup.settings
        held = {holder: shares[kind, target] for holder, shares in self.answers.items() if (kind, target) in shares}
        needed = settings.t if kind == SEED else min(settings.t, len(self.setup.graph[target]))
        refuse(len(held) < needed, ThresholdError, f"shares of {self.setup.ids[target]}: {len(held)} of {needed}")
        secret = self._combined(kind, target, held, sorted(held)[:needed])
        if secret is not None:
            return secret
        right = {holder: made for holder, made in held.items() if self._dealt(kind, target, holder, made)}
        for holder in held.keys() - right.keys():
            self.blamed[self.setup.ids[holder]] = "wrong share"
        refuse(len(right) < needed, ThresholdError, f"right shares of {self.setup.ids[target]}")
        for tries, subset in enumerate(islice(combinations(sorted(right), needed), TRIES)):
            secret = self._combined(kind, target, right, subset)
            if secret is not None:
                if tries:
                    self.blamed[self.setup.ids[target]] = "inconsistent dealing"
                return secret
        self.blamed[self.setup.ids[target]] = "inconsistent dealing"
        raise AbortError(f"{self.setup.ids[target]} dealt inconsistent shares")

    def _dealt(self, kind, target, holder, made):
        root = holder_root(self.setup, target, holder, self.dealings[target][3])
        return dealing.opens(root, 2 * self.at + kind, *made)

    def _combined(self, kind, target, held, holders):
        """Return the secret if these holders' shares make the one that the dealer committed to, else None."""
        shares = {holder + 1: held[holder][0] for holder in holders}
        limbs = [int.from_bytes(s[i : i + 8], "little") for s in shares.values() for i in range(0, len(s), 8)]
        if max(limbs) >= field.P:
            return None
        try:
            secret = field.combine(shares, LENGTH[kind])
        except OverflowError:
            return None
        if kind == KEY:
            return secret if frames.public(secret) == self.setup.mask_keys[target][self.at] else None
        commitment = self.dealings[target][2][32 * self.at : 32 * self.at + 32]
        made = dealing.commitment(self.setup.hash, self.setup.ids[target], self.round_id, secret)
        return secret if made == commitment else None

    def masks(self, participants, survivors):
        """Return (key, sign) of everything to be added to the masked sum."""
        masks = [(self.secret(SEED, rank), -1) for rank in survivors]
        edges = self.setup.edges(self.round_id, participants)
        for rank in [rank for rank in participants if rank not in survivors]:
            private = self.secret(KEY, rank)
            for other in sorted(edges[rank] & set(survivors)):
                seed = self.setup.pair_seed(private, self.round_id, participants, rank, other)
                masks.append((seed, -1 if other < rank else 1))
        return masks


def open_sums(settings, vectors, masks):
    """Return the opened sum of each segment of the survivors' masked vectors, or abort where it cannot be right."""
    sums = []
    for number, part in enumerate(settings.segments):
        total = [sum(column) % 2**part.w for column in zip(*(rows[number] for rows in vectors), strict=True)]
        sums.append(apply(total, masks, number, part.w))
    check_sums(settings, sums, len(vectors))
    return sums


def check_sums(settings, sums, count):
    """Abort where opened sums of `count` uploads cannot be right."""
    (weight, clipped, lanes) = sums[0]
    refuse(lanes != count, AbortError, "the check lane does not hold")
    refuse(not 0 < weight <= settings.max_weight * count, AbortError, "the sum of weights cannot be")
    values = sum(part.count for part in settings.segments[1:])
    refuse(clipped > count * values, AbortError, "the count of clipped values cannot be")
    for part, row in zip(settings.segments[1:], sums[1:], strict=True):
        refuse(max(row) > weight * part.levels, AbortError, f"a sum of {part.name} cannot be")


def check_answer(setup, key, account, body):
    """Return the plaintext fields of a kind 8 body that answers `account`, its signature checked by `key`."""
    _, told, signature, sealed, _ = body
    refuse(told != account, AuthenticationError, "answer to another account")
    frames.verify(key[0], account, signature)
    return frames.read(frames.unseal(key[1], sealed, account), frames.ANSWER)
