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

use super::placed::{self, Syscalls};
use super::scenario::Channel;

/// Messages that may be unacknowledged for one client: above what any scenario has outstanding, for every broker alike.
const INFLIGHT_MAX: usize = 1000;
/// Messages and bytes that may wait for one session: above what any scenario leaves.
const QUEUE_MAX: usize = 10_000_000;
const QUEUE_BYTES_MAX: usize = 1 << 34;
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
            Kind::HeraldMq(program) => said(program, "--version")?,
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
            Kind::Relay | Kind::Running(..) => &[],
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

    fn path(&self, name: &str) -> String {
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
}

/// Where a broker listens for what.
#[derive(Clone, Copy)]
struct Places {
    plain: SocketAddr,
    /// TLS and WebSocket, of a broker that has them.
    others: Option<(SocketAddr, SocketAddr)>,
}

impl Broker {
    pub fn start(contestant: &Contestant, workshop: &Workshop, load_core: Option<usize>) -> Result<Broker> {
        let others = if contestant.is_whole() { Some((free_address()?, free_address()?)) } else { None };
        let places = Places { plain: free_address()?, others };
        let (trust, folder) = (Arc::clone(&workshop.trust), workshop.folder()?);
        let mut command = match &contestant.kind {
            Kind::Running(plain, pid) => {
                let places = Places { plain: *plain, others: None };
                return Ok(Broker { child: None, pid: *pid, places, trust, folder });
            }
            Kind::Relay => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--relay").arg(places.plain.to_string());
                command
            }
            Kind::HeraldMq(program) => {
                let file = format!("{folder}.toml");
                fs::write(&file, heraldmq_configuration(workshop, places, (contestant.keeps, &folder)))?;
                let mut command = Command::new(program);
                command.arg("--config").arg(file);
                command
            }
            Kind::Mosquitto(program) => {
                let file = format!("{folder}.conf");
                fs::write(&file, mosquitto_configuration(workshop, places, (contestant.keeps, &folder)))?;
                let mut command = Command::new(program);
                command.arg("-c").arg(file);
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
        let mut broker = Broker { pid: Some(child.id()), child: Some(child), places, trust, folder };
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

/// What is kept, and in which folder.
type Kept<'a> = (Keeps, &'a str);

fn heraldmq_configuration(workshop: &Workshop, places: Places, (keeps, folder): Kept<'_>) -> String {
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

fn mosquitto_configuration(workshop: &Workshop, places: Places, (keeps, folder): Kept<'_>) -> String {
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
