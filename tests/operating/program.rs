//! Running the program: its own directory, its own ports, its own end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};
pub use signals::Signal;
use tempfile::TempDir;

/// Nothing here takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

mod signals {
    /// The signals an operator sends.
    #[derive(Debug, Clone, Copy)]
    pub enum Signal {
        Interrupt,
        Terminate,
        HangUp,
    }

    impl From<Signal> for rustix::process::Signal {
        fn from(signal: Signal) -> Self {
            match signal {
                Signal::Interrupt => Self::INT,
                Signal::Terminate => Self::TERM,
                Signal::HangUp => Self::HUP,
            }
        }
    }
}

pub fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes a file, and gives its path.
pub fn put(place: &TempDir, name: &str, text: &str) -> String {
    let file = place.path().join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn command(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heraldmq"));
    command.current_dir(place).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HERALDMQ_") {
            command.env_remove(name);
        }
    }
    command
}

/// What is left of a program that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

pub fn run(place: &TempDir, arguments: &[&str], input: &str) -> Ended {
    run_with(place, arguments, input, &[])
}

pub fn run_with(place: &TempDir, arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Ended {
    let mut child = command(place.path(), arguments).envs(environment.iter().copied()).spawn().unwrap();
    // A program that reads no input may have closed it already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let code = end(&mut child);
    let text = |mut pipe: Box<dyn std::io::Read>| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    };
    Ended { code, output: text(Box::new(output)), errors: text(Box::new(errors)) }
}

fn end(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A broker that runs until it is told to end, or dropped.
pub struct Program {
    child: Child,
    addresses: Vec<(String, SocketAddr)>,
    log: Arc<Mutex<String>>,
}

impl Program {
    /// Starts it, and returns when it has said that it listens.
    pub fn start(place: &TempDir, file: &str) -> Self {
        Self::start_with(place, file, &[])
    }

    pub fn start_with(place: &TempDir, file: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = command(place.path(), &["--config", file]);
        let mut child = command.envs(environment.iter().copied()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (into, errors) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut log = into.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let output = child.stdout.take().unwrap();
        let mut program = Self { child, addresses: Vec::new(), log };
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.starts_with("Ctrl-C") {
                return program;
            }
            let mut words = line.split_whitespace();
            if let (Some(name), Some(Ok(addr)), None) = (words.next(), words.next().map(str::parse), words.next()) {
                program.addresses.push((name.to_owned(), addr));
            }
        }
        panic!("it did not start: {}", program.log());
    }

    pub fn address(&self, name: &str) -> SocketAddr {
        let found = self.addresses.iter().find(|(listener, _)| listener == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.addresses)).1
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal.into()).unwrap();
    }

    pub fn wait(&mut self) -> Option<i32> {
        let code = end(&mut self.child);
        // The last lines are read by another thread, which ends with the pipe.
        let begun = Instant::now();
        while Arc::strong_count(&self.log) > 1 && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        code
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until `text` is in the log.
    pub fn wait_for_log(&self, text: &str) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.log().contains(text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no {text:?} in {}", self.log());
    }
}

impl Program {
    /// Waits until this line is among the metrics.
    pub fn wait_for_metric(&self, line: &str) {
        let begun = Instant::now();
        let mut page = String::new();
        while begun.elapsed() < PATIENCE {
            page = ask(self.address("http"), "GET", "/metrics", "");
            if page.lines().any(|there| there == line) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("no {line:?} in {page}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request; the whole answer as text.
pub fn ask(addr: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
