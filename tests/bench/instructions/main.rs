//! Instructions of the steps that every message takes, counted by valgrind: they hardly depend on the machine or on what else
//! it does, so a change that costs is seen before it is merged.
//!
//! `make instructions` compares with `expected.txt` and fails on more than 5 % above it; with `UPDATE=1` it writes that file.
//! What is counted is the difference between many and few rounds of the same step, so that preparing it does not count.

mod steps;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

/// The program's allocator: what it costs counts, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Rounds of the shorter run.
const ROUNDS: u64 = 4000;
/// How many times as many the longer one has.
const TIMES: u64 = 5;
/// What a step may take beyond what is expected, percent.
const ALLOWED: f64 = 5.0;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|word| word == "--step") {
        let (name, rounds) = (arguments.get(at + 1).context("a step")?, arguments.get(at + 2).context("rounds")?);
        let mut step = steps::prepare(name).with_context(|| format!("no step {name}"))?;
        (0..rounds.parse::<u64>()?).for_each(|_| step());
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.iter().any(|word| word == "--bench") {
        // Only to show that it runs.
        for name in steps::NAMES {
            let mut step = steps::prepare(name).with_context(|| format!("no step {name}"))?;
            (0..3).for_each(|_| step());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/instructions/expected.txt");
    let counted = steps::NAMES.iter().map(|name| Ok((*name, count(name)?))).collect::<Result<Vec<_>>>()?;
    if std::env::var_os("UPDATE").is_some() {
        let lines = counted.iter().map(|(name, count)| format!("{name} {count}\n"));
        std::fs::write(&file, lines.collect::<String>()).with_context(|| file.display().to_string())?;
    }
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(if compare(&counted, &expected(&text)?) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn expected(text: &str) -> Result<BTreeMap<&str, u64>> {
    let line = |line| -> Result<(&str, u64)> {
        let (name, count) = str::rsplit_once(line, ' ').with_context(|| format!("{line:?} is no name and number"))?;
        Ok((name, count.parse()?))
    };
    text.lines().map(line).collect()
}

/// Prints all, and says whether none is too expensive.
fn compare(counted: &[(&str, u64)], expected: &BTreeMap<&str, u64>) -> bool {
    println!("{:<28}{:>14}{:>12}{:>10}", "step", "instructions", "expected", "");
    let mut good = true;
    for (name, count) in counted {
        let Some(before) = expected.get(name) else {
            println!("{name:<28}{count:>14}{:>12}      new: UPDATE=1 writes it down", "-");
            good = false;
            continue;
        };
        let percent = 100.0 * (*count as f64 - *before as f64) / (*before).max(1) as f64;
        let verdict = match percent {
            more if more > ALLOWED => "too many",
            less if less < -ALLOWED => "fewer: UPDATE=1 writes it down",
            _ => "",
        };
        good &= percent <= ALLOWED;
        println!("{name:<28}{count:>14}{before:>12}{percent:>+9.1}%  {verdict}");
    }
    good
}

/// Instructions of one round.
fn count(step: &str) -> Result<u64> {
    let (few, many) = (run(step, ROUNDS)?, run(step, ROUNDS * TIMES)?);
    Ok(many.saturating_sub(few) / (ROUNDS * (TIMES - 1)))
}

/// Instructions of a process that makes so many rounds.
fn run(step: &str, rounds: u64) -> Result<u64> {
    let valgrind = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"];
    let mut command = Command::new("valgrind");
    command.args(valgrind).arg(std::env::current_exe()?).args(["--step", step, &rounds.to_string()]);
    let output = command.output().context("valgrind does not start; `make instructions` installs it")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("I   refs:").or_else(|| line.split_once("I refs:")));
    let (_, number) = line.with_context(|| format!("valgrind did not count {step}: {text}"))?;
    Ok(number.trim().replace(',', "").parse()?)
}
