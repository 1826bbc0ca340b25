//! The broker under test: the real binary as a child process, or one that runs already.
//!
//! A child must not outlive the test process, however that ends. A shell stands between: it starts the broker, waits
//! for the end of its standard input, which the system closes with the test process, and then kills the broker and
//! removes its directory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Names an external broker as `host:port`; then none is started for the tests that share one.
pub const EXTERNAL: &str = "HERALDMQ_TEST_BROKER";

/// Name of the counter that must stay 0.
pub const CAUGHT_PANICS: &str = "heraldmq_caught_panics_total";

/// Starting and asking take no longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const KEEPER: &str = r#"trap '' HUP INT TERM
"$0" --config config.toml </dev/null &
broker=$!
exec >/dev/null 2>&1
cat
kill -KILL "$broker"
wait "$broker"
rm -rf -- "$1""#;

/// `alice` with password `secret`, as `heraldmq passwd` writes it.
const USERS: &str = "\
#scram-secret nGp9+uAfDrQqwEJGgAynuYiiNrpVF5yE/YOQZUIVtw4=
alice:$argon2id$v=19$m=19456,t=2,p=1$raivq0pfa8U5/Ve2Ym6upQ$Fkr7KvXCSgzHK1oWoTwvS6EvVBTmhwNoJZ8vY9NcuGY:\
SCRAM-SHA-256$15000:hnzrzSOdz0cJMRexYRCQ3w==$MTeePsEhq/g7Suv6gHMlSdduGr3Tu3GOOeBh5lHdkkY=:\
CEkCH3tklHHjxObfzg9UKL201ED3ZqX4kdXb93HmQL0=
";

/// Nobody may do anything below `forbidden/`, and only subscribe below `read-only/`.
const RULES: &str = "deny both forbidden/#\ndeny publish read-only/#\nallow both #\nallow both $a/#\nallow both $heraldry/#\nallow subscribe $SYS/#\n";

/// What every broker here is told, table by table, unless its own configuration has that table.
const TABLES: &[(&str, &str)] = &[
    ("[listeners.mqtt]", "addr = \"127.0.0.1:0\""),
    ("[listeners.ws]", "addr = \"127.0.0.1:0\""),
    ("[listeners.mqtts]", "enabled = false"),
    ("[listeners.wss]", "enabled = false"),
    ("[listeners.http]", "addr = \"127.0.0.1:0\""),
    ("[auth]", "allow_anonymous = true\npassword_file = \"users\"\nacl_file = \"acl\""),
    ("[cores]", "threads = 2"),
    ("[log]", "level = \"warn\""),
];

/// Both listeners with TLS, for [`with`].
pub const SECURE: &str = "[listeners.mqtts]\naddr = \"127.0.0.1:0\"\n[listeners.wss]\naddr = \"127.0.0.1:0\"\n";

/// The address of the broker most tests share: anonymous clients are let in, `alice` with password `secret` too, and
/// nobody may publish or subscribe below `forbidden/`, nor publish below `read-only/`.
pub fn shared() -> SocketAddr {
    static ADDR: OnceLock<SocketAddr> = OnceLock::new();
    *ADDR.get_or_init(|| external().unwrap_or_else(|| own().addr("mqtt")))
}

fn external() -> Option<SocketAddr> {
    let name = std::env::var(EXTERNAL).ok()?;
    name.to_socket_addrs().ok()?.next()
}

/// The shared broker as one that was started here, with its other listeners and its metrics.
pub fn own() -> &'static Broker {
    OWN.get_or_init(|| Broker::start(""))
}

static OWN: OnceLock<Broker> = OnceLock::new();

/// A broker for one test. `config` says what is different, in whole tables; [`TABLES`] fills in the others.
pub fn with(config: &str) -> Broker {
    Broker::start(config)
}

/// Fails the test if the shared broker has panicked, in this test or in one that runs beside it.
#[track_caller]
pub fn shared_is_sound() {
    if let Some(broker) = OWN.get() {
        let log = broker.log();
        assert!(!log.contains("panicked at"), "the broker has panicked: {log}");
    }
}

