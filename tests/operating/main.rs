//! The program as an operator meets it: arguments, exit codes, signals, files.

mod program;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use heraldmq::store::rocks::fail_point;
use program::{Program, ask, directory, put, run};

const ANYWHERE: &str = "\
[listeners.mqtt]
addr = \"127.0.0.1:0\"
[listeners.ws]
addr = \"127.0.0.1:0\"
[listeners.mqtts]
enabled = false
[listeners.wss]
enabled = false
[listeners.http]
addr = \"127.0.0.1:0\"
";

#[test]
fn a_wrong_configuration_is_refused_as_a_whole_with_exit_code_78() {
    let place = directory();
    let file =
        put(&place, "wrong.toml", "[limits]\nreceive_maximum = 0\ncolour = 1\n[auth]\npassword_file = \"/nowhere\"\n");
    for arguments in [vec!["--config", &file], vec!["check", &file]] {
        let ended = run(&place, &arguments, "");
        assert_eq!(ended.code, Some(78), "{}", ended.errors);
        assert_eq!(ended.errors.lines().count(), 3, "every mistake is on its own line: {}", ended.errors);
        for expected in [
            "wrong.toml:2: limits.receive_maximum = 0: ",
            "wrong.toml:3: limits.colour",
            "wrong.toml:5: auth.password_file",
        ] {
            assert!(ended.errors.contains(expected), "{expected} in {}", ended.errors);
        }
    }
}

#[test]
fn the_sample_configuration_has_nothing_wrong() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/config/heraldmq.toml");
    let ended = run(&directory(), &["check", sample], "");
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
}

#[test]
fn it_says_where_it_listens_and_ends_cleanly_on_either_signal() {
    for signal in [program::Signal::Interrupt, program::Signal::Terminate] {
        let place = directory();
        let mut program = Program::start(&place, &put(&place, "c.toml", ANYWHERE));
        let http = program.address("http");
        assert!(ask(http, "GET", "/health", "").contains("\"status\":\"running\""));
        assert!(ask(http, "GET", "/metrics", "").contains("heraldmq_build_info{version="));
        program.signal(signal);
        assert_eq!(program.wait(), Some(0));
    }
}

