//! What may be written: the one declaration of every setting.
//!
//! A flat table. The sample file, the reference page, the names of the environment variables, the checks of type and
//! range and the reload report are all made from it.

use crate::broker::seat::CORES_MAX;
use crate::store::Level;

/// What kind of value a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, both ends included.
    Whole {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
    /// The path of a file or directory; relative to the directory the program is started in.
    Path,
    /// An IP address and a port; port 0 lets the system choose one.
    Address,
    /// A table: a text each, and one of these words.
    Words(&'static [&'static str]),
}

/// What holds when a setting is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// This number.
    Whole(u64),
    /// This.
    Flag(bool),
    /// This text, word, path or address.
    Text(&'static str),
    /// No value, and what that means.
    Absent(&'static str),
}

/// When a changed setting takes effect after a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At once.
    Live,
    /// For connections made from then on.
    NextConnection,
    /// When the program is started again.
    Restart,
}

impl Reload {
    /// As the reference page says it.
    pub fn text(self) -> &'static str {
        match self {
            Reload::Live => "live",
            Reload::NextConnection => "next connection",
            Reload::Restart => "restart",
        }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Where it is written: table and key, joined by dots.
    pub path: &'static str,
    /// What may be written.
    pub kind: Kind,
    /// What holds if it is not.
    pub initial: Initial,
    /// What a number counts; empty for everything else.
    pub unit: &'static str,
    /// When a change takes effect.
    pub reload: Reload,
    /// What it does, in sentences.
    pub doc: &'static str,
}

