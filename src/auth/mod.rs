//! Who are you, and what may you do: from credentials to an [`Identity`] and its [`Permissions`].
//!
//! A password file says who is known, an ACL file what each may do. Both are read whole ([`Files`]), so a reload takes
//! all of it or nothing. A password is checked on a pool of threads, because its hash is slow on purpose, and the
//! answer comes through a closure; a SCRAM exchange is cheap and is answered at once.
//!
//! *Architecture invariant:* nobody here blocks a core, and no error, log line or debug output holds a secret. An
//! unknown user and a wrong password take the same time and get the same answer.
//!
//! Start with [`Auth`], then `password.rs`, `scram.rs`, `acl.rs`.

mod acl;
mod check;
mod passwd;
mod password;
mod scram;

pub use passwd::{PasswdError, delete_user, set_password};
pub use scram::Exchange;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use crate::access::Permissions;
use crate::identity::Identity;
use crate::mqtt::ReasonCode;
use crate::threshold::{Challenge, Credentials, Rules};
use acl::Acl;
use check::Checker;
use password::Users;

/// This room's options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Users and the hashes of their passwords; `None` = user names are not checked and count for nothing.
    pub password_file: Option<PathBuf>,
    /// Rules who may do what; `None` = everybody may do everything.
    pub acl_file: Option<PathBuf>,
}

/// What is wrong with a file of this room.
#[derive(Debug)]
pub struct FileError {
    /// Which file.
    pub file: PathBuf,
    /// Line (the first is 1; 0 = the file as a whole) and what is wrong there. At least one.
    pub mistakes: Vec<(usize, String)>,
}

impl std::error::Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (line, why)) in self.mistakes.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            match line {
                0 => write!(f, "{separator}{}: {why}", self.file.display())?,
                line => write!(f, "{separator}{}:{line}: {why}", self.file.display())?,
            }
        }
        Ok(())
    }
}

/// The files, read and checked.
#[derive(Debug)]
pub struct Files {
    users: Option<Users>,
    acl: Option<Acl>,
    /// What everybody may do where there are no rules, shared by all.
    everything: Arc<Permissions>,
}

impl Files {
    /// Reads what `options` name.
    ///
    /// # Errors
    /// The first file that cannot be read or has mistakes, with all of them.
    pub fn read(options: &Options) -> Result<Self, FileError> {
        Ok(Self {
            users: options.password_file.as_deref().map(Users::read).transpose()?,
            acl: options.acl_file.as_deref().map(Acl::read).transpose()?,
            everything: Arc::new(Permissions::everything()),
        })
    }

    fn anonymous(&self, client: &str) -> Admitted {
        Ok((Identity::default(), self.permissions(None, client)?))
    }

    fn permissions(&self, user: Option<&str>, client: &str) -> Result<Arc<Permissions>, ReasonCode> {
        match &self.acl {
            None => Ok(Arc::clone(&self.everything)),
            Some(acl) => acl.permissions(user, client),
        }
    }
}

/// Who somebody proved to be and what that client may do, or why it is refused.
pub type Admitted = Result<(Identity, Arc<Permissions>), ReasonCode>;

/// Checks who clients are. Shared by all cores.
pub struct Auth {
    files: ArcSwap<Files>,
    checker: Checker,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Auth {
    /// Checks by these files; passwords on the blocking pool of `runtime`.
    pub fn new(files: Files, runtime: Handle) -> Self {
        Self { files: ArcSwap::from_pointee(files), checker: Checker::new(runtime) }
    }

    /// From now on these files count. Checks under way end by the old ones.
    pub fn replace(&self, files: Files) {
        self.files.store(Arc::new(files));
        self.checker.forget();
    }

    /// What a listener demands, by the files in force.
    pub fn rules(&self, allow_anonymous: bool) -> Arc<Rules> {
        let files = self.files.load();
        let methods = files.users.iter().map(|_| Box::from(scram::METHOD)).collect();
        // Without a user and without an identifier no placeholder is filled in, so this cannot be refused.
        let anonymous_may = files.permissions(None, "").unwrap_or_else(|_| nothing());
        Arc::new(Rules { allow_anonymous, methods, anonymous_may })
    }

    /// Checks a user name and password. Without a password file there is nothing to check them by: the name counts for
    /// nothing, and the client is one of the anonymous ones, which every listener lets in then. `answer` is called
    /// once, from a thread of the pool or at once: with `BadUserNameOrPassword`, with `ServerBusy` when too many wait,
    /// with `NotAuthorized` or `ClientIdentifierNotValid` where a name would change the meaning of a rule.
    pub fn authenticate(&self, credentials: Credentials, answer: Box<dyn FnOnce(Admitted) + Send>) {
        let files = self.files.load_full();
        let Some(users) = &files.users else { return answer(files.anonymous(&credentials.client)) };
        let (Some(user), Some(password)) = (credentials.user_name, credentials.password) else {
            return answer(Err(ReasonCode::BadUserNameOrPassword));
        };
        let hash = users.hash(&user);
        let client = credentials.client;
        self.checker.check(check::Question { user: user.clone(), password, hash }, move |right| {
            answer(right.and_then(|()| admitted(&files, &user, &client)));
        });
    }

    /// Takes one step of enhanced authentication: `data` is what the client sent with CONNECT or AUTH. The exchange
    /// lives in `state` between the steps, `None` before the first.
    pub fn exchange(
        &self,
        state: &mut Option<Box<Exchange>>,
        method: &str,
        data: Option<&[u8]>,
        client: &str,
    ) -> Challenge {
        let files = self.files.load();
        let Some(users) = files.users.as_ref().filter(|_| method == scram::METHOD) else {
            return Challenge::Denied(ReasonCode::BadAuthenticationMethod);
        };
        match scram::step(state, users, data.unwrap_or_default()) {
            scram::Answer::Ask(data) => Challenge::Continue(data),
            scram::Answer::Proved(user, data) => match admitted(&files, &user, client) {
                Ok((identity, permissions)) => Challenge::Done(identity, permissions, Some(data)),
                Err(reason) => Challenge::Denied(reason),
            },
            scram::Answer::Failed => Challenge::Denied(ReasonCode::NotAuthorized),
        }
    }

    /// What a client that proved itself earlier may do by the files in force: nothing, if its user is gone.
    pub fn permissions(&self, identity: &Identity, client: &str) -> Arc<Permissions> {
        let files = self.files.load();
        let user = identity.user.as_deref();
        let known = user.is_none_or(|user| files.users.as_ref().is_some_and(|users| users.knows(user)));
        let permissions = if known { files.permissions(user, client) } else { Ok(nothing()) };
        permissions.unwrap_or_else(|_| nothing())
    }
}

fn admitted(files: &Files, user: &str, client: &str) -> Admitted {
    let permissions = files.permissions(Some(user), client)?;
    Ok((Identity { user: Some(Arc::from(user)) }, permissions))
}

fn nothing() -> Arc<Permissions> {
    Arc::new(Permissions::new(Vec::new(), false))
}

#[cfg(test)]
mod tests;
