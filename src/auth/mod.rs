//! Who are you, and what may you do: from credentials to an identity and its permissions.

use std::path::PathBuf;

/// This room's options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Users and the hashes of their passwords; `None` = nobody has a user name.
    pub password_file: Option<PathBuf>,
    /// Rules who may do what; `None` = everybody may do everything.
    pub acl_file: Option<PathBuf>,
}
