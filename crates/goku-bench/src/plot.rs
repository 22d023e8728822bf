//! Plots of rates and latencies by numbers of callers, a line for each system.

use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::Outcome;
use crate::results::{Measure, Name, Results, Row};
use crate::subject::Subject;

const SIZE: (u32, u32) = (800, 460);

/// Legible on a light and on a dark page: the plots have no ground of their own.
const INK: RGBColor = RGBColor(0x7d, 0x85, 0x90);

/// What a measurement shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    /// Calls a second, from 0.
    Rate,
    /// Milliseconds, each step so many times the one before.
    Latency,
}

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    axis: Axis,
    lines: Vec<Line>,
}

/// What one system did.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    subject: Subject,
    /// Callers, and thousands of calls a second or milliseconds.
    points: Vec<(f64, f64)>,
}

/// All plots of the calls that were measured with more than one number of callers.
pub(crate) fn plots(results: &Results) -> Vec<Plot> {
    [
        (
            "set-rate.svg",
            "Set over gRPC: calls a second by callers",
            Measure::SetRate,
        ),
        ("set-p99.svg", "Set over gRPC: p99 by callers", Measure::SetP99),
        (
            "get-rate.svg",
            "Get over gRPC: calls a second by callers",
            Measure::GetRate,
        ),
        ("get-p99.svg", "Get over gRPC: p99 by callers", Measure::GetP99),
    ]
    .into_iter()
    .map(|(file, title, measure)| Plot::new(results, file, title, measure))
    .filter(|plot| plot.lines.iter().any(|line| line.points.len() > 1))
    .collect()
}

impl Plot {
    fn new(results: &Results, file: &'static str, title: &'static str, measure: Measure) -> Plot {
        let axis = match measure {
            Measure::SetRate | Measure::GetRate => Axis::Rate,
            _ => Axis::Latency,
        };
        let callers = results.callers(Row::Calls, measure);
        let lines = Subject::ALL.map(|subject| {
            let points = callers.iter().filter_map(|callers| {
                let figure = results.median(Row::Calls, Name::of(measure, subject, *callers))?;
                // Thousands of calls, or thousands of microseconds.
                Some((*callers as f64, figure / 1e3))
            });
            Line {
                subject,
                points: points.collect(),
            }
        });
        Plot {
            file,
            title,
            axis,
            lines: lines.into_iter().filter(|line| !line.points.is_empty()).collect(),
        }
    }

    /// Draws it.
    pub(crate) fn svg(&self) -> Outcome<String> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let points = self.lines.iter().flat_map(|line| &line.points);
            let (mut callers_max, mut least, mut most) = (2.0_f64, f64::INFINITY, 0.0_f64);
            for (callers, figure) in points {
                callers_max = callers_max.max(*callers);
                least = least.min(figure.max(1e-3));
                most = most.max(*figure);
            }
            let mut chart = ChartBuilder::on(&area);
            chart
                .caption(self.title, ("sans-serif", 20, &INK))
                .margin(12)
                .margin_right(24)
                .x_label_area_size(48)
                .y_label_area_size(68);
            let callers = (1.0..callers_max).log_scale();
            match self.axis {
                Axis::Rate => self.draw(chart.build_cartesian_2d(callers, 0.0..most * 1.2)?)?,
                Axis::Latency => {
                    let latencies = (least / 1.5..most * 1.5).log_scale();
                    self.draw(chart.build_cartesian_2d(callers, latencies)?)?;
                }
            }
            area.present()?;
        }
        Ok(svg)
    }
}

type Chart<'a, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<LogCoord<f64>, Y>>;

impl Plot {
    fn draw<Y>(&self, mut chart: Chart<'_, Y>) -> Outcome<()>
    where
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let unit = match self.axis {
            Axis::Rate => "thousand calls a second",
            Axis::Latency => "milliseconds",
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(INK.mix(0.35))
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(("sans-serif", 14, &INK))
            .x_label_formatter(&|callers| format!("{callers}"))
            .y_label_formatter(&|figure| format!("{}", (figure * 1e3).round() / 1e3))
            .x_desc("callers")
            .y_desc(unit)
            .draw()?;
        for line in &self.lines {
            let colour = colour(line.subject);
            let points = line.points.clone();
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
                .label(line.subject.name())
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], colour.stroke_width(3)));
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 14, &INK))
            .border_style(TRANSPARENT)
            .draw()?;
        Ok(())
    }
}

/// Colours that differ in lightness too, neither near to white nor to black.
fn colour(subject: Subject) -> RGBColor {
    match subject {
        Subject::Sqlite => RGBColor(0x1f, 0x9e, 0x6e),
        Subject::Mariadb => RGBColor(0x3b, 0x82, 0xf6),
        Subject::TransactionPerWrite => RGBColor(0xa8, 0x55, 0xf7),
        Subject::Etcd => RGBColor(0xe0, 0x62, 0x1e),
        Subject::RawGroupCommit | Subject::NoStore => INK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Setting;

    #[test]
    fn a_plot_has_a_line_for_each_system_and_names_its_axes() {
        let mut results = Results::default();
        results.begin(Row::Calls, Setting::default());
        for (subject, rate) in [(Subject::Sqlite, 1_500.0), (Subject::Etcd, 1_000.0)] {
            for callers in [1, 16, 64] {
                let name = Name::of(Measure::SetRate, subject, callers);
                results.add(Row::Calls, name, rate * callers as f64);
            }
        }
        let plots = plots(&results);
        let [plot] = &plots[..] else {
            panic!("one plot, not {}", plots.len());
        };
        assert_eq!(plot.lines[0].points, [(1.0, 1.5), (16.0, 24.0), (64.0, 96.0)]);
        let svg = plot.svg().unwrap();
        for expected in ["goku on SQLite", "etcd", "callers", "thousand calls a second"] {
            assert!(svg.contains(expected), "{expected} is missing in:\n{svg}");
        }
        assert!(svg.matches("<polyline").count() >= 2, "{svg}");
    }

    #[test]
    fn one_number_of_callers_makes_no_plot() {
        let mut results = Results::default();
        results.begin(Row::Calls, Setting::default());
        results.add(Row::Calls, Name::of(Measure::SetRate, Subject::Etcd, 1), 1.0);
        assert_eq!(plots(&results), []);
    }
}
