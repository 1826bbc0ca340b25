//! SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677), without channel binding.
//!
//! ```text
//!  None ──(no data)──▶ First ──client-first──▶ Final ──client-final──▶ proved or failed
//!    └────────────────client-first──────────────▲
//! ```
//!
//! An exchange is a value between two packets: nothing is kept anywhere else, and a step never waits. For a user who is
//! not known it goes on to the end and fails there, with a salt that is always the same.

use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::password::{Users, random};

/// Authentication Method of this mechanism.
pub(super) const METHOD: &str = "SCRAM-SHA-256";
/// Iterations of keys that are written here; RFC 7677 demands at least 4096, and the client has to do them.
pub(super) const ITERATIONS: NonZeroU32 = NonZeroU32::new(15_000).expect("is not 0");
/// Iterations taken from a file. More is a slip of the pen that would keep clients busy for minutes.
const ITERATIONS_RANGE: std::ops::RangeInclusive<u32> = 4096..=10_000_000;
/// Longest message taken from a client, bytes.
const MESSAGE_BYTES_MAX: usize = 2048;
const HASH_BYTES: usize = 32;
const NONCE_BYTES: usize = 18;
const SALT_BYTES: usize = 16;

/// What is kept of a password for this mechanism.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    iterations: NonZeroU32,
    salt: Box<[u8]>,
    stored: [u8; HASH_BYTES],
    server: [u8; HASH_BYTES],
}

impl Keys {
    /// Derives the keys of a password, with a new salt. Slow on purpose.
    ///
    /// # Errors
    /// SASLprep refuses the password: it has characters that a client could not be trusted to send the same way.
    pub(super) fn of_password(password: &str) -> Result<Self, String> {
        let salt: [u8; SALT_BYTES] = random();
        Self::derive(password, &salt, ITERATIONS)
    }

    fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Result<Self, String> {
        let password = stringprep::saslprep(password).map_err(|_| "SASLprep does not allow this password")?;
        let mut salted = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
        let stored = sha256(&mac(&salted, b"Client Key"));
        Ok(Self { iterations, salt: salt.into(), stored, server: mac(&salted, b"Server Key") })
    }

    /// Keys that fit no password, the same for the same name each time.
    pub(super) fn of_nobody(secret: &[u8; 32], user: &str) -> Self {
        let part = |what: &str| mac(secret, format!("{what}\0{user}").as_bytes());
        let salt = Box::from(&part("salt")[..SALT_BYTES]);
        Self { iterations: ITERATIONS, salt, stored: part("stored"), server: part("server") }
    }

    /// Reads the text form.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("after the password hash: expected {METHOD}$<iterations>:<salt>$<StoredKey>:<ServerKey>");
        let rest = text.strip_prefix(METHOD).and_then(|rest| rest.strip_prefix('$')).ok_or_else(wrong)?;
        let (cost, keys) = rest.split_once('$').ok_or_else(wrong)?;
        let ((iterations, salt), (stored, server)) =
            cost.split_once(':').zip(keys.split_once(':')).ok_or_else(wrong)?;
        let iterations: u32 = iterations.parse().map_err(|_| wrong())?;
        let in_range = ITERATIONS_RANGE.contains(&iterations);
        let iterations = NonZeroU32::new(iterations).filter(|_| in_range).ok_or_else(wrong)?;
        let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty()).ok_or_else(wrong)?;
        let key = |text: &str| BASE64.decode(text).ok().and_then(|key| key.try_into().ok()).ok_or_else(wrong);
        Ok(Self { iterations, salt: salt.into(), stored: key(stored)?, server: key(server)? })
    }

    /// The text form, as it stands in the password file.
    pub(super) fn to_text(&self) -> String {
        let (salt, stored) = (BASE64.encode(&self.salt), BASE64.encode(self.stored));
        format!("{METHOD}${}:{salt}${stored}:{}", self.iterations, BASE64.encode(self.server))
    }
}

