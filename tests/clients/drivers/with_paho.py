"""paho-mqtt: its network loop runs in a thread of its own, as most programs use it."""

import asyncio

import paho.mqtt.client as mqtt
from paho_properties import from_paho, session_expiry, to_paho
from serve import Connection, Refused, main


class Paho(Connection):
    async def connect(self, request):
        self.loop = asyncio.get_running_loop()
        self.connected = self.loop.create_future()
        # Acknowledgements by Packet Identifier; one may come before its request is waited for.
        self.acknowledged = {}
        five = request["version"] == 5
        clean = {} if five else {"clean_session": request["clean"]}
        self.client = client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, request["client_id"], protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
            transport="websockets" if request["transport"] in ("ws", "wss") else "tcp", reconnect_on_failure=False,
            **clean)
        if request["transport"] in ("tls", "wss"):
            client.tls_set(ca_certs=request["ca"])
        client.ws_set_options(path=request["path"])
        if request.get("user"):
            client.username_pw_set(request["user"], request["password"])
        if will := request.get("will"):
            client.will_set(will["topic"], will["payload"], will["qos"], will["retain"])
        client.on_connect = self.on_connect
        client.on_disconnect = lambda _c, _u, flags, code, _p: self.on_loop(self.ended, flags, code)
        client.on_message = lambda _c, _u, m: self.on_loop(
            self.message, m.topic, m.payload, m.qos, m.retain, from_paho(m.properties) if m.properties else {})
        client.on_publish = lambda _c, _u, mid, _r, _p: self.on_loop(self.acknowledge, mid, None)
        client.on_subscribe = lambda _c, _u, mid, codes, _p: self.on_loop(self.acknowledge, mid, codes[0].value)
        client.on_unsubscribe = lambda _c, _u, mid, _r, _p: self.on_loop(self.acknowledge, mid, None)
        start = {"clean_start": request["clean"], "properties": session_expiry(request)} if five else {}
        await asyncio.to_thread(client.connect, request["host"], request["port"], request["keep_alive"], **start)
        client.loop_start()
        return {"session_present": await self.connected}

    def on_loop(self, function, *arguments):
        self.loop.call_soon_threadsafe(function, *arguments)

    def on_connect(self, _client, _userdata, flags, code, _properties):
        def settle():
            if self.connected.done():
                return
            if code.is_failure:
                self.leaving = True
                self.connected.set_exception(Refused(str(code), code.value))
            else:
                self.connected.set_result(flags.session_present)

        self.on_loop(settle)

    def ended(self, flags, code):
        if not self.connected.done():
            self.connected.set_exception(Refused(f"closed without CONNACK: {code}"))
        self.closed(code.value if flags.is_disconnect_packet_from_server else None)

    def acknowledge(self, mid, result):
        self.acknowledged.setdefault(mid, self.loop.create_future()).set_result(result)

    async def acknowledgement(self, mid):
        result = await self.acknowledged.setdefault(mid, self.loop.create_future())
        del self.acknowledged[mid]
        return result

    async def subscribe(self, topic_filter, qos):
        return await self.acknowledgement(self.client.subscribe(topic_filter, qos)[1])

    async def unsubscribe(self, topic_filter):
        await self.acknowledgement(self.client.unsubscribe(topic_filter)[1])

    async def publish(self, topic, payload, qos, retain, properties):
        await self.acknowledgement(self.client.publish(topic, payload, qos, retain, to_paho(properties)).mid)

    async def disconnect(self):
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)


main(Paho)
