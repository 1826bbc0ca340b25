"""gmqtt: a protocol of its own on an asyncio event loop."""

import asyncio
import base64
import contextlib
import ssl

import gmqtt
from serve import Connection, Refused, main

# gmqtt counts failed attempts from 0 and takes -1 for "without end".
NEVER_RECONNECT = -2


class Gmqtt(Connection):
    async def connect(self, request):
        five = request["version"] == 5
        expiry = {"session_expiry_interval": request["expiry"]} if five else {}
        will = request.get("will")
        self.client = client = gmqtt.Client(
            request["client_id"], clean_session=request["clean"], **expiry,
            will_message=will and gmqtt.Message(will["topic"], will["payload"], will["qos"], will["retain"]))
        client.set_config({"reconnect_retries": NEVER_RECONNECT})
        if request.get("user"):
            client.set_auth_credentials(request["user"], request["password"])
        # Acknowledgements by Packet Identifier; one may come before its request is waited for.
        self.acknowledged = {}
        session_present = None

        def on_connect(_client, flags, _code, _properties):
            nonlocal session_present
            session_present = bool(flags & 1)

        client.on_connect = on_connect
        client.on_message = self.on_message
        client.on_subscribe = lambda _client, mid, granted, _properties: self.acknowledge(mid, granted[0])
        client.on_unsubscribe = lambda _client, mid, _codes: self.acknowledge(mid, None)
        client.on_disconnect = lambda _client, packet, exc=None: self.closed(
            packet[0] if five and isinstance(packet, bytes) and packet else None)
        secure = ssl.create_default_context(cafile=request["ca"]) if request["transport"] == "tls" else False
        version = gmqtt.constants.MQTTv50 if five else gmqtt.constants.MQTTv311
        try:
            await client.connect(request["host"], request["port"], ssl=secure, keepalive=request["keep_alive"],
                                 version=version)
        except gmqtt.mqtt.handler.MQTTConnectError as error:
            self.leaving = True
            raise Refused(str(error), error._code) from error
        return {"session_present": session_present}

    async def on_message(self, _client, topic, payload, qos, properties):
        told = {}
        if "user_property" in properties:
            told["user"] = [list(pair) for pair in properties["user_property"]]
        for theirs, ours in (("response_topic", "response_topic"), ("content_type", "content_type")):
            if theirs in properties:
                told[ours] = properties[theirs][0]
        if "correlation_data" in properties:
            told["correlation"] = base64.b64encode(properties["correlation_data"][0]).decode()
        self.message(topic, payload, qos, properties["retain"], told)
        return 0

    def acknowledge(self, mid, result):
        self.acknowledged.setdefault(mid, asyncio.get_running_loop().create_future()).set_result(result)

    async def acknowledgement(self, mid):
        result = await self.acknowledged.setdefault(mid, asyncio.get_running_loop().create_future())
        del self.acknowledged[mid]
        return result

    async def subscribe(self, topic_filter, qos):
        return await self.acknowledgement(self.client.subscribe(topic_filter, qos))

    async def unsubscribe(self, topic_filter):
        await self.acknowledgement(self.client.unsubscribe(topic_filter))

    async def publish(self, topic, payload, qos, retain, properties):
        wanted = {}
        if properties:
            wanted = {
                "user_property": [tuple(pair) for pair in properties["user"]],
                "response_topic": properties["response_topic"],
                "correlation_data": base64.b64decode(properties["correlation"]),
                "content_type": properties["content_type"],
            }
        self.client.publish(topic, payload, qos=qos, retain=retain, **wanted)
        # The only thing gmqtt tells of acknowledgements: nothing is left that waits for one.
        await self.client._persistent_storage.wait_empty()

    async def disconnect(self):
        # What was on its way when TLS was closed is an error to Python's TLS, not to MQTT.
        with contextlib.suppress(ssl.SSLError):
            await self.client.disconnect()


main(Gmqtt)
