"""mosquitto_sub and mosquitto_pub: a connection is a running mosquitto_sub, a PUBLISH a mosquitto_pub of its own.

mosquitto_sub connects and subscribes in one go, so it is started by the first subscription, or by the first of
everything else. What it tells besides messages is read from its `-d` lines.
"""

import asyncio
import base64
import ctypes
import re
import signal

from serve import LINE_BYTES_MAX, Connection, Refused, main

PR_SET_PDEATHSIG = 1
MESSAGE = "MESSAGE|%q|%r|%t|%R|%C|%P|%D|%x"
# Filters of connections that only want to be connected: nobody publishes there.
NOTHING = "clients/nothing"


def end_with_parent():
    """A driver that is killed takes its mosquitto_sub along: that is how its machine loses power."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Mosquitto(Connection):
    async def connect(self, request):
        self.request = request
        self.process = None
        self.filters = []
        # A clean one is opened by its subscription; whoever resumes a session, has a will or is refused is so at once.
        if not request["clean"] or request.get("will") or request.get("user"):
            await self.start([NOTHING], 0)
        return {}

    def route(self, client_id):
        request = self.request
        arguments = ["-h", request["host"], "-p", str(request["port"]), "-i", client_id,
                     "-V", "mqttv5" if request["version"] == 5 else "mqttv311"]
        if request["transport"] == "tls":
            arguments += ["--cafile", request["ca"]]
        if request.get("user"):
            arguments += ["-u", request["user"], "-P", request["password"]]
        return arguments

    async def start(self, filters, qos):
        request = self.request
        arguments = self.route(request["client_id"]) + ["-d", "-F", MESSAGE, "-q", str(qos)]
        for topic_filter in filters:
            arguments += ["-t", topic_filter]
        if not request["clean"]:
            arguments.append("-c")
        if request["version"] == 5 and request["expiry"]:
            arguments += ["-x", str(request["expiry"])]
        if will := request.get("will"):
            arguments += ["--will-topic", will["topic"], "--will-payload", will["payload"],
                          "--will-qos", str(will["qos"])] + (["--will-retain"] if will["retain"] else [])
        self.subscribed = asyncio.get_running_loop().create_future()
        self.process = await asyncio.create_subprocess_exec(
            # Its debug lines shall not wait in a buffer.
            "stdbuf", "-oL", "mosquitto_sub", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES_MAX, preexec_fn=end_with_parent)
        self.reading = asyncio.create_task(self.read(self.process))
        return await self.subscribed

    async def read(self, process):
        connects, code, said = 0, None, ""
        while line := (await process.stdout.readline()).decode().rstrip("\n"):
            if line.startswith("MESSAGE|"):
                self.arrived(line)
                continue
            said = line
            if subscribed := re.match(r"Subscribed \(mid: \d+\): (\d+)", line):
                # Its signal handler prints too, and may print this line a second time.
                if not self.subscribed.done():
                    self.subscribed.set_result(int(subscribed[1]))
            elif refused := re.search(r"received CONNACK \(([1-9]\d*)\)", line):
                self.subscribed.set_exception(Refused(line, int(refused[1])))
                break
            elif ended := re.search(r"Received DISCONNECT \((\d+)\)", line):
                code = int(ended[1])
                break
            elif line.endswith("sending CONNECT"):
                connects += 1
                # It would come back for ever.
                if connects > 1:
                    break
        if process.returncode is None:
            process.kill()
        await process.wait()
        if not self.subscribed.done():
            self.subscribed.set_exception(Refused(f"mosquitto_sub ended: {said}"))
        self.closed(code)

    def arrived(self, line):
        _, qos, retain, topic, response, kind, pairs, correlation, payload = line.split("|")
        told = {}
        if pairs:
            told["user"] = [pair.split(":", 1) for pair in pairs.split(" ")]
        if response:
            told["response_topic"] = response
        if kind:
            told["content_type"] = kind
        if correlation:
            told["correlation"] = base64.b64encode(correlation.encode()).decode()
        self.message(topic, bytes.fromhex(payload), qos, retain == "1", told)

    async def subscribe(self, topic_filter, qos):
        # A running mosquitto_sub takes no further subscription.
        if self.process:
            await self.stop()
        self.filters.append(topic_filter)
        return await self.start(self.filters, qos)

    async def unsubscribe(self, _topic_filter):
        raise Refused("a running mosquitto_sub takes no request")

    async def publish(self, topic, payload, qos, retain, properties):
        arguments = self.route(self.request["client_id"] + "-pub") + ["-t", topic, "-q", str(qos)]
        arguments += ["-r"] if retain else []
        arguments += ["-s"] if payload else ["-n"]
        if properties:
            for name, value in properties["user"]:
                arguments += ["-D", "PUBLISH", "user-property", name, value]
            arguments += ["-D", "PUBLISH", "response-topic", properties["response_topic"]]
            arguments += ["-D", "PUBLISH", "content-type", properties["content_type"]]
            correlation = base64.b64decode(properties["correlation"]).decode()
            arguments += ["-D", "PUBLISH", "correlation-data", correlation]
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, preexec_fn=end_with_parent)
        said, _ = await process.communicate(payload or None)
        if process.returncode != 0:
            raise Refused(f"mosquitto_pub: {said.decode().strip()}", process.returncode)

    async def stop(self):
        self.leaving = True
        self.process.terminate()
        await self.reading
        self.leaving = False

    async def disconnect(self):
        if self.process:
            self.process.terminate()
            await self.reading


main(Mosquitto)
