//! A configuration as it is meant: nothing optional is left but what may be absent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::net::ListenerOptions;
use crate::session::Limits;
use crate::store::{Bounds, Level, Levels, TopicLevels};
use crate::{admin, auth};

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Directory for what survives the process.
    pub data_dir: PathBuf,
    /// Where MQTT is spoken: the listeners that are on.
    pub listeners: Vec<Listener>,
    /// Where operators ask; `None` = nowhere.
    pub http: Option<admin::Options>,
    /// What a session allows and announces.
    pub limits: Arc<Limits>,
    /// What is let in at all.
    pub intake: Intake,
    /// Who may connect, and what they may do.
    pub auth: auth::Options,
    /// What survives the process.
    pub store_mode: Level,
    /// Topics whose messages have a level of their own.
    pub topic_levels: TopicLevels,
    /// Where backups of the store go.
    pub backup_dir: PathBuf,
    /// What may wait in the store for one session.
    pub queue: Bounds,
    /// How long a message waits for a session that is away, seconds; `None` = as long as the session lives.
    pub queue_age_max_s: Option<u64>,
    /// Threads that serve clients, at least 1.
    pub threads: usize,
    /// What is logged, and how.
    pub log: Log,
    /// What the operator should know about what was resolved, one sentence each.
    pub notes: Vec<String>,
    /// Every setting's value as it would be written, for the reload report; empty where there is none.
    pub values: BTreeMap<&'static str, String>,
}

impl Config {
    /// Every level in force beside `store.mode`.
    pub fn levels(&self) -> Levels {
        let listeners = self.listeners.iter().map(|one| (one.endpoint.name.as_str().into(), one.level)).collect();
        Levels { listeners, topics: self.topic_levels.clone() }
    }
}

/// One endpoint for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where, and what is spoken.
    pub endpoint: ListenerOptions,
    /// Whether clients without user name are let in.
    pub allow_anonymous: bool,
    /// What is waited for before its clients are acknowledged.
    pub level: Level,
}

/// What is let in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intake {
    /// Network connections at one time.
    pub connections_max: usize,
    /// From accept to a complete CONNECT.
    pub connect_timeout: Duration,
    /// Largest packet before authentication, bytes.
    pub preauth_bytes_max: usize,
    /// Sessions at one time, connected or waiting for their client.
    pub sessions_max: usize,
    /// Topics that may have a retained message.
    pub retained_messages_max: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or a filter per module.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object per line.
    Json,
}
