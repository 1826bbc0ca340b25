"""aiomqtt: paho-mqtt's protocol on an asyncio event loop."""

import asyncio
import contextlib

import aiomqtt
from paho_properties import from_paho, session_expiry, to_paho
from serve import Connection, Refused, main


def code_of(error):
    code = getattr(error, "rc", None)
    return getattr(code, "value", code)


class Aiomqtt(Connection):
    async def connect(self, request):
        five = request["version"] == 5
        start = {"clean_start": request["clean"], "properties": session_expiry(request)} if five else {
            "clean_session": request["clean"]}
        sockets = {"transport": "websockets", "websocket_path": request["path"]} if request["transport"] in (
            "ws", "wss") else {}
        secure = {"tls_params": aiomqtt.TLSParameters(ca_certs=request["ca"])} if request["transport"] in (
            "tls", "wss") else {}
        will = request.get("will")
        self.client = aiomqtt.Client(
            request["host"], request["port"], identifier=request["client_id"],
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            keepalive=request["keep_alive"], username=request.get("user"), password=request.get("password"),
            will=will and aiomqtt.Will(will["topic"], will["payload"], will["qos"], will["retain"]),
            **start, **sockets, **secure)
        try:
            await self.client.__aenter__()
        except aiomqtt.MqttError as error:
            raise Refused(str(error), code_of(error)) from error
        self.reading = asyncio.create_task(self.read())
        return {}

    async def read(self):
        try:
            async for m in self.client.messages:
                self.message(m.topic.value, m.payload, m.qos, m.retain, from_paho(m.properties) if m.properties else {})
        except aiomqtt.MqttError as error:
            self.closed(code_of(error.__cause__ or error))

    async def subscribe(self, topic_filter, qos):
        granted = (await self.client.subscribe(topic_filter, qos))[0]
        return getattr(granted, "value", granted)

    async def unsubscribe(self, topic_filter):
        await self.client.unsubscribe(topic_filter)

    async def publish(self, topic, payload, qos, retain, properties):
        await self.client.publish(topic, payload, qos, retain, to_paho(properties))

    async def disconnect(self):
        self.reading.cancel()
        with contextlib.suppress(aiomqtt.MqttError):
            await self.client.__aexit__(None, None, None)


main(Aiomqtt)
