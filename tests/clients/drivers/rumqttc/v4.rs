//! 3.1.1.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ClientError, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing,
    Packet, SubscribeReasonCode, qos,
};
use tokio::sync::{mpsc, oneshot};

use crate::wire::{Message, Outcome, Properties, Refused, Request, Verb};
use crate::{Happening, Pending};

const PACKET_BYTES_MAX: usize = 1 << 20;
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
    options.set_clean_session(request.clean);
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    options.set_keep_alive(Duration::from_secs(request.keep_alive));
    if let Some(user) = &request.user {
        options.set_credentials(user, &request.password);
    }
    if let Some(will) = &request.will {
        let level = qos(will.qos).expect("0, 1 or 2");
        options.set_last_will(LastWill::new(&will.topic, will.payload.as_str(), level, will.retain));
    }
    AsyncClient::new(options, QUEUE)
}

async fn ask(client: &AsyncClient, request: &Request) -> Result<(), ClientError> {
    let level = qos(request.qos).expect("0, 1 or 2");
    match request.verb {
        Verb::Connect => unreachable!("it is the first request only"),
        Verb::Subscribe => client.subscribe(&request.filter, level).await,
        Verb::Unsubscribe => client.unsubscribe(&request.filter).await,
        Verb::Publish => client.publish(&request.topic, level, request.retain, request.payload()).await,
        Verb::Disconnect => client.disconnect().await,
    }
}

fn translate(event: Event) -> Happening {
    match event {
        Event::Incoming(Packet::ConnAck(connack)) => Happening::Connected { session_present: connack.session_present },
        Event::Incoming(Packet::SubAck(suback)) => Happening::Granted(match suback.return_codes[0] {
            SubscribeReasonCode::Success(level) => level as u8,
            SubscribeReasonCode::Failure => 0x80,
        }),
        Event::Incoming(Packet::UnsubAck(_) | Packet::PubAck(_) | Packet::PubComp(_)) => Happening::Acknowledged,
        // Of QoS 0: it is written.
        Event::Outgoing(Outgoing::Publish(0)) => Happening::Acknowledged,
        Event::Incoming(Packet::Publish(publish)) => Happening::Message(Message {
            topic: publish.topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            retain: publish.retain,
            properties: Properties::default(),
        }),
        _ => Happening::Other,
    }
}

fn refused(error: ConnectionError) -> Refused {
    let code = match &error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword) => Some(4),
        ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized) => Some(5),
        _ => None,
    };
    Refused { code, ..Refused::new(error) }
}
