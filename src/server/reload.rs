//! SIGHUP: everything is read again, and then all of it or nothing takes effect.

use std::sync::Arc;

use super::clients::{Clients, FreshTls};
use super::{Reread, Telemetry};
use crate::config::Config;
use crate::config::reload::{changes, needs_restart};
use crate::{admin, auth};

/// What a reload changes.
pub(super) struct Reloadable {
    pub(super) config: Config,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) auth: Arc<auth::Auth>,
    pub(super) certificates: Option<Arc<admin::Certificates>>,
    pub(super) clients: Clients,
}

/// Everything that a configuration names, read and right: putting it in force cannot fail.
struct Fresh {
    config: Config,
    files: auth::Files,
    certificates: Option<admin::FreshCertificates>,
    listeners: FreshTls,
}

impl Reloadable {
    /// Reads everything again and puts it in force, or says what is wrong and changes nothing.
    pub(super) fn reload(&mut self, reread: &Reread<'_>) {
        match self.read(reread) {
            Ok(fresh) => self.put_in_force(fresh),
            Err(why) => tracing::error!("reload refused, nothing changed:\n{why}"),
        }
    }

    fn read(&self, reread: &Reread<'_>) -> Result<Fresh, String> {
        let config = reread().map_err(|mistakes| mistakes.to_string())?;
        let files = auth::Files::read(&config.auth).map_err(|error| error.to_string())?;
        let certificates = self.certificates.as_ref().zip(config.http.as_ref().and_then(|http| http.tls.as_ref()));
        let certificates = certificates.map(|(_, files)| admin::Certificates::read(files)).transpose();
        let certificates = certificates.map_err(|error| error.to_string())?;
        let listeners = self.clients.read_certificates(&config).map_err(|error| whole(&error))?;
        Ok(Fresh { config, files, certificates, listeners })
    }

    fn put_in_force(&mut self, fresh: Fresh) {
        if let (Some(certificates), Some(fresh)) = (&self.certificates, fresh.certificates) {
            certificates.replace(fresh);
        }
        self.auth.replace(fresh.files);
        // Behind the files: the rules of a listener are made of them.
        self.clients.put_in_force(&fresh.config, fresh.listeners);
        if fresh.config.log.level != self.config.log.level
            && let Err(why) = self.telemetry.set_level(&fresh.config.log.level)
        {
            tracing::error!("log level not changed: {why}");
        }
        let changed = changes(&self.config, &fresh.config);
        for change in &changed {
            let (path, effect) = (change.setting.path, change.setting.reload.text());
            tracing::info!("reload: {path} was {} and is {} (takes effect: {effect})", change.before, change.after);
        }
        tracing::info!(changed = changed.len(), restart_needed = needs_restart(&changed), "configuration read again");
        self.config = fresh.config;
    }
}

/// An error with everything it came of, in one line.
fn whole(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
