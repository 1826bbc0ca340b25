"""The properties of a message between the driver's words and paho-mqtt's, which aiomqtt uses too."""

import base64

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def to_paho(wanted):
    if not wanted:
        return None
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [tuple(pair) for pair in wanted["user"]]
    properties.ResponseTopic = wanted["response_topic"]
    properties.CorrelationData = base64.b64decode(wanted["correlation"])
    properties.ContentType = wanted["content_type"]
    return properties


def from_paho(properties):
    told = {}
    if hasattr(properties, "UserProperty"):
        told["user"] = [list(pair) for pair in properties.UserProperty]
    if hasattr(properties, "ResponseTopic"):
        told["response_topic"] = properties.ResponseTopic
    if hasattr(properties, "CorrelationData"):
        told["correlation"] = base64.b64encode(properties.CorrelationData).decode()
    if hasattr(properties, "ContentType"):
        told["content_type"] = properties.ContentType
    return told


def session_expiry(request):
    """The properties of a CONNECT."""
    if request["version"] != 5:
        return None
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = request["expiry"]
    return properties
