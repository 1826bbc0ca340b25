//! The program under test as a process on a folder that outlives it: killed, cut off, stopped, and started again.
//!
//! A shell starts a watcher beside the program and becomes the program: its process id is known, its end is seen. If the
//! test process ends, however, the watcher sees the pipe close, kills the program and removes the folder.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Starting, stopping and recovering take no longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const WATCHED: &str = r#"exec 3<&0
(trap '' HUP INT TERM; exec >/dev/null 2>&1; read -r word || { kill -KILL $$; rm -rf -- "$PLACE"; }) <&3 3<&- &
exec 3<&-
[ -z "$SHIM" ] || export LD_PRELOAD="$SHIM"
exec "$@" </dev/null"#;

/// Which program, in which mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// This project's, acknowledging in this mode.
    Herald(&'static str),
    /// mosquitto with persistence on, to compare.
    Mosquitto,
}

/// What the disk library is told, by its place in the page: see `powerloss.c`.
#[derive(Debug, Clone, Copy)]
pub enum Control {
    /// Every write fails with this error.
    WriteErrno = 0,
    /// Every sync fails with this error.
    SyncErrno = 1,
    /// Every sync takes so many microseconds longer.
    SyncDelayUs = 2,
    /// The wall clock goes wrong by so many seconds.
    ClockOffsetS = 3,
    /// So many failing writes write their first half.
    ShortWrites = 4,
    /// Counts failed writes.
    WritesFailed = 5,
    /// Counts syncs.
    Syncs = 6,
    /// Counts failed syncs.
    SyncsFailed = 7,
}

/// A folder for a program, with what it needs to start there.
pub struct Place {
    root: tempfile::TempDir,
    program: Program,
    port: Option<u16>,
    shim: bool,
    trace: bool,
}

impl Place {
    /// A fresh folder. `more` is configuration in whole tables.
    pub fn new(program: Program, more: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let mut place = Self { root, program, port: None, shim: false, trace: false };
        let text = match program {
            Program::Herald(mode) => herald(&place.data(), mode, more),
            Program::Mosquitto => {
                let port =
                    TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port").port();
                place.port = Some(port);
                let data = place.data().display().to_string();
                fs::create_dir(place.data()).expect("its folder");
                format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {data}/\n\
                     max_queued_messages 0\nmax_inflight_messages 64\nuser root\n"
                )
            }
        };
        fs::write(place.path("config"), text).expect("its configuration");
        fs::write(place.path("boot"), "the first\n").expect("a boot id");
        place
    }

    /// With the disk library loaded; `trace`: what happens to the folder is recorded.
    pub fn on_test_disk(mut self, trace: bool) -> Self {
        (self.shim, self.trace) = (true, trace);
        fs::write(self.path("control"), [0; 64]).expect("its control page");
        self
    }

    /// The folder with everything the program keeps.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Another boot of the system, as far as the program can tell.
    pub fn boot_again(&self, number: usize) {
        fs::write(self.path("boot"), format!("boot {number}\n")).expect("a boot id");
    }

    pub fn set(&self, control: Control, value: i64) {
        let bytes = value.to_le_bytes();
        let page = fs::OpenOptions::new().write(true).open(self.path("control")).expect("the control page");
        std::os::unix::fs::FileExt::write_all_at(&page, &bytes, control as u64 * 8).expect("it is written");
    }

    pub fn control(&self, control: Control) -> i64 {
        let page = fs::read(self.path("control")).expect("the control page");
        i64::from_le_bytes(page[control as usize * 8..][..8].try_into().expect("eight bytes"))
    }

    /// Starts the program. `environment` is for this run alone.
    pub fn spawn(&self, environment: &[(&str, &str)]) -> Running {
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HERALDMQ_")) {
            command.env_remove(name);
        }
        command.current_dir(self.root.path()).env("PLACE", self.root.path()).args(["-c", WATCHED, "sh"]);
        match self.program {
            Program::Herald(_) => command.args([env!("CARGO_BIN_EXE_heraldmq"), "--config", "config"]),
            Program::Mosquitto => command.args(["mosquitto", "-c", "config"]),
        };
        command.env("SHIM", if self.shim { shim().as_os_str() } else { "".as_ref() });
        if self.shim {
            command.env("POWERLOSS_FOLDER", self.data()).env("POWERLOSS_CONTROL", self.path("control"));
            command.env("POWERLOSS_BOOT", self.path("boot"));
        }
        if self.trace {
            let _ = fs::remove_file(self.path("trace"));
            command.env("POWERLOSS_TRACE", self.path("trace"));
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("there is a shell");
        let log = Arc::new(Mutex::new(String::new()));
        let (into, errors) = (Arc::clone(&log), child.stderr.take().expect("it is piped"));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                *into.lock().expect("nobody panics with it") += &format!("{line}\n");
            }
        });
        let (watcher, reader) = (child.stdin.take(), Some(reader));
        Running { child, watcher, log, reader, addresses: Vec::new(), ended: None }
    }

    /// Starts the program and waits until it listens.
    ///
    /// # Errors
    /// It ended instead: how, and what it said.
    pub fn start(&self) -> Result<Running, Ended> {
        self.start_with(&[])
    }

    pub fn start_with(&self, environment: &[(&str, &str)]) -> Result<Running, Ended> {
        let running = self.spawn(environment);
        match self.port {
            Some(port) => running.wait_for_port(port),
            None => running.wait_for_lines(),
        }
    }
}

