//! The brokers that are compared: how each is configured for the same work, started, and ended.

use std::cell::Cell;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use heraldmq::bench::link::{self, Target};
use heraldmq::bench::process;
use heraldmq::certs;
use rustls::ClientConfig;

use super::configuration;
use super::placed::{self, Syscalls};
use super::scenario::Channel;

const START_TIMEOUT: Duration = Duration::from_secs(10);
pub const SERVER_CORE: usize = 0;

/// What of a broker's messages survives its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// As it comes; nothing that is measured is kept.
    Nothing,
    /// HeraldMQ in this store mode.
    Mode(&'static str),
    /// Mosquitto's persistence: a file written when it ends, and every half hour.
    Snapshot,
}

/// What is started, or found running.
#[derive(Clone)]
pub enum Kind {
    Relay,
    HeraldMq(PathBuf),
    Mosquitto(PathBuf),
    Rumqttd(PathBuf),
    Aedes(PathBuf),
    /// Somebody else's, reached at the address; its CPU and memory can be read if its process is known.
    Running(SocketAddr, Option<u32>),
}

/// A broker to compare.
#[derive(Clone)]
pub struct Contestant {
    pub name: String,
    pub kind: Kind,
    pub version: String,
    pub keeps: Keeps,
}

impl Contestant {
    pub fn new(name: &str, kind: Kind) -> Result<Contestant> {
        let said = |program: &Path, argument: &str| -> Result<String> {
            let output = Command::new(program).arg(argument).output().with_context(|| program.display().to_string())?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(text.lines().next().unwrap_or_default().to_owned())
        };
        let version = match &kind {
            Kind::Relay => "minimal readiness loop".to_owned(),
            Kind::HeraldMq(program) | Kind::Rumqttd(program) | Kind::Aedes(program) => said(program, "--version")?,
            Kind::Mosquitto(program) => said(program, "-h")?,
            Kind::Running(address, _) => format!("at {address}"),
        };
        Ok(Contestant { name: name.to_owned(), kind, version, keeps: Keeps::Nothing })
    }

    /// The same, in each of the ways it can keep messages; none if it has no sessions, or is not started here.
    pub fn keeping(&self) -> Vec<Contestant> {
        let kept: &[Keeps] = match self.kind {
            Kind::HeraldMq(_) => &[Keeps::Mode("memory"), Keeps::Mode("os"), Keeps::Mode("sync")],
            Kind::Mosquitto(_) => &[Keeps::Snapshot],
            Kind::Relay | Kind::Rumqttd(_) | Kind::Aedes(_) | Kind::Running(..) => &[],
        };
        let named = |keeps: &Keeps| match keeps {
            Keeps::Mode(mode) => format!("{} {mode}", self.name),
            _ => self.name.clone(),
        };
        kept.iter().map(|keeps| Contestant { name: named(keeps), keeps: *keeps, ..self.clone() }).collect()
    }

    /// Whether it speaks more than MQTT 3.1.1 of QoS 0 and 1 over TCP.
    pub fn is_whole(&self) -> bool {
        matches!(self.kind, Kind::HeraldMq(_) | Kind::Mosquitto(_))
    }
}

/// Where the brokers' files are, and the certificate they all show.
pub struct Workshop {
    directory: tempfile::TempDir,
    trust: Arc<ClientConfig>,
    /// Brokers so far: each has a folder of its own.
    started: Cell<usize>,
}

impl Workshop {
    pub fn new() -> Result<Workshop> {
        let directory = tempfile::Builder::new().prefix("heraldmq-bench").tempdir()?;
        certs::dev_certificates(directory.path())?;
        let trust = link::trust(&directory.path().join(certs::CA))?;
        Ok(Workshop { directory, trust, started: Cell::new(0) })
    }

