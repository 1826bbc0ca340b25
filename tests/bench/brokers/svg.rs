//! A chart of the first metric of each scenario, as SVG: one bar for each broker.

use std::fmt::Write as _;

use super::measured::Outcome;

const WIDTH: usize = 900;
const NAME_WIDTH: usize = 150;
const VALUE_WIDTH: usize = 90;
const LINE: usize = 20;
/// Told apart without colours, too: names stand beside the bars.
const COLOURS: [&str; 5] = ["#888888", "#1f6f8b", "#4f9db3", "#8fc4d3", "#c06030"];

/// Charts so far.
#[derive(Default)]
pub struct Charts {
    body: String,
    height: usize,
}

impl Charts {
    /// Adds a scenario: bars as long as its values, the longest as long as there is room.
    pub fn add(&mut self, title: &str, outcomes: &[Outcome]) {
        let value = |outcome: &Outcome| outcome.metrics.as_ref().ok().and_then(|all| Some(all.first()?.median()));
        let measured = outcomes.iter().find_map(|outcome| outcome.metrics.as_ref().ok()?.first());
        let longest = outcomes.iter().filter_map(value).fold(f64::MIN_POSITIVE, f64::max);
        self.text(0, &format!("{title} ({})", measured.map_or("nothing measured", |metric| metric.name)), "bold");
        for (outcome, colour) in outcomes.iter().zip(COLOURS.iter().cycle()) {
            let room = (WIDTH - NAME_WIDTH - VALUE_WIDTH) as f64;
            let length = value(outcome).filter(|value| !value.is_nan()).map_or(0.0, |value| value / longest * room);
            let _ = write!(
                self.body,
                "<rect x=\"{NAME_WIDTH}\" y=\"{}\" width=\"{length:.0}\" height=\"{}\" fill=\"{colour}\"/>",
                self.height + 4,
                LINE - 6,
            );
            let shown = value(outcome).map_or("failed".to_owned(), |value| format!("{value:.2}"));
            let _ = write!(
                self.body,
                "<text x=\"{:.0}\" y=\"{}\">{shown}</text>",
                NAME_WIDTH as f64 + length + 6.0,
                self.height + 15,
            );
            self.text(10, &outcome.broker, "normal");
        }
        self.height += LINE / 2;
    }

    fn text(&mut self, x: usize, text: &str, weight: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let y = self.height + 15;
        let _ = writeln!(self.body, "<text x=\"{x}\" y=\"{y}\" font-weight=\"{weight}\">{text}</text>");
        self.height += LINE;
    }

    /// The whole file, with a line that says where it was measured.
    pub fn svg(mut self, machine: &str) -> String {
        self.text(0, &format!("Medians; shorter is better. {machine}"), "normal");
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
            height = self.height + LINE,
            body = self.body,
        )
    }
}
