//! What is said on standard output at the start: where it listens, and what to try next.

use std::io::Write as _;
use std::net::SocketAddr;

use super::VERSION;
use crate::config::Config;

/// Says it. A closed standard output is nobody's problem.
pub(super) fn announce(config: &Config, listening: &[(String, SocketAddr)]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text(config, listening).as_bytes()).and_then(|()| out.flush());
}

fn text(config: &Config, listening: &[(String, SocketAddr)]) -> String {
    let mut text = format!("HeraldMQ {VERSION}, store mode {}\n", config.store_mode.name());
    for (name, addr) in listening {
        text.push_str(&format!("  {name:<6} {addr}\n"));
    }
    for (name, level) in config.levels().listeners.iter().filter(|(_, level)| *level != config.store_mode) {
        text.push_str(&format!("  durability of listener {name}: {}\n", level.name()));
    }
    for (topic, level) in config.topic_levels.iter() {
        text.push_str(&format!("  durability of topic {topic}: {}\n", level.name()));
    }
    for note in &config.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    let addr = |wanted: &str| listening.iter().find(|(name, _)| name == wanted).map(|(_, addr)| reachable(*addr));
    if let Some(addr) = addr("mqtt") {
        let (host, port) = (addr.ip(), addr.port());
        text.push_str(&format!("Try:  mosquitto_sub -h {host} -p {port} -t 'biz/#' -v\n"));
        text.push_str(&format!("      mosquitto_pub -h {host} -p {port} -t biz/order/user/alice -m hello\n"));
    }
    if let Some(addr) = addr("http") {
        let secure = config.http.as_ref().is_some_and(|http| http.tls.is_some());
        text.push_str(&format!("Look: curl http{}://{addr}/health\n", if secure { "s" } else { "" }));
    }
    text.push_str("Ctrl-C ends it.\n");
    text
}

/// An address to try from this machine: "everywhere" is reached at the loopback address.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let mut addr = addr;
    if addr.ip().is_unspecified() {
        let loopback =
            if addr.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        addr.set_ip(loopback);
    }
    addr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_it_listens_in_fact_and_what_to_try() {
        let config = crate::config::load_text("test", "", std::iter::empty()).unwrap();
        let listening = [
            ("mqtt".to_owned(), "0.0.0.0:40001".parse().unwrap()),
            ("http".to_owned(), "127.0.0.1:40002".parse().unwrap()),
        ];
        let text = text(&config, &listening);
        for expected in
            ["\n  mqtt   0.0.0.0:40001\n", "-h 127.0.0.1 -p 40001", "curl http://127.0.0.1:40002/health", "Ctrl-C"]
        {
            assert!(text.contains(expected), "{expected:?} in {text}");
        }
    }

    #[test]
    fn it_says_what_is_kept_otherwise_than_the_store_mode_says() {
        let config = "[listeners.ws]\ndurability = \"os\"\n[store.topic_levels]\n\"a/#\" = \"memory\"\n";
        let text = text(&crate::config::load_text("test", config, std::iter::empty()).unwrap(), &[]);
        assert!(text.starts_with(&format!("HeraldMQ {VERSION}, store mode sync\n")), "{text}");
        assert!(text.contains("  durability of listener ws: os\n  durability of topic a/#: memory\n"), "{text}");
        assert!(!text.contains("listener mqtt"), "{text}");
    }
}