impl Setting {
    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("HERALDMQ_{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// What each table of the file is about.
pub const TABLES: &[(&str, &str)] = &[
    ("", "Settings outside of any table."),
    ("listeners.mqtt", "MQTT over TCP."),
    ("listeners.mqtts", "MQTT over TLS."),
    ("listeners.ws", "MQTT over WebSocket."),
    ("listeners.wss", "MQTT over WebSocket over TLS."),
    ("listeners.http", "HTTP for operators: health, metrics, log level. HTTPS if a certificate and key are named."),
    ("auth", "Who may connect, and what they may do."),
    ("limits", "What one client, and all clients together, may use."),
    ("store", "What survives the process."),
    ("cores", "Threads that serve clients."),
    ("log", "What is written to standard error."),
];

const U16: u64 = 65_535;
const U32: u64 = u32::MAX as u64;
/// Bounds for counts and sizes that have no bound of their own: far above use, far below overflow.
const MANY: u64 = 1 << 40;

const ANONYMOUS: &str = "no client without user name if `auth.password_file` is set; else every client, where the address is \
                         a loopback address or a client certificate is required; else the program refuses to start";

const fn enabled(path: &'static str) -> Setting {
    let doc = "Whether to listen there.";
    Setting { path, kind: Kind::Flag, initial: Initial::Flag(true), unit: "", reload: Reload::Restart, doc }
}

const fn enabled_with_certificate(path: &'static str) -> Setting {
    let initial = Initial::Absent("on if the certificate file exists");
    Setting { initial, ..enabled(path) }
}

const fn addr(path: &'static str, default: &'static str) -> Setting {
    let initial = Initial::Text(default);
    let doc = "Address and port to listen on.";
    Setting { path, kind: Kind::Address, initial, unit: "", reload: Reload::Restart, doc }
}

const fn allow_anonymous(path: &'static str) -> Setting {
    let initial = Initial::Absent("as `auth.allow_anonymous`");
    let doc = "Whether clients without user name are let in here.";
    Setting { path, kind: Kind::Flag, initial, unit: "", reload: Reload::NextConnection, doc }
}

const fn durability(path: &'static str) -> Setting {
    let initial = Initial::Absent("as `store.mode`");
    let doc = "What an acknowledgement to a client of this listener waits for, where its topic has no level of its own in \
               `store.topic_levels`; and what its session state waits for in any case.";
    Setting { path, kind: Kind::Word(&Level::WORDS), initial, unit: "", reload: Reload::Restart, doc }
}

const fn ws_path(path: &'static str) -> Setting {
    let doc = "Path of the WebSocket upgrade.";
    Setting { path, kind: Kind::Text, initial: Initial::Text("/mqtt"), unit: "", reload: Reload::Restart, doc }
}

const fn tls_file(path: &'static str, initial: Initial, doc: &'static str) -> Setting {
    Setting { path, kind: Kind::Path, initial, unit: "", reload: Reload::Live, doc }
}

const fn certificate(path: &'static str) -> Setting {
    let doc = "PEM file with the certificate chain, the server's own first. Read again on reload.";
    tls_file(path, Initial::Text("certs/dev/server.pem"), doc)
}

const fn key(path: &'static str) -> Setting {
    let doc = "PEM file with the private key of the certificate. Read again on reload.";
    tls_file(path, Initial::Text("certs/dev/server.key"), doc)
}

const fn client_ca(path: &'static str) -> Setting {
    let doc = "PEM file with the authorities whose client certificates are accepted. Read again on reload.";
    tls_file(path, Initial::Absent("client certificates are not asked for"), doc)
}

const fn crl(path: &'static str) -> Setting {
    let doc = "PEM file with certificate revocation lists of those authorities. Read again on reload.";
    tls_file(path, Initial::Absent("no certificate is revoked"), doc)
}

const fn require_client_certificate(path: &'static str) -> Setting {
    let doc = "Whether a client must show a certificate. Needs `client_ca`.";
    Setting { path, kind: Kind::Flag, initial: Initial::Flag(false), unit: "", reload: Reload::Restart, doc }
}

const fn limit(path: &'static str, range: (u64, u64), default: u64, unit: &'static str, doc: &'static str) -> Setting {
    let kind = Kind::Whole { min: range.0, max: range.1 };
    Setting { path, kind, initial: Initial::Whole(default), unit, reload: Reload::NextConnection, doc }
}

const fn at_restart(setting: Setting) -> Setting {
    Setting { reload: Reload::Restart, ..setting }
}

/// Every setting, in the order of the sample file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        path: "data_dir",
        kind: Kind::Path,
        initial: Initial::Text("data"),
        unit: "",
        reload: Reload::Restart,
        doc: "Directory for what survives the process; its own user alone may read it. Not used in store mode `memory`.",
    },
    enabled("listeners.mqtt.enabled"),
    addr("listeners.mqtt.addr", "127.0.0.1:1883"),
    allow_anonymous("listeners.mqtt.allow_anonymous"),
    durability("listeners.mqtt.durability"),
    enabled_with_certificate("listeners.mqtts.enabled"),
    addr("listeners.mqtts.addr", "127.0.0.1:8883"),
    allow_anonymous("listeners.mqtts.allow_anonymous"),
    durability("listeners.mqtts.durability"),
    certificate("listeners.mqtts.certificate"),
    key("listeners.mqtts.key"),
    client_ca("listeners.mqtts.client_ca"),
    crl("listeners.mqtts.crl"),
    require_client_certificate("listeners.mqtts.require_client_certificate"),
    enabled("listeners.ws.enabled"),
    addr("listeners.ws.addr", "127.0.0.1:8083"),
    allow_anonymous("listeners.ws.allow_anonymous"),
    durability("listeners.ws.durability"),
    ws_path("listeners.ws.path"),
    enabled_with_certificate("listeners.wss.enabled"),
    addr("listeners.wss.addr", "127.0.0.1:8084"),
    allow_anonymous("listeners.wss.allow_anonymous"),
    durability("listeners.wss.durability"),
    ws_path("listeners.wss.path"),
    certificate("listeners.wss.certificate"),
    key("listeners.wss.key"),
    client_ca("listeners.wss.client_ca"),
    crl("listeners.wss.crl"),
    require_client_certificate("listeners.wss.require_client_certificate"),
    enabled("listeners.http.enabled"),
    addr("listeners.http.addr", "127.0.0.1:18083"),
    Setting {
        path: "listeners.http.allow_anonymous",
        kind: Kind::Flag,
        initial: Initial::Absent(
            "only where the address is a loopback address; elsewhere the program refuses to start",
        ),
        unit: "",
        reload: Reload::Restart,
        doc: "Whether everybody who reaches the address may read health and metrics. What changes anything is answered \
              to loopback addresses only, whatever is written here.",
    },
    tls_file(
        "listeners.http.certificate",
        Initial::Absent("plain HTTP"),
        "PEM file with the certificate chain, the server's own first. Read again on reload.",
    ),
    tls_file(
        "listeners.http.key",
        Initial::Absent("plain HTTP"),
        "PEM file with the private key of the certificate. Read again on reload.",
    ),
    Setting {
        path: "auth.allow_anonymous",
        kind: Kind::Flag,
        initial: Initial::Absent(ANONYMOUS),
        unit: "",
        reload: Reload::NextConnection,
        doc: "Whether clients without user name are let in; each listener may say otherwise.",
    },
    Setting {
        path: "auth.password_file",
        kind: Kind::Path,
        initial: Initial::Absent("a user name is not checked and counts for nothing: its client is an anonymous one"),
        unit: "",
        reload: Reload::Live,
        doc: "File with users and the hashes of their passwords, written by `heraldmq passwd`. Read again on reload.",
    },
    Setting {
        path: "auth.acl_file",
        kind: Kind::Path,
        initial: Initial::Absent("everybody who is let in may publish and subscribe everywhere"),
        unit: "",
        reload: Reload::Live,
        doc: "File with rules who may publish and subscribe where; what no rule allows is denied. Read again on reload.",
    },
    at_restart(limit(
        "limits.connections_max",
        (1, 10_000_000),
        500_000,
        "connections",
        "Network connections at one time; the descriptor limit of the process lowers it.",
    )),
    // Twice the connections: as many may be away as are there. Whoever opens sessions under ever new names, which costs him one
    // short connection each, ends here after some hundred megabytes.
    at_restart(limit(
        "limits.sessions_max",
        (1, 100_000_000),
        1_000_000,
        "sessions",
        "Sessions at one time, connected or waiting for their client; each takes memory, whether or not its client is there. \
         A client that would open one more is refused (5.0: 0x97; 3.1.1: return code 3); one that has a session, or takes over \
         a connection, is always let in.",
    )),
    at_restart(limit(
        "limits.connect_timeout_s",
        (1, 600),
        10,
        "seconds",
        "From accepting a connection to its complete CONNECT, TLS and WebSocket included.",
    )),
    at_restart(limit(
        "limits.preauth_bytes_max",
        (256, 1 << 20),
        8192,
        "bytes",
        "Largest packet taken from a client that is not authenticated yet. A CONNECT beyond it is refused, whatever makes it \
         large: a will, User Properties, a password, or a Client Identifier, of which MQTT allows 65,535 bytes. To take every \
         Client Identifier and a will beside it, set 256 KiB.",
    )),
    limit(
        "limits.receive_maximum",
        (1, U16),
        64,
        "packets",
        "PUBLISH packets of QoS 1 and 2 that a client may have unfinished towards the broker. Announced in CONNACK.",
    ),
    limit(
        "limits.inflight_max",
        (1, U16),
        64,
        "packets",
        "PUBLISH packets of QoS 1 and 2 that the broker keeps unacknowledged towards a client, whatever larger Receive Maximum it names.",
    ),
    limit(
        "limits.packet_bytes_max",
        (1024, 268_435_460),
        1 << 20,
        "bytes",
        "Largest packet taken, fixed header included. Announced in CONNACK.",
    ),
    limit(
        "limits.topic_alias_maximum",
        (0, U16),
        16,
        "aliases",
        "Topic Aliases a client may use; 0 = none. Announced in CONNACK.",
    ),
    limit(
        "limits.topic_alias_out_max",
        (0, U16),
        16,
        "aliases",
        "Topic Aliases the broker uses towards a client that allows them; 0 = none.",
    ),
    limit("limits.maximum_qos", (0, 2), 2, "", "Highest QoS a client may publish with. Announced in CONNACK."),
    Setting {
        path: "limits.retain_available",
        kind: Kind::Flag,
        initial: Initial::Flag(true),
        unit: "",
        reload: Reload::NextConnection,
        doc: "Whether retained messages are accepted. Announced in CONNACK.",
    },
    limit(
        "limits.keep_alive_s_min",
        (0, U16),
        0,
        "seconds",
        "A shorter Keep Alive is raised to this (5.0 only, which can be told); 0 = no bound.",
    ),
    limit(
        "limits.keep_alive_s_max",
        (0, U16),
        0,
        "seconds",
        "Keep Alive in force where a client asks for none or for more; 0 = as the client wishes.",
    ),
    limit("limits.topic_levels_max", (1, 65_536), 128, "levels", "Levels of a Topic Name or Topic Filter."),
    limit("limits.topic_bytes_max", (1, U16), U16, "bytes", "Length of a Topic Name or Topic Filter."),
    limit(
        "limits.subscriptions_per_client_max",
        (0, 1_000_000),
        1000,
        "subscriptions",
        "Subscriptions of one session.",
    ),
    limit(
        "limits.session_expiry_s_max",
        (0, U32),
        U32,
        "seconds",
        "Longest Session Expiry Interval granted; 4294967295 = no bound.",
    ),
    limit(
        "limits.client_id_bytes_max",
        (23, U16),
        U16,
        "bytes",
        "Longest Client Identifier accepted; 23 bytes must be.",
    ),
    limit("limits.waiting_messages_max", (1, MANY), 1000, "messages", "Messages waiting in memory for one client."),
    limit(
        "limits.waiting_bytes_max",
        (1024, MANY),
        8 << 20,
        "bytes",
        "Bytes of the messages waiting in memory for one client.",
    ),
    limit(
        "limits.out_bytes_max",
        (1024, MANY),
        256 << 10,
        "bytes",
        "Bytes waiting to be written to a connection, above which QoS 0 is dropped and QoS 1 and 2 wait.",
    ),
    at_restart(limit(
        "limits.retained_messages_max",
        (0, MANY),
        1_000_000,
        "messages",
        "Topics that may have a retained message, the broker's own below `$SYS/` not counted.",
    )),
    Setting {
        path: "limits.response_information",
        kind: Kind::Text,
        initial: Initial::Text("response/{client}"),
        unit: "",
        reload: Reload::NextConnection,
        doc: "Answer to Request Response Information: the prefix for a client's response topics, with `{client}` \
              standing for its Client Identifier. Empty = no answer.",
    },
    Setting {
        path: "store.mode",
        kind: Kind::Word(&Level::WORDS),
        initial: Initial::Text("sync"),
        unit: "",
        reload: Reload::Restart,
        doc: "When an acknowledgement is sent: `sync` = when what it promises is in the log and synced (survives power loss), \
              `os` = when it is in the log (survives the end of the process; a power cut may cost the last 100 ms), \
              `memory` = when the message was routed; nothing survives the process. Listeners and topics may have levels of their \
              own.",
    },
    Setting {
        path: "store.topic_levels",
        kind: Kind::Words(&Level::WORDS),
        initial: Initial::Absent("as the publisher's listener"),
        unit: "",
        reload: Reload::Restart,
        doc: "What the acknowledgement of a message waits for, by topic: a Topic Name is that topic, one with `/#` behind it also \
              all below it, `#` every topic that does not begin with `$`; the longest that matches counts, at most 64. `sync` and \
              `os` as above. `memory` = the acknowledgement does not wait for the disk; messages for sessions that outlive \
              their connection are written all the same, after it, so a crash or a disk that fails may lose what was \
              acknowledged. Another level than `memory` needs a `store.mode` other than `memory`. In the environment: \
              `a/#=os,b=sync`.",
    },
    at_restart(limit(
        "store.queue_messages_max",
        (1, MANY),
        10_000,
        "messages",
        "QoS 1 and 2 messages kept for one session that outlives its connection, those it was sent and did not \
         acknowledge not counted.",
    )),
    at_restart(limit(
        "store.queue_bytes_max",
        (1024, MANY),
        16 << 20,
        "bytes",
        "Bytes of the messages kept for one session: topics, properties and payloads. One message always fits.",
    )),
    at_restart(limit(
        "store.queue_age_max_s",
        (0, MANY),
        0,
        "seconds",
        "How long a message is kept for a session that is away, with or without a Message Expiry Interval of its own; it goes \
         within a 64th of this time after it, and is counted (`too_old`). 0 = as long as the session lives. Not used in store mode `memory`.",
    )),
    Setting {
        path: "store.queue_full",
        kind: Kind::Word(&["reject", "drop_oldest"]),
        initial: Initial::Text("reject"),
        unit: "",
        reload: Reload::Restart,
        doc: "What happens to a message for a session whose queue is full: `reject` = a message for this session alone is \
              refused with 0x97 if it comes from a client of 5.0; any other (for several sessions, of a client of 3.1.1, which \
              could only be closed and would send it again, at level `memory` beside a disk, a will, a retained message for a new \
              subscription) drops the oldest in the full queue; `drop_oldest` = the oldest is dropped in any case. What is \
              dropped is counted.",
    },
    Setting {
        path: "store.backup_dir",
        kind: Kind::Path,
        initial: Initial::Text("backups"),
        unit: "",
        reload: Reload::Restart,
        doc: "Directory for the folders of `PUT /store/backups/NAME`. On the file system of `data_dir` a backup links its tables \
              instead of copying them.",
    },
    at_restart(limit(
        "cores.threads",
        (0, CORES_MAX as u64),
        0,
        "threads",
        "Threads that serve clients; 0 = one for each CPU, up to the largest number there can be.",
    )),
    Setting {
        path: "log.level",
        kind: Kind::Text,
        initial: Initial::Text("info"),
        unit: "",
        reload: Reload::Live,
        doc: "`off`, `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,heraldmq::auth=debug`.",
    },
    Setting {
        path: "log.format",
        kind: Kind::Word(&["text", "json"]),
        initial: Initial::Text("text"),
        unit: "",
        reload: Reload::Restart,
        doc: "How a log line looks.",
    },
];

/// The setting with this path.
pub fn setting(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}
