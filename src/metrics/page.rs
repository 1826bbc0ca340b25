//! The page a scraper reads: the sum of all cores in the text format of Prometheus.

use std::sync::Arc;
use std::time::SystemTime;

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit as ExportedUnit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::catalogue::{CATALOGUE, Family, Kind, Unit};
use super::{Board, SERIES, process};

/// What does not change while the process lives, shown as labels of `heraldmq_build_info`.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Version of the program.
    pub version: &'static str,
    /// The durability mode in force.
    pub store_mode: &'static str,
    /// The levels in force beside it.
    pub durability: Vec<Durability>,
}

/// A level in force, shown as a series of `heraldmq_durability_info`.
#[derive(Debug, Clone)]
pub struct Durability {
    /// `listener` or `topic`.
    pub of: &'static str,
    /// Which.
    pub name: String,
    /// `sync`, `os` or `memory`.
    pub level: &'static str,
}

/// Renders the board. Handles are registered once, so a scrape costs one sum, one store per series and the text.
pub struct Page {
    board: Arc<Board>,
    handles: Vec<Handle>,
    exporter: PrometheusHandle,
    started: SystemTime,
}

enum Handle {
    Counter(Counter),
    Gauge(Gauge),
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").field("series", &self.handles.len()).finish_non_exhaustive()
    }
}

impl Page {
    /// A page over `board`, with every metric of the catalogue on it from the first scrape.
    pub fn new(board: Arc<Board>, facts: &Facts) -> Self {
        // A recorder of our own, not the process-wide one: several brokers in one process (tests) do not mix.
        let recorder = PrometheusBuilder::new().build_recorder();
        let mut handles = Vec::with_capacity(SERIES);
        for family in CATALOGUE {
            describe(&recorder, family);
            handles.extend((0..family.width()).map(|offset| register(&recorder, family, offset)));
        }
        let labels = vec![Label::new("version", facts.version), Label::new("store_mode", facts.store_mode)];
        let name = "heraldmq_build_info";
        recorder.describe_gauge(KeyName::from(name), None, SharedString::const_str("Always 1: what is running."));
        recorder.register_gauge(&Key::from_parts(name, labels), &metadata()).set(1.0);
        durability(&recorder, &facts.durability);
        Self { board, handles, exporter: recorder.handle(), started: SystemTime::now() }
    }

    /// The page as it is now.
    pub fn render(&self) -> String {
        let sum = self.board.sum();
        for (handle, value) in self.handles.iter().zip(sum.values()) {
            match handle {
                Handle::Counter(counter) => counter.absolute(*value),
                Handle::Gauge(gauge) => gauge.set(*value as f64),
            }
        }
        let mut page = self.exporter.render();
        process::render(&mut page, self.started);
        page
    }
}

fn durability(recorder: &PrometheusRecorder, levels: &[Durability]) {
    let name = "heraldmq_durability_info";
    let help = "Always 1: what acknowledgements at a listener wait for, and at a topic with a level of its own.";
    recorder.describe_gauge(KeyName::from(name), None, SharedString::const_str(help));
    for one in levels {
        let labels =
            vec![Label::new("of", one.of), Label::new("name", one.name.clone()), Label::new("level", one.level)];
        recorder.register_gauge(&Key::from_parts(name, labels), &metadata()).set(1.0);
    }
}

fn metadata() -> Metadata<'static> {
    Metadata::new(module_path!(), Level::INFO, None)
}

fn describe(recorder: &PrometheusRecorder, family: &Family) {
    let unit = match family.unit {
        Unit::Count => ExportedUnit::Count,
        Unit::Bytes => ExportedUnit::Bytes,
    };
    let (name, help) = (KeyName::from(family.name), SharedString::const_str(family.help.trim_ascii()));
    match family.kind {
        Kind::Counter => recorder.describe_counter(name, Some(unit), help),
        Kind::Gauge => recorder.describe_gauge(name, Some(unit), help),
    }
}

fn register(recorder: &PrometheusRecorder, family: &Family, offset: usize) -> Handle {
    let labels: Vec<Label> =
        family.labels_of(offset).into_iter().map(|(name, value)| Label::new(name, value)).collect();
    let key = Key::from_parts(family.name, labels);
    match family.kind {
        Kind::Counter => Handle::Counter(recorder.register_counter(&key, &metadata())),
        Kind::Gauge => Handle::Gauge(recorder.register_gauge(&key, &metadata())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Counters, Direction, Metric, PacketKind};

    fn facts(version: &'static str) -> Facts {
        Facts { version, store_mode: "memory", durability: Vec::new() }
    }

    #[test]
    fn every_metric_of_the_catalogue_is_on_the_page_and_shows_the_sum() {
        let board = Arc::new(Board::new(2));
        let durability = vec![Durability { of: "topic", name: "a/#".into(), level: "os" }];
        let page = Page::new(Arc::clone(&board), &Facts { durability, ..facts("1.2.3") });
        let mut counters = Counters::new();
        counters.add(Metric::Packets(PacketKind::Publish, Direction::Sent), 7);
        counters.set(Metric::Sessions, 5);
        board.show(0, &counters);
        board.show(1, &counters);
        let text = page.render();
        for family in CATALOGUE {
            let series = text
                .lines()
                .filter(|line| line.strip_prefix(family.name).is_some_and(|rest| rest.starts_with(['{', ' '])));
            assert_eq!(series.count(), family.width(), "{}", family.name);
            let kind = if family.kind == Kind::Counter { "counter" } else { "gauge" };
            assert!(text.contains(&format!("# TYPE {} {kind}\n", family.name)), "{}", family.name);
            assert!(text.contains(&format!("# HELP {} {}\n", family.name, family.help.trim())), "{}", family.name);
        }
        assert!(text.contains("heraldmq_packets_total{type=\"publish\",direction=\"sent\"} 14\n"), "{text}");
        assert!(text.contains("heraldmq_sessions 10\n"), "{text}");
        assert!(text.contains("heraldmq_durability_info{of=\"topic\",name=\"a/#\",level=\"os\"} 1\n"), "{text}");
        assert!(text.contains("heraldmq_build_info{version=\"1.2.3\",store_mode=\"memory\"} 1\n"), "{text}");
    }

    #[test]
    fn a_second_scrape_shows_the_newer_numbers() {
        let board = Arc::new(Board::new(1));
        let page = Page::new(Arc::clone(&board), &facts("1"));
        let mut counters = Counters::new();
        for expected in ["heraldmq_caught_panics_total 1\n", "heraldmq_caught_panics_total 2\n"] {
            counters.add(Metric::CaughtPanics, 1);
            board.show(0, &counters);
            assert!(page.render().contains(expected));
        }
    }
}