/// An exchange between two of its steps.
pub struct Exchange {
    state: State,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

enum State {
    /// Waits for the client's first message.
    First,
    /// Waits for its last one.
    Final(Waiting),
}

struct Waiting {
    user: Box<str>,
    keys: Arc<Keys>,
    /// The header of the first message, which the last one repeats in base64.
    header: Box<str>,
    /// The client's nonce and ours, one behind the other.
    nonce: String,
    /// `client-first-message-bare , server-first-message`.
    said: String,
}

/// What a step leads to.
pub(super) enum Answer {
    /// Send this and wait for more.
    Ask(Box<[u8]>),
    /// It is this user; send this with the acceptance.
    Proved(Box<str>, Box<[u8]>),
    /// It is not, or it does not speak the mechanism.
    Failed,
}

/// Takes one message of the client.
pub(super) fn step(exchange: &mut Option<Box<Exchange>>, users: &Users, data: &[u8]) -> Answer {
    let message = std::str::from_utf8(data).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX && !text.contains('\0'));
    let Some(message) = message else {
        *exchange = None;
        return Answer::Failed;
    };
    match exchange.take().map(|exchange| exchange.state) {
        // A CONNECT may name the method and send nothing yet.
        None if message.is_empty() => {
            *exchange = Some(Box::new(Exchange { state: State::First }));
            Answer::Ask(Box::default())
        }
        None | Some(State::First) => match first(message, users) {
            Some((waiting, reply)) => {
                *exchange = Some(Box::new(Exchange { state: State::Final(waiting) }));
                Answer::Ask(reply.into_bytes().into())
            }
            None => Answer::Failed,
        },
        Some(State::Final(waiting)) => match last(message, &waiting) {
            Some(reply) => Answer::Proved(waiting.user, reply.into_bytes().into()),
            None => Answer::Failed,
        },
    }
}

/// `n,[a=authzid],n=user,r=nonce[,extensions]`; answered by `r=nonces,s=salt,i=iterations`.
fn first(message: &str, users: &Users) -> Option<(Waiting, String)> {
    let mut parts = message.splitn(3, ',');
    let (binding, authorization, bare) = (parts.next()?, parts.next()?, parts.next()?);
    // `y`: the client could bind to the channel, and thinks that we cannot, which is right. `p`: it insists.
    if binding != "n" && binding != "y" {
        return None;
    }
    let mut attributes = bare.split(',');
    let user = attributes.next()?.strip_prefix("n=").and_then(unescape)?;
    let client_nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
    let user: Box<str> = stringprep::saslprep(&user).ok()?.into();
    if user.is_empty() || !authorized_as(authorization, &user) {
        return None;
    }
    let keys = users.keys(&user);
    let nonce = format!("{client_nonce}{}", BASE64.encode(random::<NONCE_BYTES>()));
    let reply = format!("r={nonce},s={},i={}", BASE64.encode(&keys.salt), keys.iterations);
    let header = format!("{binding},{authorization},").into();
    let said = format!("{bare},{reply}");
    Some((Waiting { user, keys, header, nonce, said }, reply))
}

/// `c=header,r=nonces[,extensions],p=proof`; answered by `v=signature` if the proof is right.
fn last(message: &str, waiting: &Waiting) -> Option<String> {
    let (without_proof, proof) = message.rsplit_once(",p=")?;
    let proof: [u8; HASH_BYTES] = BASE64.decode(proof).ok()?.try_into().ok()?;
    let mut attributes = without_proof.split(',');
    let header = attributes.next()?.strip_prefix("c=").and_then(|header| BASE64.decode(header).ok())?;
    let nonce = attributes.next()?.strip_prefix("r=")?;
    // An `m` extension is mandatory, and none is known here.
    if header != waiting.header.as_bytes() || nonce != waiting.nonce || attributes.any(|more| more.starts_with("m=")) {
        return None;
    }
    let said = format!("{},{without_proof}", waiting.said);
    let signature = mac(&waiting.keys.stored, said.as_bytes());
    let mut client_key = proof;
    client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
    verify_slices_are_equal(&sha256(&client_key), &waiting.keys.stored).ok()?;
    Some(format!("v={}", BASE64.encode(mac(&waiting.keys.server, said.as_bytes()))))
}

/// Nobody acts for somebody else: an authorization identity may only repeat the user.
fn authorized_as(authorization: &str, user: &str) -> bool {
    match authorization.strip_prefix("a=") {
        Some(name) => unescape(name).is_some_and(|name| name == user),
        None => authorization.is_empty(),
    }
}

