//! rumqttc behind the requests that `serve.py` explains: JSON lines on standard input, answers and events on standard
//! output.

mod v4;
mod v5;
mod wire;

use std::collections::HashMap;
use std::io::BufRead as _;

use tokio::sync::{mpsc, oneshot};
use wire::{Answer, Outcome, Refused, Request, Verb, say};

/// What an event loop of either protocol tells.
enum Happening {
    Connected {
        session_present: bool,
    },
    Granted(u8),
    /// Of the one request that waits for it.
    Acknowledged,
    Message(wire::Message),
    Ended(Refused),
    Other,
}

/// Requests to a connection; it answers one at a time.
type Requests = mpsc::UnboundedSender<(Request, oneshot::Sender<Outcome>)>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // The library is built without one of its own.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().expect("nobody else has chosen the cryptography");
    let (lines_in, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines_in.send(line).is_err() {
                return;
            }
        }
    });
    let mut connections: HashMap<String, Requests> = HashMap::new();
    while let Some(line) = lines.recv().await {
        let request: Request = serde_json::from_str(&line).expect("a request is JSON as serve.py says");
        let requests = if request.verb == Verb::Connect {
            let (requests, incoming) = mpsc::unbounded_channel();
            match request.version {
                5 => tokio::spawn(v5::serve(request.clone(), incoming)),
                _ => tokio::spawn(v4::serve(request.clone(), incoming)),
            };
            connections.insert(request.name.clone(), requests.clone());
            requests
        } else {
            connections.get(&request.name).expect("connected before").clone()
        };
        tokio::spawn(answer(request, requests));
    }
}

async fn answer(request: Request, requests: Requests) {
    let id = request.id;
    let (done, outcome) = oneshot::channel();
    let outcome = match requests.send((request, done)) {
        Ok(()) => outcome.await.unwrap_or_else(|_| Err(Refused::new("the connection has ended"))),
        Err(_) => Err(Refused::new("the connection has ended")),
    };
    say(&Answer::new(id, outcome));
}

/// The request that waits for what the broker answers.
#[derive(Default)]
struct Pending(Option<oneshot::Sender<Outcome>>);

impl Pending {
    fn wait(&mut self, done: oneshot::Sender<Outcome>) {
        self.0 = Some(done);
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(done) = self.0.take() {
            // Whoever asked may have given up.
            let _ = done.send(outcome);
        }
    }

    /// Passes on what happened; false at the end of the connection.
    fn happened(&mut self, name: &str, happening: Happening) -> bool {
        match happening {
            Happening::Connected { session_present } => {
                self.settle(Ok(serde_json::json!({ "session_present": session_present })));
            }
            Happening::Granted(code) => self.settle(Ok(serde_json::json!({ "granted": code }))),
            Happening::Acknowledged => self.settle(Ok(serde_json::json!({}))),
            Happening::Message(message) => say(&message.event(name)),
            Happening::Other => {}
            Happening::Ended(refused) => {
                let code = refused.code;
                if self.0.is_some() {
                    self.settle(Err(refused));
                }
                say(&serde_json::json!({ "event": "closed", "name": name, "code": code }));
                return false;
            }
        }
        true
    }
}
