//! 5.0.

use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::qos;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, LastWill, Packet, Publish, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ClientError, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use tokio::sync::{mpsc, oneshot};

use crate::wire::{Message, Outcome, Properties, Refused, Request, Verb};
use crate::{Happening, Pending};

const PACKET_BYTES_MAX: u32 = 1 << 20;
/// Requests that the library queues.
const QUEUE: usize = 16;

pub async fn serve(request: Request, mut requests: mpsc::UnboundedReceiver<(Request, oneshot::Sender<Outcome>)>) {
    let name = request.name.clone();
    let (client, mut events) = open(&request);
    let mut pending = Pending::default();
    if let Some((_, done)) = requests.recv().await {
        pending.wait(done);
    }
    loop {
        tokio::select! {
            Some((request, done)) = requests.recv() => {
                if let Err(error) = ask(&client, &request).await {
                    let _ = done.send(Err(Refused::new(error)));
                    continue;
                }
                pending.wait(done);
            }
            event = events.poll() => {
                let happening = match event {
                    Ok(Event::Outgoing(Outgoing::Disconnect)) => return pending.settle(Ok(serde_json::json!({}))),
                    Ok(event) => translate(event),
                    Err(error) => Happening::Ended(refused(error)),
                };
                if !pending.happened(&name, happening) {
                    return;
                }
            }
        }
    }
}

fn open(request: &Request) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(&request.client_id, request.address(), request.port);
    options.set_transport(request.transport());
    options.set_clean_start(request.clean);
    options.set_session_expiry_interval(Some(request.expiry));
    options.set_max_packet_size(Some(PACKET_BYTES_MAX));
    options.set_keep_alive(Duration::from_secs(request.keep_alive));
    if let Some(user) = &request.user {
        options.set_credentials(user, &request.password);
    }
    if let Some(will) = &request.will {
        let level = qos(will.qos).expect("0, 1 or 2");
        options.set_last_will(LastWill::new(&will.topic, will.payload.as_str(), level, will.retain, None));
    }
    AsyncClient::new(options, QUEUE)
}

async fn ask(client: &AsyncClient, request: &Request) -> Result<(), ClientError> {
    let level = qos(request.qos).expect("0, 1 or 2");
    let (topic, payload) = (&request.topic, request.payload());
    match (request.verb, &request.properties) {
        (Verb::Connect, _) => unreachable!("it is the first request only"),
        (Verb::Subscribe, _) => client.subscribe(&request.filter, level).await,
        (Verb::Unsubscribe, _) => client.unsubscribe(&request.filter).await,
        (Verb::Publish, None) => client.publish(topic, level, request.retain, payload).await,
        (Verb::Publish, Some(wanted)) => {
            let properties = PublishProperties {
                user_properties: wanted.user.clone(),
                response_topic: wanted.response_topic.clone(),
                correlation_data: wanted.correlation().map(Into::into),
                content_type: wanted.content_type.clone(),
                ..PublishProperties::default()
            };
            client.publish_with_properties(topic, level, request.retain, payload, properties).await
        }
        (Verb::Disconnect, _) => client.disconnect().await,
    }
}

fn translate(event: Event) -> Happening {
    match event {
        Event::Incoming(Packet::ConnAck(connack)) => Happening::Connected { session_present: connack.session_present },
        Event::Incoming(Packet::SubAck(suback)) => Happening::Granted(match suback.return_codes[0] {
            SubscribeReasonCode::Success(level) => level as u8,
            _ => 0x80,
        }),
        Event::Incoming(Packet::UnsubAck(_) | Packet::PubAck(_) | Packet::PubComp(_)) => Happening::Acknowledged,
        // Of QoS 0: it is written.
        Event::Outgoing(Outgoing::Publish(0)) => Happening::Acknowledged,
        Event::Incoming(Packet::Publish(publish)) => Happening::Message(message(publish)),
        _ => Happening::Other,
    }
}

fn message(publish: Publish) -> Message {
    let mut properties = Properties::default();
    if let Some(told) = publish.properties {
        properties.set_correlation(told.correlation_data.as_deref());
        properties.user = told.user_properties;
        properties.response_topic = told.response_topic;
        properties.content_type = told.content_type;
    }
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.to_vec(),
        qos: publish.qos as u8,
        retain: publish.retain,
        properties,
    }
}

fn refused(error: ConnectionError) -> Refused {
    let code = match &error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword) => Some(0x86),
        ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized) => Some(0x87),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => Some(*reason_code as u8),
        _ => None,
    };
    Refused { code, ..Refused::new(error) }
}