#[test]
fn every_listener_is_announced_and_takes_connections_until_the_end() {
    let place = directory();
    let mut program = Program::start(&place, &put(&place, "c.toml", ANYWHERE));
    let mut clients: Vec<TcpStream> = Vec::new();
    for listener in ["mqtt", "ws"] {
        clients.push(TcpStream::connect(program.address(listener)).unwrap());
    }
    program.wait_for_metric("heraldmq_connections_opened_total 2");
    program.signal(program::Signal::Terminate);
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 16]).unwrap(), 0, "a client that said nothing is told nothing");
    }
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn a_broker_can_be_loaded_from_the_command_line() {
    let place = directory();
    let mut program = Program::start(&place, &put(&place, "c.toml", ANYWHERE));
    let (mqtt, websocket) = (program.address("mqtt").to_string(), program.address("ws").to_string());
    let few = ["--publishers", "2", "--subscribers", "4", "--duration", "1", "--json", "load.json"];
    for arguments in [
        vec![mqtt.as_str(), "--scenario", "pairs", "--qos", "2", "--v5"],
        vec![mqtt.as_str(), "--scenario", "offline", "--rate", "200"],
        // At a rate: as fast as they can, publishers outrun subscribers, whose queues have a bound.
        vec![websocket.as_str(), "--websocket", "--scenario", "fan-out", "--durable", "--rate", "200"],
    ] {
        let ended = run(&place, &[&["bench"], &arguments[..], &few[..]].concat(), "");
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{arguments:?}");
        let numbers = fs::read_to_string(place.path().join("load.json")).unwrap();
        let numbers: serde_json::Value = serde_json::from_str(&numbers).unwrap();
        assert!(numbers["published"].as_u64() > Some(0), "{numbers}");
        assert_eq!(numbers["published"], numbers["acknowledged"], "{numbers}");
        let copies = if arguments.contains(&"offline") { 0 } else { 1 + 3 * u64::from(arguments.contains(&"fan-out")) };
        assert_eq!(numbers["delivered"].as_u64(), numbers["published"].as_u64().map(|sent| sent * copies), "{numbers}");
    }
    let ended = run(&place, &["bench", &websocket, "--websocket", "/elsewhere"], "");
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("no WebSocket: HTTP/1.1 404"), "{}", ended.errors);
    program.signal(program::Signal::Terminate);
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn mqtt_3_1_2_2_a_client_of_an_unknown_version_is_told_so_and_closed() {
    let place = directory();
    let program = Program::start(&place, &put(&place, "c.toml", ANYWHERE));
    let mut client = TcpStream::connect(program.address("mqtt")).unwrap();
    client.write_all(b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01c").unwrap();
    let mut told = Vec::new();
    client.read_to_end(&mut told).unwrap();
    assert_eq!(told, [0x20, 3, 0, 0x84, 0]);
    let counted = "heraldmq_connects_refused_total{reason=\"unsupported_protocol_version\"} 1";
    program.wait_for_metric(counted);
}

#[test]
fn a_reload_puts_the_certificates_of_clients_in_force_or_none() {
    let place = directory();
    assert_eq!(run(&place, &["certs"], "").code, Some(0));
    let file = put(&place, "c.toml", &ANYWHERE.replace("enabled = false", "addr = \"127.0.0.1:0\""));
    let mut program = Program::start(&place, &file);
    assert_ne!(program.address("mqtts"), program.address("wss"));
    fs::write(place.path().join("certs/dev/server.key"), "not a key").unwrap();
    program.signal(program::Signal::HangUp);
    program.wait_for_log("reload refused, nothing changed");
    program.wait_for_log("listeners.mqtts: certs/dev/server.key: ");
    assert_eq!(run(&place, &["certs", "certs/dev2"], "").code, Some(0));
    for name in ["server.key", "server.pem"] {
        fs::copy(place.path().join("certs/dev2").join(name), place.path().join("certs/dev").join(name)).unwrap();
    }
    program.signal(program::Signal::HangUp);
    program.wait_for_log("configuration read again");
    program.signal(program::Signal::Terminate);
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn a_taken_port_is_an_error_and_not_a_running_broker() {
    let place = directory();
    let program = Program::start(&place, &put(&place, "c.toml", ANYWHERE));
    let taken = ANYWHERE.replace(
        "[listeners.http]\naddr = \"127.0.0.1:0\"",
        &format!("[listeners.http]\naddr = \"{}\"", program.address("http")),
    );
    let elsewhere = directory();
    let ended = run(&elsewhere, &["--config", &put(&elsewhere, "taken.toml", &taken)], "");
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("listeners.http: cannot listen on 127.0.0.1:"), "{}", ended.errors);
}

#[test]
fn a_reload_takes_everything_or_nothing() {
    let place = directory();
    let file = put(&place, "c.toml", ANYWHERE);
    let program = Program::start(&place, &file);
    put(&place, "c.toml", &format!("{ANYWHERE}[log]\nlevel = \"debug\"\n[cores]\nthreads = 1000000\n"));
    program.signal(program::Signal::HangUp);
    program.wait_for_log("reload refused, nothing changed");
    program.wait_for_log("c.toml:14: cores.threads = 1000000: expected");
    put(&place, "c.toml", &format!("{ANYWHERE}[log]\nlevel = \"debug\"\n[cores]\nthreads = 3\n"));
    program.signal(program::Signal::HangUp);
    program.wait_for_log("cores.threads was 0 and is 3 (takes effect: restart)");
    program.wait_for_log("log.level was \"info\" and is \"debug\" (takes effect: live)");
    program.wait_for_log("restart_needed=true");
}

#[test]
fn the_log_level_is_changed_while_it_runs() {
    let place = directory();
    for (before, after) in [("info", "error"), ("error", "info")] {
        let text = format!("{ANYWHERE}[log]\nlevel = \"{before}\"\n");
        let mut program = Program::start(&place, &put(&place, "c.toml", &text));
        let http = program.address("http");
        assert!(ask(http, "PUT", "/log/level", "no such=thing=at all").starts_with("HTTP/1.1 400"));
        assert!(ask(http, "PUT", "/log/level", after).starts_with("HTTP/1.1 200"));
        program.signal(program::Signal::Interrupt);
        assert_eq!(program.wait(), Some(0));
        assert_eq!(program.log().contains("stopped"), after == "info", "{}", program.log());
    }
}

#[test]
fn certificates_and_passwords_are_made_by_the_program_itself() {
    let place = directory();
    assert_eq!(run(&place, &["certs"], "").code, Some(0));
    assert_eq!(run(&place, &["passwd", "users", "alice"], "secret\n").code, Some(0));
    let text = "[auth]\npassword_file = \"users\"\nacl_file = \"acl\"\n";
    put(&place, "acl", "allow both a/#\nallow nothing b\n");
    let file = put(&place, "c.toml", text);
    let ended = run(&place, &["check", &file], "");
    assert_eq!(ended.code, Some(78));
    assert!(ended.errors.contains("acl:2: "), "{}", ended.errors);
    put(&place, "acl", "allow both a/#\n");
    assert_eq!(run(&place, &["check", &file], "").code, Some(0));
    fs::write(place.path().join("certs/dev/server.key"), "not a key").unwrap();
    let ended = run(&place, &["check", &file], "");
    assert_eq!(ended.code, Some(78));
    assert!(ended.errors.contains("listeners.mqtts: certs/dev/server.key: "), "{}", ended.errors);
    assert_eq!(run(&place, &["passwd", "--delete", "users", "bob"], "").code, Some(1));
    assert_eq!(run(&place, &["passwd", "--delete", "users", "alice"], "").code, Some(0));
}

#[test]
fn an_unknown_environment_variable_is_a_mistake() {
    let place = directory();
    let file = put(&place, "c.toml", ANYWHERE);
    let ended = program::run_with(&place, &["check", &file], "", &[("HERALDMQ_LIMITS_RECIEVE_MAXIMUM", "7")]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.errors.contains("environment variable HERALDMQ_LIMITS_RECIEVE_MAXIMUM: there is no such setting"));
}

/// A client over a bare socket, connected.
fn client(program: &Program) -> TcpStream {
    let mut stream = TcpStream::connect(program.address("mqtt")).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x").unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\x20\x02\x00\x00", "CONNACK");
    stream
}

