//! The files that make each broker do the same work: no limit that a scenario reaches, TCP_NODELAY, one thread.

use std::net::SocketAddr;

use heraldmq::certs;

use super::broker::{Keeps, Places, Workshop};

/// Messages that may be unacknowledged for one client: above what any scenario has outstanding, for every broker alike.
const INFLIGHT_MAX: usize = 1000;
/// Messages and bytes that may wait for one session: above what any scenario leaves.
const QUEUE_MAX: usize = 10_000_000;
const QUEUE_BYTES_MAX: usize = 1 << 34;
/// Connections, where there must be a limit.
const CONNECTIONS_MAX: usize = 20_010;

/// What is kept, and in which folder.
pub type Kept<'a> = (Keeps, &'a str);

/// Its file of configuration.
pub fn heraldmq(workshop: &Workshop, places: Places, (keeps, folder): Kept<'_>) -> String {
    let (certificate, key) = (workshop.path(certs::CERTIFICATE), workshop.path(certs::KEY));
    let (tls, websocket) = places.others.unwrap_or((places.plain, places.plain));
    let mode = if let Keeps::Mode(mode) = keeps { mode } else { "sync" };
    format!(
        "data_dir = \"{folder}\"\n[listeners.mqtt]\naddr = \"{plain}\"\n\
         [listeners.mqtts]\nenabled = true\naddr = \"{tls}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\
         [listeners.ws]\nenabled = true\naddr = \"{websocket}\"\n\
         [listeners.wss]\nenabled = false\n[listeners.http]\nenabled = false\n\
         [limits]\nreceive_maximum = {INFLIGHT_MAX}\ninflight_max = {INFLIGHT_MAX}\nwaiting_messages_max = 100000\n\
         subscriptions_per_client_max = 100000\n\
         [store]\nmode = \"{mode}\"\nqueue_messages_max = {QUEUE_MAX}\nqueue_bytes_max = {QUEUE_BYTES_MAX}\n\
         [cores]\nthreads = 1\n[log]\nlevel = \"warn\"\n",
        plain = places.plain,
    )
}

/// Its file of configuration.
pub fn mosquitto(workshop: &Workshop, places: Places, (keeps, folder): Kept<'_>) -> String {
    let (certificate, key) = (workshop.path(certs::CERTIFICATE), workshop.path(certs::KEY));
    let (tls, websocket) = places.others.unwrap_or((places.plain, places.plain));
    format!(
        "user root\nper_listener_settings false\nallow_anonymous true\nset_tcp_nodelay true\n\
         persistence {persistence}\npersistence_location {folder}/\n\
         log_type error\nlog_dest stderr\nmax_inflight_messages {INFLIGHT_MAX}\nmax_queued_messages 0\n\
         listener {plain} 127.0.0.1\nlistener {tls} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n\
         listener {websocket} 127.0.0.1\nprotocol websockets\n",
        persistence = keeps == Keeps::Snapshot,
        plain = places.plain.port(),
        tls = tls.port(),
        websocket = websocket.port(),
    )
}

/// Its file of configuration. It does not know TCP_NODELAY.
pub fn rumqttd(plain: SocketAddr) -> String {
    format!(
        "id = 0\n[router]\nid = 0\nmax_connections = {CONNECTIONS_MAX}\nmax_outgoing_packet_count = 200\n\
         max_segment_size = 104857600\nmax_segment_count = 10\n\
         [v4.1]\nname = \"v4\"\nlisten = \"{plain}\"\nnext_connection_delay_ms = 0\n\
         [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 262144\n\
         max_inflight_count = {INFLIGHT_MAX}\ndynamic_filters = true\n"
    )
}
