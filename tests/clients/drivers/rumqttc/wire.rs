//! The lines.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rumqttc::Transport;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Disconnect,
}

/// Every request; what a verb does not have is empty.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    pub id: u64,
    #[serde(rename = "do")]
    pub verb: Verb,
    pub name: String,
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub port: u16,
    /// `tcp`, `tls`, `ws` or `wss`.
    #[serde(default)]
    transport: String,
    /// Path of the WebSocket.
    #[serde(default)]
    path: String,
    /// PEM file of the authority.
    #[serde(default)]
    ca: String,
    #[serde(default)]
    pub version: u8,
    #[serde(default)]
    pub client_id: String,
    #[serde(default)]
    pub clean: bool,
    #[serde(default)]
    pub expiry: u32,
    #[serde(default)]
    pub keep_alive: u64,
    pub user: Option<String>,
    #[serde(default)]
    pub password: String,
    pub will: Option<Will>,
    #[serde(default)]
    pub filter: String,
    #[serde(default)]
    pub topic: String,
    #[serde(default)]
    payload: String,
    #[serde(default)]
    pub qos: u8,
    #[serde(default)]
    pub retain: bool,
    pub properties: Option<Properties>,
}

impl Request {
    /// What the library wants to know of where to go: a URL for a WebSocket, else the host.
    pub fn address(&self) -> String {
        match self.transport.as_str() {
            scheme @ ("ws" | "wss") => format!("{scheme}://{}:{}{}", self.host, self.port, self.path),
            _ => self.host.clone(),
        }
    }

    pub fn transport(&self) -> Transport {
        let authority = || std::fs::read(&self.ca).expect("the authority's certificate");
        match self.transport.as_str() {
            "tls" => Transport::tls(authority(), None, None),
            "ws" => Transport::ws(),
            "wss" => Transport::wss(authority(), None, None),
            _ => Transport::tcp(),
        }
    }

    pub fn payload(&self) -> Vec<u8> {
        STANDARD.decode(&self.payload).expect("a payload is base64")
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Will {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Properties {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

impl Properties {
    pub fn correlation(&self) -> Option<Vec<u8>> {
        self.correlation.as_ref().map(|text| STANDARD.decode(text).expect("correlation data is base64"))
    }

    pub fn set_correlation(&mut self, data: Option<&[u8]>) {
        self.correlation = data.map(|data| STANDARD.encode(data));
    }
}

/// A message that arrived.
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Properties,
}

impl Message {
    pub fn event(&self, name: &str) -> Value {
        json!({
            "event": "message",
            "name": name,
            "topic": self.topic,
            "payload": STANDARD.encode(&self.payload),
            "qos": self.qos,
            "retain": self.retain,
            "properties": self.properties,
        })
    }
}

/// Why not, with the reason code if there is one.
#[derive(Debug)]
pub struct Refused {
    pub text: String,
    pub code: Option<u8>,
}

impl Refused {
    pub fn new(text: impl ToString) -> Self {
        Self { text: text.to_string(), code: None }
    }
}

pub type Outcome = Result<Value, Refused>;

#[derive(Serialize)]
pub struct Answer {
    id: u64,
    ok: bool,
    #[serde(flatten)]
    rest: Value,
}

impl Answer {
    pub fn new(id: u64, outcome: Outcome) -> Self {
        match outcome {
            Ok(rest) => Self { id, ok: true, rest },
            Err(refused) => Self { id, ok: false, rest: json!({ "error": refused.text, "code": refused.code }) },
        }
    }
}

pub fn say(line: &impl Serialize) {
    let mut text = serde_json::to_vec(line).expect("what is said is plain data");
    text.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&text).and_then(|()| out.flush()).expect("somebody listens");
}
