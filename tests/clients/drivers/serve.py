"""What every Python driver shares: requests as JSON lines on standard input, answers and events on standard output.

A driver is one MQTT library behind the same few requests, so that the scenarios are written once:

    {"id": 1, "do": "connect", "name": "a", "host": …, "port": …, "transport": "tcp|tls|ws|wss", "path": …, "ca": …,
     "version": 4|5, "client_id": …, "clean": …, "expiry": seconds, "keep_alive": seconds, "user": …, "password": …, "will": {…}}
    {"id": 2, "do": "subscribe", "name": "a", "filter": …, "qos": …}
    {"id": 3, "do": "unsubscribe", "name": "a", "filter": …}
    {"id": 4, "do": "publish", "name": "a", "topic": …, "payload": base64, "qos": …, "retain": …, "properties": {…}}
    {"id": 5, "do": "disconnect", "name": "a"}

Each is answered, when the broker's acknowledgement is there, by {"id": …, "ok": true, …} or
{"id": …, "ok": false, "error": …, "code": …}. Between the answers come the events
{"event": "message", "name": "a", …} and {"event": "closed", "name": "a", "code": …}: the connection ended without
having been asked to. A driver ends with its standard input, or by being killed, as a client whose machine lost power.
"""

import asyncio
import base64
import json
import sys
import traceback

LINE_BYTES_MAX = 16 * 1024 * 1024


class Refused(Exception):
    """The broker said no."""

    def __init__(self, text, code=None):
        super().__init__(text)
        self.code = code


class Connection:
    """One connection of one library. `connect`, `subscribe`, `unsubscribe`, `publish`, `disconnect` are the driver's."""

    def __init__(self, name):
        self.name = name
        self.leaving = False

    def message(self, topic, payload, qos, retain, properties=None):
        """To be called with each message that arrives."""
        say(event="message", name=self.name, topic=topic, payload=base64.b64encode(payload).decode(), qos=int(qos),
            retain=bool(retain), properties=properties or {})

    def closed(self, code=None):
        """To be called when the connection has ended; once, and not after `disconnect`."""
        if not self.leaving:
            self.leaving = True
            say(event="closed", name=self.name, code=code)


def say(**line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def perform(connections, kind, request):
    verb, name = request["do"], request["name"]
    if verb == "connect":
        connection = connections[name] = kind(name)
        return await connection.connect(request) or {}
    connection = connections[name]
    if verb == "subscribe":
        return {"granted": await connection.subscribe(request["filter"], request["qos"])}
    if verb == "unsubscribe":
        await connection.unsubscribe(request["filter"])
    elif verb == "publish":
        payload = base64.b64decode(request["payload"])
        await connection.publish(request["topic"], payload, request["qos"], request["retain"], request["properties"])
    elif verb == "disconnect":
        connection.leaving = True
        await connection.disconnect()
        del connections[name]
    return {}


async def answer(connections, kind, request):
    try:
        result = await perform(connections, kind, request)
        say(id=request["id"], ok=True, **result)
    except Exception as error:  # whatever a library throws is the answer
        code = getattr(error, "code", None)
        if not isinstance(error, Refused):
            traceback.print_exc()
        say(id=request["id"], ok=False, error=f"{type(error).__name__}: {error}", code=code)


async def serve(kind):
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    connections, running = {}, set()
    while line := await requests.readline():
        task = asyncio.create_task(answer(connections, kind, json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)


def main(kind):
    asyncio.run(serve(kind))
