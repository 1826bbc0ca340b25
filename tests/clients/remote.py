"""A driver process as the scenarios see it: connections that subscribe, publish and receive."""

import asyncio
import base64
import dataclasses
import itertools
import json
import tempfile

LINE_BYTES_MAX = 16 * 1024 * 1024
# Nothing that a broker answers takes longer, even on a busy machine.
PATIENCE_S = 15
GONE = "the driver has ended"


class Failed(Exception):
    """What should have happened did not."""


class Refused(Exception):
    """The broker, or the library before it, said no to a request."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


@dataclasses.dataclass
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict

    def __str__(self):
        payload = self.payload[:40]
        return f"{self.topic} {payload!r}({len(self.payload)} bytes) QoS {self.qos} retain {self.retain}"


class Peer:
    """One MQTT connection."""

    def __init__(self, remote, name):
        self.remote, self.name = remote, name
        self.messages = asyncio.Queue()
        self.end = asyncio.get_running_loop().create_future()
        self.session_present = None

    async def subscribe(self, topic_filter, qos):
        granted = await self.remote.ask("subscribe", name=self.name, filter=topic_filter, qos=qos)
        if granted["granted"] != qos:
            raise Failed(f"subscribed to {topic_filter} with QoS {qos}, granted {granted['granted']}")

    async def unsubscribe(self, topic_filter):
        await self.remote.ask("unsubscribe", name=self.name, filter=topic_filter)

    async def publish(self, topic, payload, qos=1, retain=False, properties=None):
        """Returns when the broker has acknowledged it, as far as the QoS has that."""
        await self.remote.ask("publish", name=self.name, topic=topic, payload=base64.b64encode(payload).decode(),
                              qos=qos, retain=retain, properties=properties)

    async def receive(self, what="a message"):
        try:
            return await asyncio.wait_for(self.messages.get(), PATIENCE_S)
        except asyncio.TimeoutError:
            raise Failed(f"{what} did not arrive in {PATIENCE_S} s") from None

    async def expect(self, topic, payload, qos, retain=False):
        got, wanted = await self.receive(f"{topic}"), Message(topic, payload, qos, retain, {})
        if (got.topic, got.payload, got.qos, got.retain) != (topic, payload, qos, retain):
            raise Failed(f"expected {wanted}, got {got}")
        return got

    async def ended(self):
        """The reason code of the connection's end, None where there is none or the library does not tell."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.end), PATIENCE_S)
        except asyncio.TimeoutError:
            raise Failed(f"the connection did not end in {PATIENCE_S} s") from None

    async def disconnect(self):
        await self.remote.ask("disconnect", name=self.name)
        self.remote.peers.pop(self.name, None)


class Remote:
    """A running driver."""

    @classmethod
    async def start(cls, command, environment):
        self = cls()
        self.errors = tempfile.TemporaryFile()
        self.process = await asyncio.create_subprocess_exec(
            *command, env=environment, limit=LINE_BYTES_MAX,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=self.errors)
        self.numbers, self.waiting, self.peers = itertools.count(1), {}, {}
        self.gone = False
        self.reading = asyncio.create_task(self.read())
        return self

    async def read(self):
        while line := await self.process.stdout.readline():
            line = json.loads(line)
            if "id" in line:
                if (answer := self.waiting.pop(line["id"], None)) and not answer.done():
                    answer.set_result(line)
            elif peer := self.peers.get(line["name"]):
                self.happened(peer, line)
        self.gone = True
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_result({"ok": False, "error": GONE, "code": None})

    @staticmethod
    def happened(peer, line):
        if line["event"] == "message":
            peer.messages.put_nowait(Message(line["topic"], base64.b64decode(line["payload"]), line["qos"],
                                             line["retain"], line["properties"]))
        elif not peer.end.done():
            peer.end.set_result(line["code"])

    async def ask(self, verb, **request):
        if self.gone:
            raise Refused(f"{verb}: {GONE}", None)
        number = next(self.numbers)
        answer = self.waiting[number] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"id": number, "do": verb, **request}).encode() + b"\n")
        try:
            line = await asyncio.wait_for(answer, PATIENCE_S)
        except asyncio.TimeoutError:
            raise Failed(f"{verb} was not answered in {PATIENCE_S} s") from None
        if not line["ok"]:
            raise Refused(f"{verb}: {line['error']}", line["code"])
        return line

    async def connect(self, name, **request):
        peer = self.peers[name] = Peer(self, name)
        peer.session_present = (await self.ask("connect", name=name, **request)).get("session_present")
        return peer

    async def leave(self):
        """Disconnects whoever is still connected."""
        for peer in list(self.peers.values()):
            if not peer.end.done():
                await peer.disconnect()
        self.peers.clear()

    async def kill(self):
        """Ends it as a machine ends that loses power: without DISCONNECT. Gives what it said on standard error."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.reading
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")
        self.errors.close()
        return said
