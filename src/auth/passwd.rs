//! Editing a password file: the command `heraldmq passwd`.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use argon2::{Argon2, PasswordHasher as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::FileError;
use super::password::{SECRET_LINE, Users, check_name, random};
use super::scram::Keys;

/// Why a password file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswdError {
    /// The file is there and wrong: it is not made worse.
    #[error(transparent)]
    File(#[from] FileError),
    /// The user name or the password cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// There is no such user to delete.
    #[error("{0}: no such user")]
    Unknown(String),
    /// The file cannot be read or written.
    #[error("{}: {error}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

/// Sets a user's password, and makes the file if there is none. `true` if the user is new.
///
/// # Errors
/// See [`PasswdError`]. The file is then as it was.
pub fn set_password(file: &Path, user: &str, password: &str) -> Result<bool, PasswdError> {
    check_name(user).map_err(PasswdError::Unusable)?;
    if password.is_empty() {
        return Err(PasswdError::Unusable("an empty password is none".to_owned()));
    }
    let text = existing(file)?;
    let hash = Argon2::default().hash_password(password.as_bytes());
    let hash = hash.map_err(|error| PasswdError::Unusable(format!("the password: {error}")))?;
    let keys = Keys::of_password(password).map_err(PasswdError::Unusable)?;
    let line = format!("{user}:{hash}:{}", keys.to_text());
    let (mut lines, new) = match text {
        None => (vec![format!("{SECRET_LINE}{}", BASE64.encode(random::<32>()))], true),
        Some(text) => {
            let lines: Vec<String> = text.lines().filter(|line| !is_of(line, user)).map(str::to_owned).collect();
            let new = lines.len() == text.lines().count();
            (lines, new)
        }
    };
    lines.push(line);
    replace(file, &lines)?;
    Ok(new)
}

/// Takes a user out of the file.
///
/// # Errors
/// See [`PasswdError`]. The file is then as it was.
pub fn delete_user(file: &Path, user: &str) -> Result<(), PasswdError> {
    let text = existing(file)?.unwrap_or_default();
    let lines: Vec<String> = text.lines().filter(|line| !is_of(line, user)).map(str::to_owned).collect();
    if lines.len() == text.lines().count() {
        return Err(PasswdError::Unknown(user.to_owned()));
    }
    replace(file, &lines)
}

fn is_of(line: &str, user: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| name == user)
}

/// The text of a right file; `None` where there is none.
fn existing(file: &Path) -> Result<Option<String>, PasswdError> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            Users::parse(&text).map_err(|mistakes| FileError { file: file.to_owned(), mistakes })?;
            Ok(Some(text))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PasswdError::Io { file: file.to_owned(), error }),
    }
}

/// Writes a new file beside the old one and puts it in its place: a reader sees the old one or the new one, whole.
fn replace(file: &Path, lines: &[String]) -> Result<(), PasswdError> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = file.with_file_name(name);
    let written = write_private(&beside, lines).and_then(|()| std::fs::rename(&beside, file));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        PasswdError::Io { file: file.to_owned(), error }
    })
}

fn write_private(file: &Path, lines: &[String]) -> std::io::Result<()> {
    let mut open: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    // The mode above is subject to the umask, which can only take away; this one is not.
    open.set_permissions(Permissions::from_mode(0o600))?;
    for line in lines {
        writeln!(open, "{line}")?;
    }
    open.sync_all()
}
