//! The program: arguments, configuration, log, and then `server::run` until a signal.

#[path = "main/bench.rs"]
mod bench;

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use heraldmq::config::{self, Config, Mistakes};
use heraldmq::server::{self, ServerError, Telemetry};
use heraldmq::store::rocks::{self, OpenError, operator};
use heraldmq::{auth, certs};

/// Gives memory back after a peak, and does not fragment as a broker's queues come and go.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read if it exists and no other file is named.
const DEFAULT_FILE: &str = "config/heraldmq.toml";
/// The configuration is wrong: nothing was started, and starting again will not help (EX_CONFIG of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// A push broker over MQTT 3.1.1 and 5.0. Without a command it serves, in the foreground, until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "heraldmq", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The configuration; without it config/heraldmq.toml, or built-in defaults if that does not exist.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with a configuration and the files it names, without starting anything.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Make an authority and a server certificate for development.
    Certs {
        /// Where to put them.
        #[arg(default_value = "certs/dev")]
        directory: PathBuf,
    },
    /// Set a user's password, read from the terminal, or else from the first line of standard input.
    Passwd {
        /// The password file; made if there is none.
        file: PathBuf,
        /// The user.
        user: String,
        /// Take the user out of the file instead.
        #[arg(long)]
        delete: bool,
    },
    /// Look after a store that no broker has open.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Load a broker with many clients, and say how fast it was.
    Bench(bench::Arguments),
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read everything and say what is damaged. Changes nothing.
    Check {
        /// The data folder, or a backup.
        folder: PathBuf,
    },
    /// Say how much is in it.
    Stats {
        /// The data folder, or a backup.
        folder: PathBuf,
    },
    /// Write what is whole in a damaged store into a new one, and say what is lost.
    Salvage {
        /// The damaged store; it is left as it is.
        from: PathBuf,
        /// The new one; nothing must be there.
        to: PathBuf,
    },
    /// Check a backup, and copy it to where a broker opens it.
    Restore {
        /// The backup.
        backup: PathBuf,
        /// The data folder; nothing must be there.
        to: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        None => serve(arguments.config),
        Some(Command::Check { file }) => check(&file),
        Some(Command::Certs { directory }) => make_certificates(&directory),
        Some(Command::Passwd { file, user, delete }) => passwd(&file, &user, delete),
        Some(Command::Store(command)) => look_after(command),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heraldmq: {error:#}");
            let configuration = error.downcast_ref().is_some_and(ServerError::is_configuration)
                || error.downcast_ref().is_some_and(OpenError::is_damage);
            ExitCode::from(if configuration || error.is::<Mistakes>() { EXIT_CONFIG } else { 1 })
        }
    }
}

fn load(file: Option<&Path>) -> Result<Config, Mistakes> {
    config::load(file, std::env::vars_os())
}

fn serve(named: Option<PathBuf>) -> anyhow::Result<()> {
    let file = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
    let mut config = load(file.as_deref())?;
    if file.is_none() {
        config.notes.push(format!("there is no {DEFAULT_FILE}: built-in defaults are used"));
    }
    let telemetry = Telemetry::install(&config.log).map_err(anyhow::Error::msg).context("log")?;
    server::run(config, &Arc::new(telemetry), &move || load(file.as_deref()))?;
    Ok(())
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = load(Some(file))?;
    server::check(&config)?;
    for note in &config.notes {
        println!("note: {note}");
    }
    println!("{}: nothing wrong", file.display());
    Ok(())
}

fn make_certificates(directory: &Path) -> anyhow::Result<()> {
    certs::dev_certificates(directory).with_context(|| directory.display().to_string())?;
    println!("{}: server certificate {}, key {}", directory.display(), certs::CERTIFICATE, certs::KEY);
    println!("clients trust it by {}", directory.join(certs::CA).display());
    Ok(())
}

fn look_after(command: StoreCommand) -> anyhow::Result<()> {
    rocks::keep_files_private();
    match command {
        StoreCommand::Check { folder } => check_store(&folder),
        StoreCommand::Stats { folder } => {
            let found = operator::survey(&folder)?;
            print_stats(&found.stats);
            refuse_damage(&folder, &found.damage)
        }
        StoreCommand::Salvage { from, to } => {
            let salvaged = operator::salvage(&from, &to)?;
            salvaged.lost.iter().for_each(|lost| println!("lost: {lost}"));
            println!("{}: {} rows saved; {} places lost something", to.display(), salvaged.rows, salvaged.lost.len());
            Ok(())
        }
        StoreCommand::Restore { backup, to } => {
            operator::restore(&backup, &to)?;
            println!("{}: restored from {}", to.display(), backup.display());
            Ok(())
        }
    }
}

fn check_store(folder: &Path) -> anyhow::Result<()> {
    let found = operator::survey(folder)?;
    if let Some(torn) = &found.torn_tail {
        println!("{}: the last {} bytes were never finished; a start cuts them off", torn.file.display(), torn.bytes);
    }
    found.damage.iter().for_each(|damage| println!("damaged: {damage}"));
    refuse_damage(folder, &found.damage)?;
    println!("{}: nothing wrong", folder.display());
    Ok(())
}

fn refuse_damage(folder: &Path, damage: &[operator::Damage]) -> anyhow::Result<()> {
    match damage.len() {
        0 => Ok(()),
        1 => bail!("{}: 1 place is damaged", folder.display()),
        places => bail!("{}: {places} places are damaged", folder.display()),
    }
}

fn print_stats(stats: &operator::Stats) {
    println!("sessions              {}", stats.sessions);
    println!("subscriptions         {}", stats.subscriptions);
    println!("waiting messages      {}", stats.messages);
    println!("  in the longest queue {}", stats.longest_queue);
    println!("  bytes               {}", stats.message_bytes);
    println!("retained messages     {}", stats.retained);
    println!("  bytes               {}", stats.retained_bytes);
    println!("bytes on disk         {}", stats.disk_bytes);
}

fn passwd(file: &Path, user: &str, delete: bool) -> anyhow::Result<()> {
    if delete {
        auth::delete_user(file, user)?;
        println!("{user} deleted");
        return Ok(());
    }
    let new = auth::set_password(file, user, &read_password(user)?)?;
    println!("{user} {}; a running broker sees it after SIGHUP", if new { "added" } else { "changed" });
    Ok(())
}

/// From a terminal twice and unseen; else one line, for scripts.
fn read_password(user: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("standard input")?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let password = rpassword::prompt_password(format!("Password for {user}: "))?;
    if rpassword::prompt_password("Again: ")? != password {
        bail!("the two are not the same; nothing changed");
    }
    Ok(password)
}
