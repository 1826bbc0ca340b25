//! From what is written to what is meant: values that are right each for themselves become options that are
//! right together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::mistake::{Mistake, Place};
use super::options::{Config, Intake, Listener, Log, LogFormat};
use super::read::{Value, Values};
use crate::broker::seat::CORES_MAX;
use crate::mqtt::QoS;
use crate::net::{Kind, ListenerOptions, TlsOptions};
use crate::session::Limits;
use crate::store::{Bounds, Level, TopicLevels, WhenFull};
use crate::{admin, auth};

/// Turns values into a configuration; `mistakes` are those already found.
pub(super) fn resolve(values: Values, mistakes: Vec<Mistake>) -> Result<Config, Vec<Mistake>> {
    let shown = values.shown();
    let mut resolver = Resolver { values, mistakes, notes: Vec::new() };
    let data_dir = PathBuf::from(resolver.text("data_dir"));
    let backup_dir = PathBuf::from(resolver.text("store.backup_dir"));
    let anonymous = resolver.flag_if_written("auth.allow_anonymous");
    let auth = resolver.auth();
    let kinds = [("mqtt", Kind::Mqtt), ("mqtts", Kind::Mqtts), ("ws", Kind::Ws), ("wss", Kind::Wss)];
    let store_mode = resolver.level("store.mode", Level::Sync).0;
    let policy = Policy { anonymous, passwords: auth.password_file.is_some(), store_mode };
    let listeners = kinds.into_iter().filter_map(|(name, kind)| resolver.listener(name, kind, policy)).collect();
    let http = resolver.http();
    let (limits, intake) = (resolver.limits(), resolver.intake());
    let config = Config {
        data_dir,
        backup_dir,
        listeners,
        http,
        limits: Arc::new(limits),
        intake,
        auth,
        store_mode,
        topic_levels: resolver.topic_levels(store_mode),
        queue: resolver.queue(),
        queue_age_max_s: Some(resolver.whole("store.queue_age_max_s")).filter(|s| *s > 0),
        threads: resolver.threads(),
        log: resolver.log(),
        notes: std::mem::take(&mut resolver.notes),
        values: shown,
    };
    resolver.together(&config);
    debug_assert!(resolver.values.left().is_empty(), "settings without effect: {:?}", resolver.values.left());
    if resolver.mistakes.is_empty() { Ok(config) } else { Err(resolver.mistakes) }
}

/// What is known before a listener is looked at.
#[derive(Debug, Clone, Copy)]
struct Policy {
    /// `auth.allow_anonymous`, if written.
    anonymous: Option<bool>,
    /// Whether there is a password file.
    passwords: bool,
    /// `store.mode`.
    store_mode: Level,
}

const NO_DISK: &str = "store.mode is \"memory\", where nothing reaches a disk: choose \"sync\" or \"os\" there";

/// Whether a store in this mode can keep something at this level.
fn keeps(store_mode: Level, level: Level) -> bool {
    store_mode != Level::Memory || level == Level::Memory
}

struct Resolver {
    values: Values,
    mistakes: Vec<Mistake>,
    notes: Vec<String>,
}

impl Resolver {
    /// A number whose declared range fits `T`.
    fn whole<T: TryFrom<u64>>(&mut self, path: &str) -> T {
        match self.values.take(path).0 {
            Value::Whole(number) => T::try_from(number).ok().expect("the declared range fits the option's type"),
            other => unreachable!("{path} is declared as a number and read as {other:?}"),
        }
    }

    fn text(&mut self, path: &str) -> String {
        self.text_if_written(path).0.expect("a text with a default is never absent")
    }

    fn text_if_written(&mut self, path: &str) -> (Option<String>, Place) {
        match self.values.take(path) {
            (Value::Text(text), place) => (Some(text), place),
            (Value::Absent, place) => (None, place),
            (other, _) => unreachable!("{path} is declared as text and read as {other:?}"),
        }
    }