/// Subscribes to `kept`, and expects the retained message there.
fn expect_kept(program: &Program) {
    let mut stream = client(program);
    stream.write_all(b"\x82\x09\x00\x02\x00\x04kept\x00").unwrap();
    let expected = b"\x90\x03\x00\x02\x00\x31\x08\x00\x04kepthi";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected, "SUBACK and the message");
}

/// One retained QoS 1 message; returns when it is acknowledged.
fn retain(program: &Program, topic: &[u8]) {
    let mut stream = client(program);
    let mut answer = [0; 4];
    let length = u8::try_from(2 + topic.len() + 2 + 2).unwrap();
    stream.write_all(&[&[0x33, length, 0, topic.len() as u8], topic, b"\x00\x01hi"].concat()).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\x40\x02\x00\x01", "PUBACK");
}

#[test]
fn a_store_is_backed_up_while_it_runs_checked_restored_and_refused_when_it_is_damaged() {
    let place = directory();
    let file = put(&place, "c.toml", &format!("{ANYWHERE}[store]\nmode = \"sync\"\n"));
    let mut program = Program::start(&place, &file);
    retain(&program, b"kept");
    let http = program.address("http");
    let made = ask(http, "PUT", "/store/backups/monday", "");
    assert!(made.starts_with("HTTP/1.1 201") && made.ends_with("{\"folder\":\"backups/monday\"}"), "{made}");
    assert!(ask(http, "PUT", "/store/backups/monday", "").starts_with("HTTP/1.1 409"));
    let second = run(&place, &["--config", &file], "");
    assert_eq!(second.code, Some(1));
    assert!(second.errors.contains("data: another process is using this store"), "{}", second.errors);
    assert_eq!(run(&place, &["store", "check", "data"], "").code, Some(1), "a broker has it");
    program.signal(program::Signal::Terminate);
    assert_eq!(program.wait(), Some(0));

    for folder in ["data", "backups/monday"] {
        let ended = run(&place, &["store", "check", folder], "");
        assert_eq!((ended.code, ended.output), (Some(0), format!("{folder}: nothing wrong\n")), "{}", ended.errors);
        let stats = run(&place, &["store", "stats", folder], "").output;
        assert!(stats.contains("retained messages     ") && !stats.contains("retained messages     0\n"), "{stats}");
    }
    let refused = run(&place, &["store", "restore", "backups/monday", "data"], "");
    assert_eq!(refused.code, Some(1), "it is not empty: {}", refused.errors);
    assert_eq!(run(&place, &["store", "restore", "backups/monday", "restored"], "").code, Some(0));
    let file = put(&place, "r.toml", &format!("data_dir = \"restored\"\n{ANYWHERE}[store]\nmode = \"sync\"\n"));
    let program = Program::start(&place, &file);
    expect_kept(&program);
    drop(program);

    fs::remove_file(place.path().join("restored/CURRENT")).unwrap();
    let ended = run(&place, &["--config", &file], "");
    assert_eq!(ended.code, Some(78));
    assert!(ended.errors.contains("restored/CURRENT: is missing"), "{}", ended.errors);
    let ended = run(&place, &["store", "check", "restored"], "");
    assert_eq!(ended.code, Some(1));
    assert!(ended.output.contains("damaged: restored/CURRENT: is missing"), "{}", ended.output);
    let saved = run(&place, &["store", "salvage", "restored", "saved"], "");
    assert_eq!(saved.code, Some(0), "{}", saved.errors);
    let file = put(&place, "s.toml", &format!("data_dir = \"saved\"\n{ANYWHERE}[store]\nmode = \"sync\"\n"));
    expect_kept(&Program::start(&place, &file));
}

