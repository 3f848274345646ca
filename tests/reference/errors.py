"""How a party refuses; the names say what was wrong and are those of the test vectors (spec, section 13)."""


class PeerError(Exception):
    """A frame was refused; nothing of it was kept."""


class DecodeError(PeerError):
    """No frame of this version, not in its one encoding, or a field of another length."""


class AuthenticationError(PeerError):
    """A signature, tag, key or binding does not hold."""


class EquivocationError(PeerError):
    """A second, different frame where there may be one."""


class AbortError(Exception):
    """A setup or round is over; nothing was released."""


class ThresholdError(AbortError):
    """Too few took part."""


def refuse(wrong, error, text):
    """Raise `error` if something is wrong."""
    if wrong:
        raise error(text)