    fn flag(&mut self, path: &str) -> bool {
        self.flag_if_written(path).expect("a flag with a default is never absent")
    }

    fn flag_if_written(&mut self, path: &str) -> Option<bool> {
        match self.values.take(path).0 {
            Value::Flag(flag) => Some(flag),
            Value::Absent => None,
            other => unreachable!("{path} is declared as a flag and read as {other:?}"),
        }
    }

    fn mistake(&mut self, place: Place, key: &str, found: &str, expected: impl Into<String>) {
        let (key, found) = (key.to_owned(), found.to_owned());
        self.mistakes.push(Mistake { place, key, found, expected: expected.into() });
    }

    fn addr(&mut self, path: &str) -> (SocketAddr, Place) {
        let (text, place) = self.text_if_written(path);
        let addr = text.and_then(|text| text.parse().ok()).expect("an address was checked when it was read");
        (addr, place)
    }

    /// A file that must exist if it is named and `needed`.
    fn file(&mut self, path: &str, needed: bool) -> Option<PathBuf> {
        let (text, place) = self.text_if_written(path);
        let file = PathBuf::from(text?);
        if needed && let Err(error) = std::fs::File::open(&file) {
            let hint =
                if place == Place::Default { "; `heraldmq certs` makes certificates for development" } else { "" };
            self.mistake(
                place,
                path,
                &format!("{:?}", file.display().to_string()),
                format!("cannot be read: {error}{hint}"),
            );
        }
        Some(file)
    }

    fn auth(&mut self) -> auth::Options {
        auth::Options {
            password_file: self.file("auth.password_file", true),
            acl_file: self.file("auth.acl_file", true),
        }
    }

    fn listener(&mut self, name: &'static str, kind: Kind, policy: Policy) -> Option<Listener> {
        let at = |key: &str| format!("listeners.{name}.{key}");
        let wanted = self.flag_if_written(&at("enabled"));
        let (addr, place) = self.addr(&at("addr"));
        let level = self.level_in(&at("durability"), policy.store_mode);
        let own_anonymous = self.flag_if_written(&at("allow_anonymous"));
        let websocket = matches!(kind, Kind::Ws | Kind::Wss);
        let path = if websocket { self.upgrade_path(&at("path")) } else { String::new() };
        let secure = matches!(kind, Kind::Mqtts | Kind::Wss);
        let (tls, on) = if secure { self.tls(name, wanted) } else { (None, wanted == Some(true)) };
        if !on {
            return None;
        }
        let proved = tls.as_ref().is_some_and(|tls| tls.require_client_certificate);
        let safe = addr.ip().is_loopback() || proved;
        let allow_anonymous = own_anonymous.or(policy.anonymous).unwrap_or(!policy.passwords && safe);
        if !allow_anonymous && !policy.passwords {
            let expected = format!(
                "nobody could be authenticated there: set auth.password_file, or write {} = true to let everybody in",
                at("allow_anonymous")
            );
            self.mistake(place, &at("addr"), &format!("\"{addr}\""), expected);
        }
        let endpoint = ListenerOptions { name: name.to_owned(), addr, kind, tls, path };
        Some(Listener { endpoint, allow_anonymous, level })
    }

    /// The TLS part of a listener, and whether the listener is on: where the file does not say, it is if there is a
    /// certificate, so that a first start needs none.
    fn tls(&mut self, name: &str, wanted: Option<bool>) -> (Option<TlsOptions>, bool) {
        let at = |key: &str| format!("listeners.{name}.{key}");
        let certificate = self.file(&at("certificate"), wanted == Some(true)).expect("has a default");
        let on = wanted.unwrap_or_else(|| certificate.exists());
        if wanted.is_none() && !on {
            let certificate = certificate.display();
            self.notes
                .push(format!("{name} is off: there is no {certificate}; `heraldmq certs` makes one for development"));
        }
        let key = self.file(&at("key"), on).expect("has a default");
        let client_ca = self.file(&at("client_ca"), on);
        let crl = self.file(&at("crl"), on);
        let require_client_certificate = self.flag(&at("require_client_certificate"));
        if on && client_ca.is_none() && (require_client_certificate || crl.is_some()) {
            self.mistake(Place::Default, &at("client_ca"), "", "needed to check client certificates, and not set");
        }
        (Some(TlsOptions { certificate, key, client_ca, crl, require_client_certificate }), on)
    }

