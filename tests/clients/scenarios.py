"""What is checked, written once for every client, protocol and transport."""

import asyncio
import base64
import hashlib

from remote import Failed, Refused

LARGE_BYTES = 800_000
# Bad user name or password, or not authorised: of 3.1.1, and of 5.0, which some libraries translate the former into.
WRONG_PASSWORD = {4, 5, 0x86, 0x87}
SESSION_TAKEN_OVER = 0x8E
EXPIRY_S = 600


def check(true, otherwise):
    if not true:
        raise Failed(otherwise)


async def qos(bench, level):
    """A message with this QoS to the broker and from it, at a wildcard filter."""
    subscriber, publisher = await bench.connect("subscriber"), await bench.connect("publisher")
    await subscriber.subscribe(bench.topic("+/ünï/#"), level)
    for number in range(3):
        topic, payload = bench.topic(f"{number}/ünï/code"), f"message {number} \u2713".encode()
        await publisher.publish(topic, payload, level)
        await subscriber.expect(topic, payload, level)


async def qos_0(bench):
    await qos(bench, 0)


async def qos_1(bench):
    await qos(bench, 1)


async def qos_2(bench):
    await qos(bench, 2)


async def unsubscribe(bench):
    """After UNSUBACK nothing more of it comes."""
    subscriber, publisher = await bench.connect("subscriber"), await bench.connect("publisher")
    await subscriber.subscribe(bench.topic("left"), 1)
    await subscriber.subscribe(bench.topic("kept"), 1)
    await subscriber.unsubscribe(bench.topic("left"))
    await publisher.publish(bench.topic("left"), b"unwanted")
    await publisher.publish(bench.topic("kept"), b"wanted")
    await subscriber.expect(bench.topic("kept"), b"wanted", 1)


async def retained(bench):
    """Set, received by who comes later, and cleared by an empty one."""
    topic, after = bench.topic("state"), bench.topic("after")
    publisher, first = await bench.connect("publisher"), await bench.connect("first")
    await publisher.publish(topic, b"old", 1, retain=True)
    await publisher.publish(topic, b"new", 1, retain=True)
    await first.subscribe(topic, 1)
    await first.expect(topic, b"new", 1, retain=True)
    await publisher.publish(topic, b"", 1, retain=True)
    await first.expect(topic, b"", 1)
    second = await bench.connect("second")
    await second.subscribe(bench.topic("+"), 1)
    await publisher.publish(after, b"nothing before this", 1)
    await second.expect(after, b"nothing before this", 1)


async def will(bench):
    """A client whose process is killed has its will published; one that disconnects has not."""
    topic = bench.topic("will")
    watcher = await bench.connect("watcher")
    await watcher.subscribe(topic, 1)
    if bench.client.offers("DISCONNECT without will"):
        polite = await bench.connect("polite", will={"topic": topic, "payload": "polite", "qos": 1, "retain": False})
        await polite.disconnect()
    victim = await bench.another_process()
    await bench.connect("victim", victim, will={"topic": topic, "payload": "gone", "qos": 1, "retain": False})
    await victim.kill()
    await watcher.expect(topic, b"gone", 1)


async def session(bench):
    """What came while it was away is waiting, in order within each QoS; the session and its subscription are there."""
    topic, same = bench.topic("waiting"), {"client_id": bench.client_id("away"), "clean": False, "expiry": EXPIRY_S}
    publisher = await bench.connect("publisher")
    # Discards what an earlier run may have left behind.
    await (await bench.connect("away", client_id=same["client_id"])).disconnect()
    away = await bench.connect("away", **same)
    bench.check_session_present(away, False)
    await away.subscribe(topic, 2)
    await away.disconnect()
    for number in range(10):
        await publisher.publish(topic, f"{number}".encode(), 1 + number % 2)
    back = await bench.connect("away", **same)
    bench.check_session_present(back, True)
    # Some clients hand on a message of QoS 2 with its PUBREL, and so after younger ones of QoS 1.
    got = [await back.receive("a message that was waiting") for _ in range(10)]
    for level, sent in ((1, range(0, 10, 2)), (2, range(1, 10, 2))):
        numbers = [int(message.payload) for message in got if message.qos == level]
        check(numbers == list(sent), f"sent {list(sent)} with QoS {level}, got {numbers}")
    await publisher.publish(topic, b"live", 1)
    await back.expect(topic, b"live", 1)
    await back.disconnect()
    # A clean one discards what is kept.
    clean = await bench.connect("away", client_id=same["client_id"])
    bench.check_session_present(clean, False)