/// `=2C` is a comma and `=3D` an equals sign; no other `=` may be there.
fn unescape(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut parts = name.split('=');
    plain.push_str(parts.next()?);
    for part in parts {
        let (sign, rest) = match part.get(..2)? {
            "2C" => (',', part.get(2..)?),
            "3D" => ('=', part.get(2..)?),
            _ => return None,
        };
        plain.push(sign);
        plain.push_str(rest);
    }
    Some(plain)
}

/// Printable ASCII without a comma, and not empty.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn mac(key: &[u8], data: &[u8]) -> [u8; HASH_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

fn sha256(data: &[u8]) -> [u8; HASH_BYTES] {
    digest::digest(&digest::SHA256, data).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3: user `user`, password `pencil`.
    const SAID: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn waiting() -> Waiting {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = Keys::derive("pencil", &salt, NonZeroU32::new(4096).unwrap()).unwrap();
        let (user, header) = ("user".into(), "n,,".into());
        Waiting { user, keys: Arc::new(keys), header, nonce: NONCE.to_owned(), said: SAID.to_owned() }
    }

    #[test]
    fn the_example_of_rfc_7677_is_proved_and_answered() {
        assert_eq!(last(FINAL, &waiting()).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_changed_byte_anywhere_in_the_last_message_fails() {
        for (at, byte) in FINAL.char_indices() {
            let other = if byte == 'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &FINAL[..at], &FINAL[at + 1..]);
            assert!(last(&changed, &waiting()).is_none(), "{changed}");
        }
    }

    #[test]
    fn channel_binding_and_unknown_mandatory_extensions_are_refused() {
        let users = Users::parse("").unwrap();
        for wrong in
            ["p=tls-unique,,n=user,r=abc", "n,,n=user", "n,,m=1,n=user,r=abc", "n,a=root,n=user,r=abc", "n,,n=,r=abc"]
        {
            assert!(first(wrong, &users).is_none(), "{wrong}");
        }
        for right in ["n,,n=user,r=abc", "y,,n=user,r=abc", "n,a=user,n=user,r=abc", "n,,n=us=2Cer=3D,r=abc,x=1"] {
            assert!(first(right, &users).is_some(), "{right}");
        }
        assert!(last(&FINAL.replace(",p=", ",m=x,p="), &waiting()).is_none());
    }

    #[test]
    fn names_with_wrong_escapes_or_control_characters_are_refused() {
        let users = Users::parse("").unwrap();
        for wrong in ["n,,n=a=2c,r=abc", "n,,n=a=,r=abc", "n,,n=a\u{7},r=abc", "n,,n=a=4,r=abc", "n,,n=a,r=a\u{e9}"] {
            assert!(first(wrong, &users).is_none(), "{wrong}");
        }
        assert_eq!(&*first("n,,n=us=2Cer=3D,r=abc", &users).unwrap().0.user, "us,er=");
    }

    #[test]
    fn an_unknown_user_gets_the_same_salt_each_time_and_fails_at_the_end() {
        let users = Users::parse("#scram-secret AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
        let salt =
            |name: &str| first(&format!("n,,n={name},r=abc"), &users).unwrap().1.split(',').nth(1).unwrap().to_owned();
        assert_eq!(salt("nobody"), salt("nobody"));
        assert_ne!(salt("nobody"), salt("somebody"));
        let mut exchange = None;
        assert!(matches!(step(&mut exchange, &users, b"n,,n=nobody,r=abc"), Answer::Ask(_)));
        let State::Final(waiting) = &exchange.as_ref().unwrap().state else { panic!("waits for the last message") };
        let guess = format!("c=biws,r={},p={}", waiting.nonce, BASE64.encode([0; 32]));
        assert!(matches!(step(&mut exchange, &users, guess.as_bytes()), Answer::Failed));
        assert!(exchange.is_none());
    }

    #[test]
    fn keys_come_back_from_their_text() {
        let keys = Keys::of_nobody(&[7; 32], "x");
        assert!(Keys::parse(&keys.to_text()).unwrap() == keys);
        for wrong in ["", "SCRAM-SHA-256$", "SCRAM-SHA-1$15000:AA==$AA==:AA==", "SCRAM-SHA-256$1:AA==$AA==:AA=="] {
            assert!(Keys::parse(wrong).is_err(), "{wrong}");
        }
    }
}
