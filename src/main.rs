//! The program: arguments, configuration, log, and then `server::run` until a signal.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use heraldmq::config::{self, Config, Mistakes};
use heraldmq::server::{self, Telemetry};

/// Gives memory back after a peak, and does not fragment as a broker's queues come and go.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read if it exists and no other file is named.
const DEFAULT_FILE: &str = "config/heraldmq.toml";
/// The configuration is wrong: nothing was started, and starting again will not help (EX_CONFIG of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// A push broker over MQTT 3.1.1 and 5.0. Without a command it serves, in the foreground, until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "heraldmq", version)]
struct Arguments {
    /// The configuration; without it config/heraldmq.toml, or built-in defaults if that does not exist.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with a configuration, without starting anything.
    Check {
        /// The configuration.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        None => serve(arguments.config),
        Some(Command::Check { file }) => check(&file),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heraldmq: {error:#}");
            ExitCode::from(if error.is::<Mistakes>() { EXIT_CONFIG } else { 1 })
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
    for note in &config.notes {
        println!("note: {note}");
    }
    println!("{}: right", file.display());
    Ok(())
}