    fn upgrade_path(&mut self, key: &str) -> String {
        let (text, place) = self.text_if_written(key);
        let path = text.expect("has a default");
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
        if !path.starts_with('/') || !plain {
            self.mistake(place, key, &format!("{path:?}"), "expected a path that begins with /, such as \"/mqtt\"");
        }
        path
    }

    fn http(&mut self) -> Option<admin::Options> {
        let enabled = self.flag("listeners.http.enabled");
        let (addr, place) = self.addr("listeners.http.addr");
        let anonymous = self.flag_if_written("listeners.http.allow_anonymous");
        let certificate = self.file("listeners.http.certificate", enabled);
        let key = self.file("listeners.http.key", enabled);
        if !enabled {
            return None;
        }
        if !anonymous.unwrap_or(addr.ip().is_loopback()) {
            let expected = "this endpoint knows no users: choose a loopback address, or write listeners.http.allow_anonymous = true";
            self.mistake(place, "listeners.http.addr", &format!("\"{addr}\""), expected);
        }
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(admin::TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                self.mistake(Place::Default, "listeners.http.key", "", "needed with a certificate, and not set");
                None
            }
            (None, Some(_)) => {
                self.mistake(Place::Default, "listeners.http.certificate", "", "needed with a key, and not set");
                None
            }
        };
        Some(admin::Options { addr, tls })
    }

    fn limits(&mut self) -> Limits {
        let maximum_qos: u8 = self.whole("limits.maximum_qos");
        Limits {
            receive_maximum: self.whole("limits.receive_maximum"),
            inflight_max: self.whole("limits.inflight_max"),
            packet_bytes_max: self.whole("limits.packet_bytes_max"),
            topic_alias_maximum: self.whole("limits.topic_alias_maximum"),
            topic_alias_out_max: self.whole("limits.topic_alias_out_max"),
            maximum_qos: QoS::from_bits(maximum_qos).expect("declared from 0 to 2"),
            retain_available: self.flag("limits.retain_available"),
            topic_levels_max: self.whole("limits.topic_levels_max"),
            topic_bytes_max: self.whole("limits.topic_bytes_max"),
            subscriptions_max: self.whole("limits.subscriptions_per_client_max"),
            keep_alive_s_max: self.whole("limits.keep_alive_s_max"),
            keep_alive_s_min: self.whole("limits.keep_alive_s_min"),
            session_expiry_s_max: self.whole("limits.session_expiry_s_max"),
            client_id_bytes_max: self.whole("limits.client_id_bytes_max"),
            waiting_messages_max: self.whole("limits.waiting_messages_max"),
            waiting_bytes_max: self.whole("limits.waiting_bytes_max"),
            out_bytes_max: self.whole("limits.out_bytes_max"),
            response_information: self.response_information(),
        }
    }

    fn response_information(&mut self) -> Box<str> {
        let key = "limits.response_information";
        let (text, place) = self.text_if_written(key);
        let prefix = text.expect("has a default");
        if prefix.contains(['+', '#', '\0']) || prefix.len() > 1024 {
            self.mistake(
                place,
                key,
                &format!("{prefix:?}"),
                "expected the beginning of a Topic Name, without wildcards, up to 1024 bytes",
            );
        }
        prefix.into()
    }

    fn intake(&mut self) -> Intake {
        Intake {
            connections_max: self.whole("limits.connections_max"),
            connect_timeout: Duration::from_secs(self.whole("limits.connect_timeout_s")),
            preauth_bytes_max: self.whole("limits.preauth_bytes_max"),
            sessions_max: self.whole("limits.sessions_max"),
            retained_messages_max: self.whole("limits.retained_messages_max"),
        }
    }

    /// A level, and where it was written; `unset` where it is not.
    fn level(&mut self, path: &str, unset: Level) -> (Level, Place) {
        let (text, place) = self.text_if_written(path);
        let level = text.map_or(unset, |word| Level::of(&word).expect("one of the declared words"));
        (level, place)
    }

    /// A level that the store can keep.
    fn level_in(&mut self, path: &str, store_mode: Level) -> Level {
        let (level, place) = self.level(path, store_mode);
        if !keeps(store_mode, level) {
            self.mistake(place, path, &format!("{:?}", level.name()), NO_DISK);
        }
        level
    }

    fn topic_levels(&mut self, store_mode: Level) -> TopicLevels {
        let path = "store.topic_levels";
        let (words, place) = match self.values.take(path) {
            (Value::Words(words), place) => (words, place),
            (Value::Absent, place) => (Vec::new(), place),
            (other, _) => unreachable!("{path} is declared as a table of words and read as {other:?}"),
        };
        if words.len() > TopicLevels::MAX {
            let expected = format!("expected at most {}", TopicLevels::MAX);
            self.mistake(place.clone(), path, &format!("{} topics", words.len()), expected);
        }
        let mut levels = Vec::with_capacity(words.len());
        for (pattern, word) in words {
            let found = format!("{pattern:?} = {word:?}");
            let level = Level::of(&word).expect("one of the declared words");
            if !TopicLevels::is_pattern(&pattern) {
                let expected = "expected a Topic Name, one with /# behind it, or #";
                self.mistake(place.clone(), path, &found, expected);
            }
            if !keeps(store_mode, level) {
                self.mistake(place.clone(), path, &found, NO_DISK);
            }
            levels.push((Box::from(pattern), level));
        }
        TopicLevels::new(levels)
    }

    fn queue(&mut self) -> Bounds {
        let when_full = match self.text("store.queue_full").as_str() {
            "drop_oldest" => WhenFull::DropOldest,
            _ => WhenFull::Reject,
        };
        let (messages_max, bytes_max) = (self.whole("store.queue_messages_max"), self.whole("store.queue_bytes_max"));
        Bounds { messages_max, bytes_max, when_full }
    }

    fn threads(&mut self) -> usize {
        match self.whole("cores.threads") {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX),
            threads => threads,
        }
    }

    fn log(&mut self) -> Log {
        let (text, place) = self.text_if_written("log.level");
        let level = text.expect("has a default");
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&level) {
            self.mistake(place, "log.level", &format!("{level:?}"), format!("expected a level or a filter: {error}"));
        }
        let format = if self.text("log.format") == "json" { LogFormat::Json } else { LogFormat::Text };
        Log { level, format }
    }

    /// What only several settings together can get wrong.
    fn together(&mut self, config: &Config) {
        let limits = &config.limits;
        if limits.keep_alive_s_max != 0 && limits.keep_alive_s_min > limits.keep_alive_s_max {
            let expected = format!("larger than limits.keep_alive_s_max = {}", limits.keep_alive_s_max);
            self.mistake(Place::Default, "limits.keep_alive_s_min", &limits.keep_alive_s_min.to_string(), expected);
        }
        let addrs = config.listeners.iter().map(|Listener { endpoint, .. }| (endpoint.name.as_str(), endpoint.addr));
        let addrs: Vec<_> = addrs.chain(config.http.iter().map(|http| ("http", http.addr))).collect();
        for (i, (name, addr)) in addrs.iter().enumerate() {
            if let Some((other, _)) = addrs[..i].iter().find(|(_, earlier)| earlier == addr && addr.port() != 0) {
                let key = format!("listeners.{name}.addr");
                self.mistake(
                    Place::Default,
                    &key,
                    &format!("\"{addr}\""),
                    format!("listeners.{other} listens there already"),
                );
            }
        }
    }
}