#[test]
fn a_store_that_loses_its_writer_ends_the_process_and_nothing_is_acknowledged() {
    let place = directory();
    let file = put(&place, "c.toml", ANYWHERE);
    // The first commit is the broker's own; a later one panics.
    let fail_point = [(fail_point::VARIABLE, "batched:2:panic")];
    let mut program = Program::start_with(&place, &file, &fail_point);
    let mut stream = client(&program);
    let mut answered = Vec::new();
    for _ in 0..2 {
        // The last write may find the socket closed.
        let _ = stream.write_all(b"\x33\x0a\x00\x04kept\x00\x01hi");
        let _ = stream.read(&mut [0; 4]).map(|count| answered.push(count));
    }
    assert_eq!(program.wait(), Some(70), "{}", program.log());
    assert!(program.log().contains("a thread of the store ended by a panic: the process ends"), "{}", program.log());
    assert!(answered.iter().filter(|count| **count == 4).count() < 2, "{answered:?}");
    drop(program);
    let program = Program::start(&place, &file);
    retain(&program, b"kept");
    expect_kept(&program);
}

/// Whether these bytes hold a PUBLISH of this topic and payload, at QoS 0.
fn holds(bytes: &[u8], topic: &str, payload: &str) -> bool {
    let wanted = [topic.as_bytes(), payload.as_bytes()].concat();
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn the_levels_in_force_are_said_everywhere() {
    let place = directory();
    let levels = "[store]\nmode = \"sync\"\ntopic_levels = { \"a/#\" = \"memory\", \"b\" = \"os\" }\n";
    let with_listener = ANYWHERE.replacen("[listeners.ws]\n", "[listeners.ws]\ndurability = \"os\"\n", 1);
    let program = Program::start(&place, &put(&place, "c.toml", &format!("{with_listener}{levels}")));
    for said in ["durability listener=\"ws\" level=\"os\"", "durability topic=\"a/#\" level=\"memory\""] {
        program.wait_for_log(said);
    }
    let health = ask(program.address("http"), "GET", "/health", "");
    let durability = r#""durability":{"listeners":{"mqtt":"sync","ws":"os"},"topics":{"a/#":"memory","b":"os"}}"#;
    assert!(health.contains(durability), "{health}");
    program.wait_for_metric("heraldmq_durability_info{of=\"topic\",name=\"a/#\",level=\"memory\"} 1");
    program.wait_for_metric("heraldmq_durability_info{of=\"listener\",name=\"mqtt\",level=\"sync\"} 1");
    let mut stream = client(&program);
    stream.write_all(b"\x82\x1d\x00\x02\x00\x18$SYS/broker/durability/#\x00".as_slice()).unwrap();
    let mut came = Vec::new();
    let all = [("mode", "sync"), ("listeners/mqtt", "sync"), ("listeners/ws", "os"), ("topics", "b=os,a/#=memory")];
    while !all.iter().all(|(name, level)| holds(&came, &format!("$SYS/broker/durability/{name}"), level)) {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).unwrap();
        // They come again every ten seconds.
        assert!(count > 0 && came.len() < 10_000, "it said only {}", String::from_utf8_lossy(&came));
        came.extend_from_slice(&chunk[..count]);
    }
}
