"""What the generators of sessions share: the account of what parties do, with every frame listed once under a name of its own."""

from bisect import bisect_left
from hashlib import sha256

from reference import errors
from vectors.generate_pairwise_session import text


def common(a, b):
    """Return how many first bytes two byte strings share."""
    end = min(len(a), len(b))
    return bisect_left(range(end), True, key=lambda i: a[: i + 1] != b[: i + 1])


class Pieces:
    """Finds what a frame has in common with frames that are known already."""

    SIZE = 24  # bytes in common that are worth a piece

    def __init__(self):
        self.frames, self.blocks = {}, {}

    def add(self, name, data):
        self.frames[name] = data
        for at in range(0, len(data) - self.SIZE + 1, self.SIZE):
            self.blocks.setdefault(data[at : at + self.SIZE], (name, at))

    def cut(self, frame):
        """Return the frame as bytes, and as (name, start, stop) of frames that have the same there."""
        out, done, at = [], 0, 0
        while at + self.SIZE <= len(frame):
            name, there = self.blocks.get(frame[at : at + self.SIZE], (None, 0))
            if name is None:
                at += 1
                continue
            other = self.frames[name]
            before = common(frame[done:at][::-1], other[:there][::-1])
            stop = common(frame[at:], other[there:])
            if at - before > done:
                out.append(frame[done : at - before])
            out.append([name, there - before, there + stop])
            done = at = at + stop
        return [*out, frame[done:]] if done < len(frame) else out


class Script:
    """The cases of a file, to which sessions add one after the other; a session has its `server` and its `cases`."""

    def __init__(self, cases):
        self.cases, self.frames = cases, {}

    def note(self, op, given, made, error=None, why=None):
        case = {"op": op, "input": text(given), "output": text(made), "success": error is None, "error": error}
        self.cases.append(case if why is None else case | {"note": why})

    def in_full(self, frame, sender):
        """Whether a frame's bytes are listed, and not their SHA-256 alone."""
        raise NotImplementedError

    def _known(self, frame):
        return next((name for name, data in self.frames.items() if data == frame), None)

    def _named(self, sender, made, to=False):
        """Give frames their names, and note each one's bytes, or of a long one the SHA-256, once."""
        out = []
        for frame, recipients in made:
            name = self._known(frame)
            entry = {"frame": name or f"{len(self.frames)} {sender}"}
            if to:
                entry["to"] = recipients
            if name is None:
                self.frames[entry["frame"]] = frame
                entry |= {"bytes": frame} if self.in_full(frame, sender) else {"sha256": sha256(frame).digest()}
            out.append(entry)
        return out

    def _given(self, frame):
        """Return a frame by its name, or by the name of the one that it has most in common with and what is between."""
        name = self._known(frame)
        if name is not None:
            return {"frame": name}
        best = {"bytes": frame}
        for name, other in self.frames.items():
            head = common(frame, other)
            tail = common(frame[head:][::-1], other[head:][::-1])
            middle = frame[head : len(frame) - tail]
            if len(middle) + 32 < len(best["bytes"]):
                best = {"like": name, "head": head, "tail": tail, "bytes": middle}
        return best

    def _sent(self, sender, party):
        return self._named(sender, [(frame, None) for frame in party.outbox()])

    def _server_frames(self, everybody):
        """Name what the server sends, and keep it by recipient."""
        made = {}
        for to, frame in self.server.outbox():
            made.setdefault(frame, []).append(to)
        self.inbox = {name: [frame for frame, to in made.items() if name in to] for name in everybody}
        return self._named("server", list(made.items()), to=True)

    def _refuses(self, op, receive, given, error, why):
        refused = None
        try:
            receive()
        except (errors.PeerError, errors.AbortError) as raised:
            refused = type(raised).__name__
        if refused != error:
            raise AssertionError(f"{why}: {refused}, not {error}")
        self.note(op, given, None, error, why)

    # -- the script's verbs ---------------------------------------------------------------------------------------

    def server_receive(self, name, frame):
        self.server.receive(frame, sender=name)
        self.note("server_receive", {"sender": name, **self._given(frame)}, None)

    def server_refuses(self, name, frame, error, why):
        given = {"sender": name, **self._given(frame)}
        self._refuses("server_receive", lambda: self.server.receive(frame, sender=name), given, error, why)
