//! Metrics in the text format of Prometheus, made when they are asked for.

use std::fmt::Write;

/// Samples of one metric.
pub(crate) struct Family {
    text: String,
    name: &'static str,
}

impl Family {
    /// A metric that goes up and down.
    pub(crate) fn gauge(name: &'static str, help: &str) -> Family {
        Family::new(name, "gauge", help)
    }

    /// A metric that only grows.
    pub(crate) fn counter(name: &'static str, help: &str) -> Family {
        Family::new(name, "counter", help)
    }

    fn new(name: &'static str, kind: &str, help: &str) -> Family {
        Family {
            text: format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
            name,
        }
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escape(text)));
        let labels: Vec<_> = labels.collect();
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{}{{{}}} {value}", self.name, labels.join(","));
    }

    /// As it is written.
    pub(crate) fn text(self) -> String {
        self.text
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_hold_anything() {
        let mut family = Family::counter("things_total", "Things.");
        family.sample(&[("name", "a \"b\" \\ c\nd"), ("part", "0")], 3.0);
        family.sample(&[], 0.5);
        let expected = concat!(
            "# HELP things_total Things.\n# TYPE things_total counter\n",
            "things_total{name=\"a \\\"b\\\" \\\\ c\\nd\",part=\"0\"} 3\n",
            "things_total{} 0.5\n",
        );
        assert_eq!(family.text(), expected);
    }
}