/// A broker that ends when this is dropped.
#[derive(Debug)]
pub struct Broker {
    keeper: Child,
    life: Option<ChildStdin>,
    place: PathBuf,
    addresses: Vec<(String, SocketAddr)>,
    log: Arc<Mutex<String>>,
}

impl Broker {
    fn start(config: &str) -> Self {
        let place = tempfile::tempdir().expect("a directory for the broker").keep();
        furnish(&place, config).expect("its files");
        if config.contains("[listeners.mqtts]") || config.contains("[listeners.wss]") {
            let made = command(env!("CARGO_BIN_EXE_heraldmq"), &place).arg("certs").stdout(Stdio::null()).status();
            assert!(made.expect("the program runs").success(), "certificates are made");
        }
        let mut command = command("sh", &place);
        command.args(["-c", KEEPER, env!("CARGO_BIN_EXE_heraldmq")]).arg(&place);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = command.spawn().expect("there is a shell");
        let log = Arc::new(Mutex::new(String::new()));
        let (into, errors) = (Arc::clone(&log), keeper.stderr.take().expect("it is piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                *into.lock().expect("nobody panics with it") += &format!("{line}\n");
            }
        });
        let said = lines(keeper.stdout.take().expect("it is piped"));
        let life = keeper.stdin.take();
        let mut broker = Self { keeper, life, place, addresses: Vec::new(), log };
        broker.listen_to(&said);
        broker
    }

    /// Takes in what the program says at its start.
    fn listen_to(&mut self, said: &Receiver<String>) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.starts_with("Ctrl-C") {
                return;
            }
            let mut words = line.split_whitespace();
            if let (Some(name), Some(Ok(addr)), None) = (words.next(), words.next().map(str::parse), words.next()) {
                self.addresses.push((name.to_owned(), addr));
            }
        }
        panic!("the broker did not start: {}", self.log());
    }

    /// Where this listener is: `mqtt`, `mqtts`, `ws`, `wss` or `http`.
    #[track_caller]
    pub fn addr(&self, listener: &str) -> SocketAddr {
        let found = self.addresses.iter().find(|(name, _)| name == listener);
        found.unwrap_or_else(|| panic!("no {listener} among {:?}", self.addresses)).1
    }

    /// Its directory, with `config.toml`, `users`, `acl` and, where TLS is on, `certs/dev/`.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// The value of a metric, summed over its labels; 0 if the page does not have it.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.page("/metrics").unwrap_or_else(|error| panic!("no metrics: {error}\n{}", self.log()));
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let value = if rest.starts_with(['{', ' ']) { rest.rsplit(' ').next()? } else { return None };
            value.parse::<f64>().ok()
        };
        page.lines().filter_map(value).sum()
    }

    fn page(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.addr("http"), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let caught = (!std::thread::panicking()).then(|| self.metric(CAUGHT_PANICS));
        self.life = None;
        // It ends by itself; where it cannot be waited for there is nothing left to wait for.
        let _ = self.keeper.wait();
        if let Some(caught) = caught {
            assert_eq!(caught, 0.0, "the broker has panicked: {}", self.log());
        }
    }
}

fn furnish(place: &Path, config: &str) -> std::io::Result<()> {
    let mut text = config.to_owned();
    for (header, body) in TABLES.iter().filter(|(header, _)| !config.contains(header)) {
        text += &format!("\n{header}\n{body}\n");
    }
    std::fs::write(place.join("config.toml"), text)?;
    std::fs::write(place.join("acl"), RULES)?;
    std::fs::write(place.join("users"), USERS)?;
    std::fs::set_permissions(place.join("users"), std::fs::Permissions::from_mode(0o600))
}

/// A program that sees none of the settings around the test.
fn command(program: &str, place: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(place);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HERALDMQ_")) {
        command.env_remove(name);
    }
    command
}

/// The lines of a pipe, read by a thread of its own so that waiting for one can have an end.
fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listens once it has started; the pipe is read all the same.
            let _ = sender.send(line);
        }
    });
    receiver
}
