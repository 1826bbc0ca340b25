"""amqtt's client: 3.1.1 on an asyncio event loop."""

import asyncio
import contextlib
import ssl
from urllib.parse import quote

from amqtt.client import ClientConfig, MQTTClient
from amqtt.errors import ClientError, ConnectError
from serve import Connection, Refused, main

SCHEMES = {"tcp": "mqtt", "tls": "mqtts", "ws": "ws", "wss": "wss"}


class Amqtt(Connection):
    async def connect(self, request):
        config = {"auto_reconnect": False, "keep_alive": request["keep_alive"]}
        if will := request.get("will"):
            config["will"] = {"topic": will["topic"], "message": will["payload"], "qos": will["qos"],
                              "retain": will["retain"]}
        self.client = MQTTClient(request["client_id"], ClientConfig.from_dict(config))
        scheme = SCHEMES[request["transport"]]
        who = f"{quote(request['user'])}:{quote(request['password'])}@" if request.get("user") else ""
        path = request["path"] if scheme in ("ws", "wss") else ""
        uri = f"{scheme}://{who}{request['host']}:{request['port']}{path}"
        try:
            await self.client.connect(uri, cleansession=request["clean"], cafile=request["ca"])
        except ConnectError as error:
            raise Refused(str(error), error.return_code) from error
        self.reading = asyncio.create_task(self.read())
        return {}

    async def read(self):
        try:
            # None comes when the connection has ended.
            while m := await self.client.deliver_message():
                self.message(m.topic, bytes(m.data), m.qos, m.retain)
        except (asyncio.CancelledError, ClientError):
            pass
        self.closed()

    async def subscribe(self, topic_filter, qos):
        return (await self.client.subscribe([(topic_filter, qos)]))[0]

    async def unsubscribe(self, topic_filter):
        await self.client.unsubscribe([topic_filter])

    async def publish(self, topic, payload, qos, retain, _properties):
        await self.client.publish(topic, payload, qos=qos, retain=retain)

    async def disconnect(self):
        # What was on its way when TLS was closed is an error to Python's TLS, not to MQTT.
        with contextlib.suppress(ssl.SSLError):
            await self.client.disconnect()
        self.reading.cancel()


main(Amqtt)
