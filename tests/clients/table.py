"""The clients under test, and what each of them offers."""

import dataclasses
import pathlib

DRIVERS = pathlib.Path(__file__).parent / "drivers"
TRANSPORTS = ("tcp", "tls", "ws", "wss")
PROTOCOLS = {4: "3.1.1", 5: "5.0"}


@dataclasses.dataclass
class Client:
    """`limits` are what the client itself cannot do, by scenario, transport, protocol or detail, with the reason."""

    name: str
    command: list
    limits: dict = dataclasses.field(default_factory=dict)

    def offers(self, what):
        return what not in self.limits


def python(driver):
    return ["{python}", str(DRIVERS / driver)]


SESSION_PRESENT_HIDDEN = "takes Session Present from CONNACK and tells nobody"

CLIENTS = [
    Client("paho-mqtt", python("with_paho.py")),
    Client("aiomqtt", python("with_aiomqtt.py"), {"session present": SESSION_PRESENT_HIDDEN}),
    Client("gmqtt", python("with_gmqtt.py"), {
        "ws": "has no WebSocket",
        "wss": "has no WebSocket",
    }),
    Client("amqtt", python("with_amqtt.py"), {
        "5.0": "speaks 3.1.1 only",
        "session present": SESSION_PRESENT_HIDDEN,
    }),
    Client("mqtt.js", ["node", str(DRIVERS / "with_mqttjs.cjs")]),
    Client("rumqttc", ["{rumqttc}"], {
        "5.0 keep alive": "takes no Keep Alive below 5 seconds in 5.0",
    }),
    Client("mosquitto", python("with_mosquitto.py"), {
        "ws": "mosquitto_sub has no WebSocket",
        "wss": "mosquitto_sub has no WebSocket",
        "keep alive": "mosquitto_sub takes no Keep Alive below 5 seconds",
        "unsubscribe": "mosquitto_sub ends instead",
        "DISCONNECT without will": "mosquitto_sub that is ended asks for its will to be published",
        "3.1.1 takeover": "mosquitto_sub that was ended comes back and takes its ClientID again",
        "session present": "mosquitto_sub does not print it",
    }),
]