fn herald(data: &Path, mode: &str, more: &str) -> String {
    let mut text = format!("data_dir = \"{}\"\n{more}", data.display());
    let tables = [
        ("[listeners.mqtt]", "addr = \"127.0.0.1:0\"".to_owned()),
        ("[listeners.ws]", "enabled = false".to_owned()),
        ("[listeners.mqtts]", "enabled = false".to_owned()),
        ("[listeners.wss]", "enabled = false".to_owned()),
        ("[listeners.http]", "addr = \"127.0.0.1:0\"".to_owned()),
        ("[store]", format!("mode = \"{mode}\"\nqueue_messages_max = 5000000\nqueue_bytes_max = 4000000000")),
        ("[cores]", "threads = 2".to_owned()),
    ];
    for (header, body) in tables.iter().filter(|(header, _)| !more.contains(header)) {
        text += &format!("\n{header}\n{body}\n");
    }
    text
}

/// The disk library, compiled once for this run.
pub fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/durability/powerloss.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("powerloss-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wno-format-truncation", "-o"]).arg(&library).arg(source);
        let made = cc.args(["-ldl", "-lpthread"]).status().expect("there is a C compiler");
        assert!(made.success(), "the disk library does not compile");
        library
    })
}

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub log: String,
}

/// A program that runs until it is told to end, or dropped.
pub struct Running {
    child: Child,
    watcher: Option<ChildStdin>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    addresses: Vec<(String, SocketAddr)>,
    ended: Option<Ended>,
}

impl Running {
    fn wait_for_lines(mut self) -> Result<Self, Ended> {
        let (told, lines) = std::sync::mpsc::channel();
        let output = self.child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.starts_with("Ctrl-C") {
                return Ok(self);
            }
            let mut words = line.split_whitespace();
            if let (Some(name), Some(Ok(addr)), None) = (words.next(), words.next().map(str::parse), words.next()) {
                self.addresses.push((name.to_owned(), addr));
            }
        }
        Err(self.wait(PATIENCE))
    }

    fn wait_for_port(mut self, port: u16) -> Result<Self, Ended> {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if TcpStream::connect(addr).is_ok() {
                self.addresses.push(("mqtt".to_owned(), addr));
                return Ok(self);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(self.wait(PATIENCE))
    }

    /// Where this listener is.
    pub fn addr(&self, listener: &str) -> SocketAddr {
        let found = self.addresses.iter().find(|(name, _)| name == listener);
        found.unwrap_or_else(|| panic!("no {listener} among {:?}", self.addresses)).1
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// kill -9, and the end.
    pub fn kill(&mut self) -> Ended {
        self.signal(Signal::KILL);
        self.wait(PATIENCE)
    }

    /// SIGTERM, and the end.
    pub fn stop(&mut self) -> Ended {
        self.signal(Signal::TERM);
        self.wait(PATIENCE)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.ended.is_some() || self.child.try_wait().expect("it is a child").is_some()
    }

    /// Waits for its end; past the time it is killed, which shows in the code.
    pub fn wait(&mut self, within: Duration) -> Ended {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                break status;
            }
            if Instant::now() > deadline {
                self.signal(Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        if let Some(mut watcher) = self.watcher.take() {
            // The watcher may go: its broker is gone, and the process id is free for others.
            let _ = watcher.write_all(b"done\n");
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let ended = Ended { code: status.code(), log: self.log() };
        self.ended = Some(ended.clone());
        ended
    }

    /// Resident memory, bytes.
    pub fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
