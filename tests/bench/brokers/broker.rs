//! The brokers that are compared: how each is configured for the same work, started, and ended.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use heraldmq::certs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;

use super::load::Target;
use super::process::{self, Syscalls};

/// Messages that may be unacknowledged for one client: above what any scenario has outstanding, for every broker alike.
const INFLIGHT_MAX: usize = 1000;
const START_TIMEOUT: Duration = Duration::from_secs(10);
pub const SERVER_CORE: usize = 0;

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
        Ok(Contestant { name: name.to_owned(), kind, version })
    }

    pub fn has_tls(&self) -> bool {
        matches!(self.kind, Kind::HeraldMq(_) | Kind::Mosquitto(_))
    }
}

/// Where the brokers' files are, and the certificate they all show.
pub struct Workshop {
    directory: tempfile::TempDir,
    trust: Arc<ClientConfig>,
}

impl Workshop {
    pub fn new() -> Result<Workshop> {
        let directory = tempfile::Builder::new().prefix("heraldmq-bench").tempdir()?;
        certs::dev_certificates(directory.path())?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(directory.path().join(certs::CA)).map_err(|e| anyhow!("{e}"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut trust = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        trust.resumption = rustls::client::Resumption::disabled();
        Ok(Workshop { directory, trust: Arc::new(trust) })
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// A broker that takes connections. One that was started here is ended when this is dropped.
pub struct Broker {
    child: Option<Child>,
    pid: Option<u32>,
    address: SocketAddr,
    tls: Option<Target>,
}

impl Broker {
    pub fn start(contestant: &Contestant, workshop: &Workshop, load_core: Option<usize>) -> Result<Broker> {
        let (address, tls_address) = (free_address()?, free_address()?);
        let mut command = match &contestant.kind {
            Kind::Running(address, pid) => {
                return Ok(Broker { child: None, pid: *pid, address: *address, tls: None });
            }
            Kind::Relay => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--relay").arg(address.to_string());
                command
            }
            Kind::HeraldMq(program) => {
                let file = workshop.path(&format!("{}.toml", contestant.name));
                fs::write(&file, heraldmq_configuration(workshop, address, tls_address))?;
                let mut command = Command::new(program);
                command.arg("--config").arg(file);
                command
            }
            Kind::Mosquitto(program) => {
                let file = workshop.path(&format!("{}.conf", contestant.name));
                fs::write(&file, mosquitto_configuration(workshop, address, tls_address))?;
                let mut command = Command::new(program);
                command.arg("-c").arg(file);
                command
            }
        };
        let log = workshop.path(&format!("{}.log", contestant.name));
        let output = File::create(&log)?;
        command.current_dir(workshop.directory.path());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        if load_core.is_some() {
            process::pin(SERVER_CORE)?;
        }
        let child = command.spawn();
        if let Some(core) = load_core {
            process::pin(core)?;
        }
        let child = child.with_context(|| format!("start {}", contestant.name))?;
        let tls = contestant.has_tls().then(|| Target { address: tls_address, tls: Some(Arc::clone(&workshop.trust)) });
        let mut broker = Broker { pid: Some(child.id()), child: Some(child), address, tls };
        broker.wait_until_it_listens().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(broker)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        let tls = self.tls.as_ref().map_or(self.address, |target| target.address);
        while TcpStream::connect(self.address).and_then(|_| TcpStream::connect(tls)).is_err() {
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

    pub fn target(&self, tls: bool) -> Result<Target> {
        if tls {
            return self.tls.clone().context("without TLS");
        }
        Ok(Target { address: self.address, tls: None })
    }

    /// CPU time used so far, nanoseconds; `None` if its process is not known.
    pub fn cpu_ns(&self) -> Result<Option<u64>> {
        self.pid.map(process::cpu_ns).transpose()
    }

    pub fn user_and_system(&self) -> Result<Option<(u64, u64)>> {
        self.pid.map(process::user_and_system).transpose()
    }

    pub fn count_syscalls(&self) -> Option<Syscalls> {
        Syscalls::count(self.pid?)
    }

    pub fn resident(&self) -> Result<Option<u64>> {
        self.pid.map(process::resident).transpose()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn heraldmq_configuration(workshop: &Workshop, address: SocketAddr, tls: SocketAddr) -> String {
    let (certificate, key) = (workshop.path(certs::CERTIFICATE), workshop.path(certs::KEY));
    format!(
        "[listeners.mqtt]\naddr = \"{address}\"\n\
         [listeners.mqtts]\nenabled = true\naddr = \"{tls}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\
         [listeners.ws]\nenabled = false\n[listeners.wss]\nenabled = false\n[listeners.http]\nenabled = false\n\
         [limits]\nreceive_maximum = {INFLIGHT_MAX}\ninflight_max = {INFLIGHT_MAX}\nwaiting_messages_max = 100000\n\
         [cores]\nthreads = 1\n[log]\nlevel = \"warn\"\n"
    )
}

fn mosquitto_configuration(workshop: &Workshop, address: SocketAddr, tls: SocketAddr) -> String {
    let (certificate, key) = (workshop.path(certs::CERTIFICATE), workshop.path(certs::KEY));
    format!(
        "user root\nper_listener_settings false\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
         log_type error\nlog_dest stderr\nmax_inflight_messages {INFLIGHT_MAX}\nmax_queued_messages 0\n\
         listener {port} 127.0.0.1\nlistener {tls_port} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n",
        port = address.port(),
        tls_port = tls.port(),
    )
}