    /// A new folder for a broker's data.
    fn folder(&self) -> Result<String> {
        self.started.set(self.started.get() + 1);
        let folder = self.path(&format!("data-{}", self.started.get()));
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// A broker that takes connections. One that was started here is ended when this is dropped.
pub struct Broker {
    child: Option<Child>,
    pid: Option<u32>,
    places: Places,
    trust: Arc<ClientConfig>,
    folder: String,
    keep_alive_s: u16,
}

/// Where a broker listens for what.
#[derive(Clone, Copy)]
pub struct Places {
    pub plain: SocketAddr,
    /// TLS and WebSocket, of a broker that has them.
    pub others: Option<(SocketAddr, SocketAddr)>,
}

impl Broker {
    pub fn start(contestant: &Contestant, workshop: &Workshop, load_core: Option<usize>) -> Result<Broker> {
        let others = if contestant.is_whole() { Some((free_address()?, free_address()?)) } else { None };
        let places = Places { plain: free_address()?, others };
        let (trust, folder) = (Arc::clone(&workshop.trust), workshop.folder()?);
        // To rumqttd 0 is no time at all.
        let keep_alive_s = if let Kind::Rumqttd(_) = contestant.kind { u16::MAX } else { 0 };
        let mut command = match &contestant.kind {
            Kind::Running(plain, pid) => {
                let places = Places { plain: *plain, others: None };
                return Ok(Broker { child: None, pid: *pid, places, trust, folder, keep_alive_s });
            }
            Kind::Relay => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--relay").arg(places.plain.to_string());
                command
            }
            Kind::HeraldMq(program) => {
                let text = configuration::heraldmq(workshop, places, (contestant.keeps, &folder));
                configured(program, "--config", (&format!("{folder}.toml"), &text))?
            }
            Kind::Mosquitto(program) => {
                let text = configuration::mosquitto(workshop, places, (contestant.keeps, &folder));
                configured(program, "-c", (&format!("{folder}.conf"), &text))?
            }
            Kind::Rumqttd(program) => {
                let text = configuration::rumqttd(places.plain);
                configured(program, "--config", (&format!("{folder}.toml"), &text))?
            }
            Kind::Aedes(program) => {
                let mut command = Command::new(program);
                command.arg(places.plain.port().to_string());
                command
            }
        };
        let log = format!("{folder}.log");
        let output = File::create(&log)?;
        command.current_dir(workshop.directory.path());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        if load_core.is_some() {
            placed::pin(SERVER_CORE)?;
        }
        let child = command.spawn();
        if let Some(core) = load_core {
            placed::pin(core)?;
        }
        let child = child.with_context(|| format!("start {}", contestant.name))?;
        let mut broker = Broker { pid: Some(child.id()), child: Some(child), places, trust, folder, keep_alive_s };
        broker.wait_until_it_listens().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(broker)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        let plain = self.places.plain;
        let (tls, websocket) = self.places.others.unwrap_or((plain, plain));
        while [plain, tls, websocket].into_iter().any(|place| TcpStream::connect(place).is_err()) {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("it ended: {status}");
            }
            if Instant::now() > until {
                bail!("it does not listen");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub fn target(&self, channel: Channel) -> Result<Target> {
        let plain = Target::plain(self.places.plain);
        let others = || self.places.others.context("TCP only");
        Ok(match channel {
            Channel::Plain => plain,
            Channel::Tls => Target { address: others()?.0, tls: Some(Arc::clone(&self.trust)), ..plain },
            Channel::WebSocket => Target { address: others()?.1, websocket: Some("/mqtt".to_owned()), ..plain },
        })
    }

    /// Seconds, for its clients; 0: none.
    pub fn keep_alive_s(&self) -> u16 {
        self.keep_alive_s
    }

    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// CPU time used so far, nanoseconds.
    pub fn cpu_ns(&self) -> Result<u64> {
        Ok(process::cpu_ns(self.known()?)?)
    }

    pub fn user_and_system(&self) -> Result<Option<(u64, u64)>> {
        Ok(self.pid.map(process::user_and_system).transpose()?)
    }

    /// Bytes sent to disks so far.
    pub fn written(&self) -> Result<u64> {
        Ok(process::written(self.known()?)?)
    }

    fn known(&self) -> Result<u32> {
        self.pid.context("the process is not known")
    }

    pub fn count_syscalls(&self) -> Option<Syscalls> {
        Syscalls::count(self.pid?)
    }

    pub fn resident(&self) -> Result<u64> {
        Ok(process::resident(self.known()?)?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        // Left behind, it goes with the workshop.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A program that takes a file of configuration, and the file.
fn configured(program: &Path, argument: &str, (file, text): (&str, &str)) -> Result<Command> {
    fs::write(file, text)?;
    let mut command = Command::new(program);
    command.arg(argument).arg(file);
    Ok(command)
}
