//! The HTTP request that turns a connection into a WebSocket: what it must say, and what it is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Header lines read; a browser with cookies sends about twenty.
const HEADERS_MAX: usize = 64;
/// Appended to the client's key before hashing, so that only a WebSocket server can answer (RFC 6455, 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why an upgrade is refused. Each has an HTTP status; after it the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: not HTTP, or not HTTP/1.1.
    #[error("not an HTTP/1.1 request")]
    NotHttp,
    /// 400: a header an upgrade must have is missing, repeated or wrong; named here.
    #[error("missing or invalid header {0}")]
    Header(&'static str),
    /// 400: `mqtt` is not among the subprotocols offered [MQTT-6.0.0-3].
    #[error("subprotocol \"mqtt\" not offered")]
    Subprotocol,
    /// 404: another path than the configured one.
    #[error("unknown path")]
    Path,
    /// 405: another method than GET.
    #[error("method is not GET")]
    Method,
    /// 426: a request that asks for no upgrade, or for another version of the protocol than 13.
    #[error("no upgrade to WebSocket version 13")]
    Version,
    /// 431: the request's head is longer than 8 KiB or has too many lines.
    #[error("request head too large")]
    TooLarge,
}

impl Refusal {
    /// The HTTP status with its phrase.
    pub fn status(self) -> &'static str {
        match self {
            Refusal::NotHttp | Refusal::Header(_) | Refusal::Subprotocol => "400 Bad Request",
            Refusal::Path => "404 Not Found",
            Refusal::Method => "405 Method Not Allowed",
            Refusal::Version => "426 Upgrade Required",
            Refusal::TooLarge => "431 Request Header Fields Too Large",
        }
    }

    /// The whole HTTP response.
    pub fn response(self) -> String {
        let extra = match self {
            Refusal::Method => "Allow: GET\r\n",
            Refusal::Version => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        // A connection option names the headers that are meant for this hop only (RFC 9110, 7.6.1).
        let connection = if self == Refusal::Version { "close, Upgrade" } else { "close" };
        let body = format!("{self}\n");
        format!(
            "HTTP/1.1 {}\r\n{extra}Connection: {connection}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            self.status(),
            body.len(),
        )
    }
}

/// The response that accepts the upgrade asked for in `head`: a complete request head, blank line included.
///
/// Extensions are never accepted: compressed frames could blow up a hundredfold before anybody is known.
///
/// # Errors
/// Why the client is refused.
pub fn accept(head: &[u8], path: &str) -> Result<String, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::NotHttp),
    }
    if request.version != Some(1) {
        return Err(Refusal::NotHttp);
    }
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let target = request.path.unwrap_or_default();
    if target.split('?').next() != Some(path) {
        return Err(Refusal::Path);
    }
    let fields = Fields(request.headers);
    fields.one("Host")?;
    fields.no_body()?;
    if !fields.list_has("Upgrade", |token| token.eq_ignore_ascii_case(b"websocket")) {
        return Err(Refusal::Version);
    }
    if !fields.list_has("Connection", |token| token.eq_ignore_ascii_case(b"upgrade")) {
        return Err(Refusal::Header("Connection"));
    }
    if fields.one("Sec-WebSocket-Version") != Ok(b"13") {
        return Err(Refusal::Version);
    }
    let key = fields.one("Sec-WebSocket-Key")?;
    if STANDARD.decode(key).map(|nonce| nonce.len()) != Ok(16) {
        return Err(Refusal::Header("Sec-WebSocket-Key"));
    }
    let subprotocol = fields.subprotocol().ok_or(Refusal::Subprotocol)?;
    let proof = STANDARD.encode(Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize());
    // The subprotocol selected is named in the answer [MQTT-6.0.0-4] [MQTT3-6.0.0-4].
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    ))
}

