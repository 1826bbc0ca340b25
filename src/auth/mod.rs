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

use std::sync::Arc;

use crate::access::Permissions;
use crate::identity::Identity;
use crate::mqtt::ReasonCode;
use crate::threshold::{Challenge, Credentials};

/// Placeholder until the room is furnished.
#[derive(Debug)]
pub struct Auth {}
/// Placeholder until the room is furnished.
#[derive(Debug)]
pub struct Exchange {}
#[allow(missing_docs, unused_variables)]
impl Auth {
    pub fn authenticate(
        &self,
        credentials: Credentials,
        answer: Box<dyn FnOnce(Result<(Identity, Arc<Permissions>), ReasonCode>) + Send>,
    ) {
        todo!()
    }
    pub fn exchange(
        &self,
        state: &mut Option<Box<Exchange>>,
        method: &str,
        data: Option<&[u8]>,
        client: &str,
    ) -> Challenge {
        todo!()
    }
    pub fn permissions(&self, identity: &Identity, client: &str) -> Arc<Permissions> {
        todo!()
    }
}
