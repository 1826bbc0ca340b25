//! 7 Conformance: the transports an exchange runs over.

use crate::support::broker;
use crate::support::build::Connect;
use crate::support::client::Client;
use crate::support::transport::{self, WebSocket, Wire};
use crate::support::unique;
use crate::support::wire::Version::V3;

/// [MQTT3-7.1.1-1]
#[test]
fn mqtt3_7_1_1_1_every_transport_carries_a_whole_exchange() {
    let broker = broker::with(broker::SECURE);
    let ca = broker.place().join("certs/dev/ca.pem");
    let wires: [Box<dyn Wire>; 4] = [
        Box::new(transport::tcp(broker.addr("mqtt"))),
        Box::new(transport::tls(broker.addr("mqtts"), &ca)),
        Box::new(WebSocket::over(Box::new(transport::tcp(broker.addr("ws"))))),
        Box::new(WebSocket::over(Box::new(transport::tls(broker.addr("wss"), &ca)))),
    ];
    let topic = unique("t");
    let mut clients: Vec<Client> = wires.into_iter().map(|wire| Client::over(wire, V3)).collect();
    for client in &mut clients {
        Connect::new(V3, unique("c")).attempt_over(client);
        assert_eq!(client.expect_connack().code, 0);
        client.subscribe(&topic, 2);
    }
    for sender in 0..clients.len() {
        let payload = vec![b'0' + sender as u8; 40_000];
        clients[sender].publish(&topic, 2, &payload);
        for client in &mut clients {
            client.receive_payload(&payload);
        }
    }
    for client in clients {
        client.leave();
    }
}

/// [MQTT3-7.0.0-2]
#[test]
fn mqtt3_7_0_0_2_a_plain_client_needs_no_special_settings() {
    use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
    let (addr, topic) = (broker::shared(), unique("t"));
    let (client, mut connection) = Client::new(MqttOptions::new(unique("c"), addr.ip().to_string(), addr.port()), 10);
    client.subscribe(&topic, QoS::ExactlyOnce).expect("the request is queued");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish(&topic, qos, false, "x").expect("the request is queued");
    }
    let mut came = Vec::new();
    for event in connection.iter() {
        if let Event::Incoming(Packet::Publish(publish)) = event.expect("the connection lives") {
            came.push(publish.qos);
        }
        if came.len() == 3 {
            break;
        }
    }
    assert_eq!(came, [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
}
