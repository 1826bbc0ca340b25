//! The password file: who is known, and how each proves it.
//!
//! One user per line: `name:$argon2id$…` and, for SCRAM, `:SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`
//! with the binary parts in base64. Empty lines and lines that begin with `#` are skipped, but for one: the secret from
//! which the salts of unknown users are made, so that they stay the same when the program is started again.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::FileError;
use super::scram::Keys;

/// What the line with the secret begins with.
pub(super) const SECRET_LINE: &str = "#scram-secret ";
/// Memory a stored hash may demand, KiB: a line of a file must not bring the broker down.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// Passes a stored hash may demand.
const PASSES_MAX: u32 = 64;
/// Others may not read the file, and only its owner may write it.
const MODE_REFUSED: u32 = 0o027;
/// A hash no password has, with the cost of those that are written here.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$Tm9ib2R5IGhhcyB0aGlz$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Everybody who is known.
pub(super) struct Users {
    map: HashMap<Box<str>, User>,
    /// What an unknown user's password is checked against.
    nobody: Arc<str>,
    secret: [u8; 32],
}

/// How one user proves who it is.
struct User {
    /// In the PHC format.
    hash: Arc<str>,
    keys: Option<Arc<Keys>>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("count", &self.map.len()).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads and checks a password file.
    pub(super) fn read(file: &Path) -> Result<Self, FileError> {
        let wrong = |why: String| FileError { file: file.to_owned(), mistakes: vec![(0, why)] };
        let unreadable = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
        let mode = std::fs::metadata(file).map_err(unreadable)?.permissions().mode();
        if mode & MODE_REFUSED != 0 {
            let mode = mode & 0o777;
            return Err(wrong(format!("others may read or change it (mode {mode:03o}): chmod 600 or 640")));
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        Self::parse(&text).map_err(|mistakes| FileError { file: file.to_owned(), mistakes })
    }

    /// Checks the text of a password file.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<(usize, String)>> {
        let mut users = Self { map: HashMap::new(), nobody: Arc::from(NOBODY), secret: random() };
        let mut mistakes = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if let Err(why) = users.take_line(line) {
                mistakes.push((number + 1, why));
            }
        }
        if mistakes.is_empty() { Ok(users) } else { Err(mistakes) }
    }

    fn take_line(&mut self, line: &str) -> Result<(), String> {
        if let Some(secret) = line.strip_prefix(SECRET_LINE) {
            let secret = BASE64.decode(secret.trim()).ok().and_then(|secret| secret.try_into().ok());
            self.secret = secret.ok_or("the secret is not 32 bytes in base64")?;
            return Ok(());
        }
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let mut parts = line.splitn(3, ':');
        let (name, hash) = (parts.next().unwrap_or_default(), parts.next().ok_or("no : after the user name")?);
        check_name(name)?;
        check_hash(hash)?;
        let keys = parts.next().map(|text| Keys::parse(text).map(Arc::new)).transpose()?;
        if self.map.is_empty() {
            self.nobody = without_password(hash);
        }
        match self.map.insert(name.into(), User { hash: Arc::from(hash), keys }) {
            None => Ok(()),
            Some(_) => Err(format!("{name} has a line already")),
        }
    }

    /// Whether this user is known.
    pub(super) fn knows(&self, user: &str) -> bool {
        self.map.contains_key(user)
    }

    /// What this user's password is checked against; for an unknown user a hash of the same cost that no password has.
    pub(super) fn hash(&self, user: &str) -> Arc<str> {
        Arc::clone(self.map.get(user).map_or(&self.nobody, |user| &user.hash))
    }

    /// What this user's SCRAM proof is checked against; for an unknown user, or one without, keys nobody can have.
    pub(super) fn keys(&self, user: &str) -> Arc<Keys> {
        match self.map.get(user).and_then(|user| user.keys.as_ref()) {
            Some(keys) => Arc::clone(keys),
            None => Arc::new(Keys::of_nobody(&self.secret, user)),
        }
    }
}

/// What a user name may be in this file.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("no user name".to_owned()),
        name if name.contains(':') => Err("a user name must not contain :".to_owned()),
        name if name.starts_with('#') => Err("a user name must not begin with #".to_owned()),
        name if name.chars().any(char::is_control) => Err("a user name must not contain control characters".to_owned()),
        name if name.trim() != name => Err("a user name must not begin or end with a space".to_owned()),
        _ => Ok(()),
    }
}

fn check_hash(hash: &str) -> Result<(), String> {
    let parsed = PasswordHash::new(hash).map_err(|error| format!("the password hash is not one: {error}"))?;
    let params = Params::try_from(&parsed).map_err(|error| format!("the password hash: {error}"))?;
    let (argon2, complete) = (parsed.algorithm.as_str().starts_with("argon2"), parsed.hash.is_some());
    if !argon2 || !complete || parsed.salt.is_none() {
        return Err("the password hash is not a whole argon2 hash".to_owned());
    }
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX {
        return Err("the password hash demands too much: at most m=1048576 and t=64".to_owned());
    }
    Ok(())
}

/// The same cost and salt with a result that is all zeros.
fn without_password(hash: &str) -> Arc<str> {
    match hash.rsplit_once('$') {
        Some((cost, result)) => Arc::from(format!("{cost}${}", "A".repeat(result.len()))),
        None => Arc::from(NOBODY),
    }
}

/// 32 bytes nobody can guess.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
