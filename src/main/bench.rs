//! `heraldmq bench`: loads the broker at an address.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use heraldmq::bench::link::{self, Target};
use heraldmq::bench::load::Kin;
use heraldmq::bench::packet::Version;
use heraldmq::bench::process;
use heraldmq::bench::report::Report;
use heraldmq::bench::stream::{Pace, Presence, Stream, Traffic};

/// Who sends to whom.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scenario {
    /// Publishers to subscribers with a topic each, by chance.
    Push,
    /// Each publisher to its own subscriber.
    Pairs,
    /// Many publishers to one topic with one subscriber.
    FanIn,
    /// One topic, all subscribers.
    FanOut,
    /// To sessions that are kept, and whose clients are away.
    Offline,
}

#[derive(Debug, Args)]
pub struct Arguments {
    /// The broker: host and port.
    address: String,
    /// Who sends to whom.
    #[arg(long, value_enum, default_value = "push")]
    scenario: Scenario,
    /// QoS of publications and subscriptions.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// MQTT 5.0 instead of 3.1.1.
    #[arg(long)]
    v5: bool,
    /// TLS, trusting the authorities in this PEM file.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// WebSocket, at this path.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/mqtt")]
    websocket: Option<String>,
    /// Clients that publish.
    #[arg(long, default_value = "10")]
    publishers: usize,
    /// Clients that subscribe.
    #[arg(long, default_value = "100")]
    subscribers: usize,
    /// The subscribers' sessions outlive their connections.
    #[arg(long)]
    durable: bool,
    /// Bytes of each message.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    payload: usize,
    /// Messages per second; without it, as many as the broker takes.
    #[arg(long, value_name = "MESSAGES", conflicts_with = "outstanding")]
    rate: Option<u32>,
    /// Messages that are under way at one time.
    #[arg(long, value_name = "MESSAGES", default_value = "500")]
    outstanding: u64,
    /// How long.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..))]
    duration: u64,
    /// User Name; the Password is the first line of --password-file.
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// Where the password stands.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The broker's process on this machine, for its CPU time and memory.
    #[arg(long)]
    pid: Option<u32>,
    /// Where to write the numbers as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(pid) = arguments.pid {
        process::cpu_ns(pid)?;
    }
    let mut stream = Stream::open(&arguments.kin()?, &arguments.traffic())?;
    stream.tolerate();
    let slice = stream.slice(Duration::from_secs(arguments.duration), arguments.pid)?;
    let resident = arguments.pid.map(process::resident).transpose()?;
    let report = Report { slice, resident };
    stream.close()?;
    println!("{report}");
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    if !report.is_clean() {
        bail!("not everything that was published arrived and was acknowledged");
    }
    Ok(())
}

impl Arguments {
    fn kin(&self) -> anyhow::Result<Kin> {
        let address = self.address.to_socket_addrs().with_context(|| self.address.clone())?.next();
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let target = Target {
            address: address.with_context(|| format!("{}: no address", self.address))?,
            host: host.trim_matches(['[', ']']).to_owned(),
            tls: self.ca.as_deref().map(link::trust).transpose()?,
            websocket: self.websocket.clone(),
        };
        let password = self.password_file.as_deref().map(first_line).transpose()?;
        Ok(Kin {
            target,
            version: if self.v5 { Version::V5 } else { Version::V3 },
            // Two loads of one broker do not take each other's Client Identifiers.
            name: format!("bench-{}", std::process::id()),
            durable: false,
            keep_alive_s: 0,
            login: self.user.clone().zip(password),
        })
    }

    fn traffic(&self) -> Traffic {
        let (all, one) = (self.subscribers, 1);
        let (publishers, topics, subscribers) = match self.scenario {
            Scenario::Push | Scenario::Offline => (self.publishers, all, all),
            Scenario::Pairs => (all, all, all),
            Scenario::FanIn => (self.publishers, one, one),
            Scenario::FanOut => (self.publishers, one, all),
        };
        let presence = match self.scenario {
            Scenario::Offline => Presence::Absent,
            _ if self.durable => Presence::Durable,
            _ => Presence::Clean,
        };
        Traffic {
            publishers,
            topics,
            subscribers,
            presence,
            qos: self.qos,
            pace: self.rate.map_or(Pace::Outstanding(self.outstanding), Pace::PerSecond),
            payload: self.payload,
            bystanders: 0,
            with_a_deaf_one: false,
        }
    }
}

fn first_line(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