async def shared(bench):
    """Each message to exactly one of two."""
    members = [await bench.connect("one"), await bench.connect("two")]
    publisher = await bench.connect("publisher")
    for member in members:
        await member.subscribe(f"$share/{bench.client_id('group')}/{bench.topic('job')}", 1)
        await member.subscribe(bench.topic("end"), 1)
    sent = sorted(f"{number}".encode() for number in range(20))
    for payload in sent:
        await publisher.publish(bench.topic("job"), payload)
    await publisher.publish(bench.topic("end"), b"")
    got = []
    for member in members:
        while (message := await member.receive("the end of the shared messages")).topic != bench.topic("end"):
            got.append(message.payload)
    check(sorted(got) == sent, f"sent {sent}, got {sorted(got)}")


async def large(bench):
    """A large payload, byte for byte, there and back."""
    payload = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(LARGE_BYTES // 32))
    subscriber, publisher = await bench.connect("subscriber"), await bench.connect("publisher")
    await subscriber.subscribe(bench.topic("large"), 2)
    for level in (0, 1, 2):
        await publisher.publish(bench.topic("large"), payload, level)
        got = await subscriber.receive(f"{LARGE_BYTES} bytes with QoS {level}")
        check(got.payload == payload, f"QoS {level}: {len(got.payload)} bytes came, not the {LARGE_BYTES} sent")


async def takeover(bench):
    """A second connection with the same ClientID ends the first, and serves on."""
    topic, same = bench.topic("mine"), bench.client_id("twin")
    first = await bench.connect("first", client_id=same)
    await first.subscribe(topic, 1)
    second = await bench.connect("second", client_id=same)
    await second.subscribe(topic, 1)
    code = await first.ended()
    if bench.version == 5:
        check(code == SESSION_TAKEN_OVER, f"DISCONNECT with reason code {code}, not {SESSION_TAKEN_OVER}")
    await (await bench.connect("publisher")).publish(topic, b"for the second", 1)
    await second.expect(topic, b"for the second", 1)


async def keep_alive(bench):
    """Who has nothing to say pings, is answered, and stays connected beyond one and a half times its Keep Alive."""
    seconds = 2
    peer = await bench.connect("quiet", keep_alive=seconds)
    await peer.subscribe(bench.topic("after"), 1)
    # That nothing happens is seen by waiting alone.
    done, _ = await asyncio.wait([peer.end], timeout=2 * seconds)
    check(not done, "the connection ended while it was quiet")
    await peer.publish(bench.topic("after"), b"still here", 1)
    await peer.expect(bench.topic("after"), b"still here", 1)


async def properties(bench):
    """User Properties in order, Response Topic, Correlation Data and Content Type arrive as sent; and the answer."""
    requester, responder = await bench.connect("requester"), await bench.connect("responder")
    await requester.subscribe(bench.topic("answers"), 1)
    await responder.subscribe(bench.topic("requests"), 1)
    sent = {"user": [["a", "1"], ["a", "2"], ["b", "3"]], "response_topic": bench.topic("answers"),
            "correlation": base64.b64encode(b"number 7").decode(), "content_type": "text/plain"}
    await requester.publish(bench.topic("requests"), b"question", 1, properties=sent)
    got = await responder.expect(bench.topic("requests"), b"question", 1)
    check(got.properties == sent, f"sent {sent}, got {got.properties}")
    await responder.publish(got.properties["response_topic"], b"answer", 1)
    await requester.expect(bench.topic("answers"), b"answer", 1)


async def password(bench):
    """The right one is let in, the wrong one and an unknown user are not."""
    user, right = bench.broker.user
    peer = await bench.connect("right", user=user, password=right)
    await peer.publish(bench.topic("let-in"), b"in", 1)
    for name, secret in ((user, right + "x"), ("nobody-" + user, right)):
        try:
            await bench.connect("wrong", user=name, password=secret)
        except Refused as refused:
            bench.remote.peers.pop("wrong")
            check(refused.code in WRONG_PASSWORD, f"{name} was refused with {refused.code}: {refused}")
        else:
            raise Failed(f"{name} was let in with a wrong password")


# The name of each as it is printed, and named in the limits of a client.
SCENARIOS = {
    "QoS 0": qos_0,
    "QoS 1": qos_1,
    "QoS 2": qos_2,
    "unsubscribe": unsubscribe,
    "retained message": retained,
    "will": will,
    "persistent session": session,
    "shared subscription": shared,
    "large payload": large,
    "takeover": takeover,
    "keep alive": keep_alive,
    "properties": properties,
    "user and password": password,
}
# Those of 5.0 alone.
ONLY_5 = {"properties"}
# Those that take time and have nothing to do with the transport.
ONLY_TCP = {"keep alive"}
# Parts of a scenario that some clients do not offer, while they offer the rest.
DETAILS = {"session present", "DISCONNECT without will"}
