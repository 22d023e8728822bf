//! A goal, and whether it is met.

use crate::results::Row;

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// So many times another figure.
    Times,
    PerSecond,
    /// From microseconds.
    Millis,
    /// From microseconds.
    Seconds,
    /// From bytes.
    Mib,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A goal, and what was measured of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) row: Row,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) bound: Bound,
    /// None where it was not measured.
    pub(crate) measured: Option<f64>,
    /// The figures that it comes from, with their unit.
    pub(crate) from: Vec<(f64, Unit)>,
    /// Whether what the goal takes for granted was so.
    pub(crate) is_valid: bool,
}

impl Goal {
    /// A goal of which nothing was measured yet.
    pub(crate) fn new(row: Row, what: impl Into<String>, unit: Unit, bound: Bound) -> Goal {
        Goal {
            row,
            what: what.into(),
            unit,
            bound,
            measured: None,
            from: Vec::new(),
            is_valid: true,
        }
    }

    /// Measured as this figure, if it was.
    pub(crate) fn of(self, figure: Option<f64>) -> Goal {
        Goal {
            measured: figure,
            ..self
        }
    }

    /// Measured as the ratio of two figures, if both were.
    pub(crate) fn ratio(self, figure: Option<f64>, to: Option<f64>, unit: Unit) -> Goal {
        let (Some(figure), Some(to)) = (figure, to) else {
            return self;
        };
        Goal {
            measured: Some(figure / to),
            from: vec![(figure, unit), (to, unit)],
            ..self
        }
    }

    /// Whether it is met; none where it was not measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let measured = self.measured?;
        let is_within = match self.bound {
            Bound::AtLeast(bound) => measured >= bound,
            Bound::AtMost(bound) => measured <= bound,
        };
        Some(is_within && self.is_valid)
    }
}