/// The header lines of a request.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.trim_ascii())
    }

    /// The value of a header that must be there exactly once and not empty.
    fn one(&self, name: &'static str) -> Result<&'a [u8], Refusal> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() => Ok(value),
            _ => Err(Refusal::Header(name)),
        }
    }

    /// Whether an element of a comma separated list, possibly over several lines, is wanted.
    fn list_has(&self, name: &str, wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).any(|token| wanted(token.trim_ascii()))
    }

    /// The subprotocol to select: `mqtt`, or the older name some 3.1 clients offer.
    fn subprotocol(&self) -> Option<&'static str> {
        ["mqtt", "mqttv3.1"]
            .into_iter()
            .find(|name| self.list_has("Sec-WebSocket-Protocol", |token| token == name.as_bytes()))
    }

    /// A body would be taken for WebSocket frames, and a proxy in front might see it differently.
    fn no_body(&self) -> Result<(), Refusal> {
        if self.all("Transfer-Encoding").next().is_some() {
            return Err(Refusal::Header("Transfer-Encoding"));
        }
        if self.all("Content-Length").any(|length| length != b"0") {
            return Err(Refusal::Header("Content-Length"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[(&str, &str)] = &[
        ("Host", "broker.example:8083"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "x, mqtt"),
    ];

    fn request(line: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut head = format!("{line}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The good request with one header replaced (or taken out with an empty value).
    fn with(name: &str, value: &str) -> Result<String, Refusal> {
        let mut headers: Vec<_> = GOOD.iter().copied().filter(|(n, _)| *n != name).collect();
        if !value.is_empty() {
            headers.push((name, value));
        }
        accept(&request("GET /mqtt HTTP/1.1", &headers), "/mqtt")
    }

    fn selected(response: &str) -> &str {
        let line = response.lines().find(|l| l.starts_with("Sec-WebSocket-Protocol")).expect("a subprotocol");
        line.split(": ").nth(1).unwrap()
    }

    #[test]
    fn a_good_request_gets_the_proof_the_standard_gives_as_an_example() {
        let response = accept(&request("GET /mqtt?a=b HTTP/1.1", GOOD), "/mqtt").unwrap();
        assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        assert!(response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(response.ends_with("\r\n\r\n"));
    }

    #[test]
    fn mqtt_6_0_0_4_the_subprotocol_mqtt_is_selected_and_returned() {
        assert_eq!(selected(&with("Sec-WebSocket-Protocol", "x, mqtt").unwrap()), "mqtt");
        assert_eq!(selected(&with("sec-websocket-protocol", "mqttv3.1,mqtt").unwrap()), "mqtt");
    }

    #[test]
    fn mqtt3_6_0_0_4_the_subprotocol_mqtt_is_selected_and_returned() {
        assert_eq!(selected(&with("Sec-WebSocket-Protocol", "mqtt").unwrap()), "mqtt");
        assert_eq!(selected(&with("Sec-WebSocket-Protocol", "mqttv3.1").unwrap()), "mqttv3.1");
    }

    #[test]
    fn mqtt_6_0_0_3_an_offer_without_mqtt_is_refused() {
        for offer in ["", "x", "MQTT", "mqttx, amqp", "mqtt2"] {
            assert_eq!(with("Sec-WebSocket-Protocol", offer), Err(Refusal::Subprotocol), "{offer}");
        }
    }

    #[test]
    fn subprotocols_may_be_offered_on_several_lines() {
        let mut headers = GOOD.to_vec();
        headers.retain(|(name, _)| *name != "Sec-WebSocket-Protocol");
        headers.push(("Sec-WebSocket-Protocol", "chat"));
        headers.push(("Sec-WebSocket-Protocol", "mqtt"));
        assert_eq!(selected(&accept(&request("GET /mqtt HTTP/1.1", &headers), "/mqtt").unwrap()), "mqtt");
    }

    #[test]
    fn a_request_line_for_something_else_is_refused_with_its_status() {
        let check = |line: &str| accept(&request(line, GOOD), "/mqtt").unwrap_err();
        assert_eq!(check("GET / HTTP/1.1"), Refusal::Path);
        assert_eq!(check("GET /mqtt/ HTTP/1.1"), Refusal::Path);
        assert_eq!(check("POST /mqtt HTTP/1.1"), Refusal::Method);
        assert_eq!(check("GET /mqtt HTTP/1.0"), Refusal::NotHttp);
        assert_eq!(check("SSH-2.0-OpenSSH_9.2"), Refusal::NotHttp);
    }

    #[test]
    fn headers_that_make_no_upgrade_are_refused_with_their_status() {
        assert_eq!(with("Upgrade", ""), Err(Refusal::Version));
        assert_eq!(with("Upgrade", "h2c"), Err(Refusal::Version));
        assert_eq!(with("Sec-WebSocket-Version", "8"), Err(Refusal::Version));
        assert_eq!(with("Sec-WebSocket-Version", ""), Err(Refusal::Version));
        assert_eq!(with("Connection", "close"), Err(Refusal::Header("Connection")));
        assert_eq!(with("Host", ""), Err(Refusal::Header("Host")));
        for key in ["", "c2hvcnQ=", "not base64 at all!!!!!!!", "dGhlIHNhbXBsZSBub25jZWRub25jZQ=="] {
            assert_eq!(with("Sec-WebSocket-Key", key), Err(Refusal::Header("Sec-WebSocket-Key")), "{key}");
        }
        assert_eq!(with("Content-Length", "5"), Err(Refusal::Header("Content-Length")));
        assert_eq!(with("Transfer-Encoding", "chunked"), Err(Refusal::Header("Transfer-Encoding")));
    }

    #[test]
    fn too_many_headers_are_refused_and_extensions_are_never_accepted() {
        let many: Vec<_> = GOOD.iter().copied().chain(std::iter::repeat_n(("X", "y"), HEADERS_MAX)).collect();
        assert_eq!(accept(&request("GET /mqtt HTTP/1.1", &many), "/mqtt"), Err(Refusal::TooLarge));
        let response = with("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits").unwrap();
        assert!(!response.to_ascii_lowercase().contains("extensions"));
    }

    #[test]
    fn a_refusal_is_a_complete_response_that_closes() {
        for refusal in [Refusal::Method, Refusal::Version, Refusal::Path, Refusal::Header("Host"), Refusal::TooLarge] {
            let response = refusal.response();
            let (head, body) = response.split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with(&format!("HTTP/1.1 {}\r\n", refusal.status())));
            assert!(head.contains("Connection: close"));
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
        }
    }
}
