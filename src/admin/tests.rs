use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::metrics::{Board, Facts};
use crate::store::TopicLevels;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

struct Running {
    addr: SocketAddr,
    levels: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    certificates: Option<Arc<Certificates>>,
    runtime: tokio::runtime::Runtime,
}

fn start(health: Health) -> Running {
    start_with(health, None)
}

fn start_with(health: Health, tls: Option<TlsFiles>) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let endpoint = Endpoint::bind(&Options { addr: ([127, 0, 0, 1], 0).into(), tls }).unwrap();
    let certificates = endpoint.certificates();
    let levels = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&levels);
    let facts = Facts { version: "9.9.9", store_mode: "os", durability: Vec::new() };
    let kept = Levels {
        listeners: vec![("mqtt".into(), Level::Sync), ("ws".into(), Level::Os)],
        topics: TopicLevels::new([("a/#".into(), Level::Memory)]),
    };
    let admin = Admin {
        page: Page::new(Arc::new(Board::new(1)), &facts),
        version: "9.9.9",
        store_mode: Level::Os,
        levels: kept,
        started: Instant::now(),
        health: Box::new(move || health),
        set_log_level: Box::new(move |level| {
            seen.lock().unwrap().push(level.to_owned());
            if level == "debug" { Ok(()) } else { Err("not a level".to_owned()) }
        }),
        backup: Arc::new(|name| match name {
            "taken" => Err("is there already".to_owned()),
            name => Ok(PathBuf::from("copies").join(name)),
        }),
    };
    let (stop, stopped) = watch::channel(false);
    let addr = endpoint.addr().unwrap();
    runtime.spawn(endpoint.serve(Arc::new(admin), stopped));
    Running { addr, levels, stop, certificates, runtime }
}

fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(addr: SocketAddr, path: &str) -> String {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

fn put_level(addr: SocketAddr, level: &str) -> String {
    let length = level.len();
    ask(
        addr,
        &format!("PUT /log/level HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{level}"),
    )
}

#[test]
fn health_metrics_and_version_are_answered() {
    let running = start(Health::Running);
    let health = get(running.addr, "/health");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    let expected = r#"{"status":"running","version":"9.9.9","uptime_s":0,"store_mode":"os","durability":{"listeners":{"mqtt":"sync","ws":"os"},"topics":{"a/#":"memory"}}}"#;
    assert!(health.ends_with(expected), "{health}");
    let metrics = get(running.addr, "/metrics");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nheraldmq_connections 0\n"), "{metrics}");
    assert!(get(running.addr, "/version").ends_with("{\"version\":\"9.9.9\"}"));
    assert!(get(running.addr, "/nowhere").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_draining_broker_is_not_healthy() {
    let running = start(Health::Draining);
    assert!(get(running.addr, "/health").starts_with("HTTP/1.1 503 "));
}

#[test]
fn the_log_level_is_set_by_put_and_a_wrong_one_is_refused() {
    let running = start(Health::Running);
    assert!(put_level(running.addr, "debug\n").starts_with("HTTP/1.1 200 "));
    assert!(put_level(running.addr, "loud").starts_with("HTTP/1.1 400 "));
    assert_eq!(*running.levels.lock().unwrap(), ["debug", "loud"]);
    assert!(put_level(running.addr, &"x".repeat(5000)).starts_with("HTTP/1.1 413 "));
}

#[test]
fn a_taken_port_is_an_error_of_the_start() {
    let running = start(Health::Running);
    let error = Endpoint::bind(&Options { addr: running.addr, tls: None }).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {}: ", running.addr)), "{error}");
}

#[test]
fn stopping_closes_the_socket_and_idle_connections() {
    let running = start(Health::Running);
    let mut idle = TcpStream::connect(running.addr).unwrap();
    idle.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_ne!(idle.read(&mut [0; 512]).unwrap(), 0);
    running.stop.send(true).unwrap();
    idle.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    drop(running.runtime);
    assert!(TcpStream::connect(running.addr).is_err());
}

/// A new certificate in `dir` and the files that hold it.
fn certificate(dir: &std::path::Path) -> (TlsFiles, rustls_pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: dir.join("a.pem"), key: dir.join("a.key") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (files, made.cert.der().clone())
}

/// Asks over TLS as somebody who trusts `trusted` and nothing else.
fn ask_securely(running: &Running, trusted: &rustls_pki_types::CertificateDer<'static>) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    running.runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(running.addr).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await?;
        stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    })
}

#[test]
fn https_shows_the_certificate_in_use_and_a_replaced_one_from_the_next_connection_on() {
    let dir = tempfile::tempdir().unwrap();
    let (files, first) = certificate(dir.path());
    let running = start_with(Health::Running, Some(files));
    assert!(ask_securely(&running, &first).unwrap().ends_with("{\"version\":\"9.9.9\"}"));
    let (files, second) = certificate(dir.path());
    assert!(ask_securely(&running, &second).is_err(), "not before it is replaced");
    running.certificates.as_ref().unwrap().replace(Certificates::read(&files).unwrap());
    assert!(ask_securely(&running, &second).is_ok());
    assert!(ask_securely(&running, &first).is_err());
}

#[test]
fn a_key_that_does_not_fit_is_refused_with_the_name_of_a_file() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((one, _), (other, _)) = (certificate(one.path()), certificate(other.path()));
    let mixed = TlsFiles { certificate: one.certificate.clone(), key: other.key };
    let error = Certificates::load(&mixed).unwrap_err().to_string();
    assert!(error.starts_with(&one.certificate.display().to_string()), "{error}");
    let missing = TlsFiles { certificate: one.certificate, key: "/nowhere/a.key".into() };
    assert!(Certificates::load(&missing).unwrap_err().to_string().starts_with("/nowhere/a.key: "));
}

#[test]
fn a_backup_is_made_under_a_plain_name_only() {
    let running = start(Health::Running);
    let put = |name: &str| {
        ask(
            running.addr,
            &format!("PUT /store/backups/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        )
    };
    let made = put("monday-1");
    assert!(made.starts_with("HTTP/1.1 201 ") && made.ends_with("{\"folder\":\"copies/monday-1\"}"), "{made}");
    let taken = put("taken");
    assert!(taken.starts_with("HTTP/1.1 409 ") && taken.ends_with("{\"error\":\"is there already\"}"), "{taken}");
    for name in ["..", "%2e%2e%2fetc", "a%2Fb", "a.b", "%00", &"x".repeat(65)] {
        let refused = put(name);
        assert!(refused.starts_with("HTTP/1.1 400 "), "{name}: {refused}");
    }
    assert!(get(running.addr, "/store/backups/monday-1").starts_with("HTTP/1.1 405 "), "only asked for on purpose");
}
