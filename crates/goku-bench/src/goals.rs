//! The table of goals: what goku's speed is judged by.

use crate::goal::{Bound, Goal, Unit};
use crate::results::{Measure, Name, Results, Row};
use crate::subject::Subject;
use crate::watched::Watched;

/// Numbers of callers that goals of rates are for.
const MANY_CALLERS: [usize; 3] = [64, 256, 1_000];

/// Callers of the goals without gRPC, and of the unary rate that batches are compared with.
pub(crate) const CALLERS: usize = 256;

const MIB: f64 = 1024.0 * 1024.0;

/// The part of the asked rate of Sets that there has to be, so that how long events are under way counts.
const RATE_MIN: f64 = 0.95;

/// All goals, with what was measured of each.
pub(crate) fn goals(results: &Results) -> Vec<Goal> {
    let judge = Judge { results };
    let mut goals = judge.sets();
    goals.extend(judge.gets());
    goals.extend(judge.one_caller());
    for subject in Subject::GOKU {
        goals.extend(judge.embedded(subject));
        goals.push(judge.batches(subject));
    }
    for subject in Subject::GOKU {
        goals.extend(judge.watch(subject));
    }
    for subject in Subject::GOKU {
        goals.extend(judge.log(subject));
    }
    goals.extend(judge.growth());
    for subject in Subject::GOKU {
        goals.extend(judge.leases(subject));
    }
    goals.extend(judge.footprint());
    goals
}

struct Judge<'a> {
    results: &'a Results,
}

impl Judge<'_> {
    fn call(&self, measure: Measure, subject: Subject, callers: usize) -> Option<f64> {
        self.results.median(Row::Calls, Name::of(measure, subject, callers))
    }

    fn figure(&self, row: Row, measure: Measure, subject: Subject) -> Option<f64> {
        self.results.median(row, Name::new(measure, subject))
    }

    fn sets(&self) -> Vec<Goal> {
        use Measure::{SetP99, SetRate};
        let mut goals = Vec::new();
        for callers in MANY_CALLERS {
            let rate = |subject| self.call(SetRate, subject, callers);
            let p99 = |subject| self.call(SetP99, subject, callers);
            let what = |what: &str| format!("{what}, {callers} callers");
            let goal = |text: &str, bound| Goal::new(Row::Calls, what(text), Unit::Times, bound);
            goals.push(
                goal("Set on MariaDB: rate against etcd's put", Bound::AtLeast(1.0)).ratio(
                    rate(Subject::Mariadb),
                    rate(Subject::Etcd),
                    Unit::PerSecond,
                ),
            );
            goals.push(
                goal("Set on MariaDB: p99 against etcd's put", Bound::AtMost(1.0)).ratio(
                    p99(Subject::Mariadb),
                    p99(Subject::Etcd),
                    Unit::Millis,
                ),
            );
            if callers == CALLERS {
                goals.push(
                    goal(
                        "Set on MariaDB: rate against one transaction a write",
                        Bound::AtLeast(5.0),
                    )
                    .ratio(
                        rate(Subject::Mariadb),
                        rate(Subject::TransactionPerWrite),
                        Unit::PerSecond,
                    ),
                );
            }
            goals.push(
                goal("Set on SQLite: rate against etcd's put", Bound::AtLeast(1.5)).ratio(
                    rate(Subject::Sqlite),
                    rate(Subject::Etcd),
                    Unit::PerSecond,
                ),
            );
        }
        goals
    }

    /// So many times etcd's rate, or 0.8 of that of an empty call where that is less.
    fn gets(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        for callers in MANY_CALLERS {
            for (subject, times) in [(Subject::Mariadb, 3.0), (Subject::Sqlite, 4.0)] {
                let etcd = self.call(Measure::GetRate, Subject::Etcd, callers);
                let empty = self.call(Measure::EmptyRate, Subject::NoStore, callers);
                let (against, bound, peer) = match (etcd, empty) {
                    (Some(etcd), Some(empty)) if 0.8 * empty < times * etcd => ("an empty call", 0.8, Some(empty)),
                    (etcd, _) => ("etcd's get", times, etcd),
                };
                let on = subject.name().trim_start_matches("goku ");
                goals.push(
                    Goal::new(
                        Row::Calls,
                        format!("Get {on}: rate against {against}, {callers} callers"),
                        Unit::Times,
                        Bound::AtLeast(bound),
                    )
                    .ratio(self.call(Measure::GetRate, subject, callers), peer, Unit::PerSecond),
                );
            }
        }
        goals
    }

    fn one_caller(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        for (call, measure) in [("Set", Measure::SetP50), ("Get", Measure::GetP50)] {
            for (subject, times) in [(Subject::Mariadb, 1.5), (Subject::Sqlite, 0.8)] {
                let on = subject.name().trim_start_matches("goku ");
                goals.push(
                    Goal::new(
                        Row::Calls,
                        format!("{call} {on}: median latency against etcd's, one caller"),
                        Unit::Times,
                        Bound::AtMost(times),
                    )
                    .ratio(
                        self.call(measure, subject, 1),
                        self.call(measure, Subject::Etcd, 1),
                        Unit::Millis,
                    ),
                );
            }
        }
        goals
    }

    fn embedded(&self, subject: Subject) -> [Goal; 2] {
        let (sets, gets) = match subject {
            Subject::Sqlite => (60_000.0, 400_000.0),
            _ => (40_000.0, 150_000.0),
        };
        let on = subject.name();
        [
            ("Set", Measure::EmbeddedSetRate, sets),
            ("Get", Measure::EmbeddedGetRate, gets),
        ]
        .map(|(call, measure, rate)| {
            let what = format!("{call}, {on}, embedded, {CALLERS} callers");
            Goal::new(Row::Embedded, what, Unit::PerSecond, Bound::AtLeast(rate))
                .of(self.results.median(Row::Embedded, Name::of(measure, subject, CALLERS)))
        })
    }

    fn batches(&self, subject: Subject) -> Goal {
        let what = format!(
            "Sets in transactions, {}: rate against one Set a call, {CALLERS} callers",
            subject.name()
        );
        Goal::new(Row::Batches, what, Unit::Times, Bound::AtLeast(3.0)).ratio(
            self.figure(Row::Batches, Measure::TxnRate, subject),
            self.figure(Row::Batches, Measure::UnaryRate, subject),
            Unit::PerSecond,
        )
    }

    fn watch(&self, subject: Subject) -> Vec<Goal> {
        Watched::ALL
            .map(|watched| {
                let what = format!("{}, {}: p99 to arrival", watched.name(), subject.name());
                let bound = Bound::AtMost(watched.p99_ms_max() * 1e3);
                let sets = self.figure(Row::Watch, Measure::ArrivalSets(watched), subject);
                let goal = Goal::new(Row::Watch, what, Unit::Millis, bound).of(self.figure(
                    Row::Watch,
                    Measure::Arrival(watched),
                    subject,
                ));
                Goal {
                    is_valid: sets.is_some_and(|sets| sets >= RATE_MIN * f64::from(watched.sets_per_second())),
                    from: sets.map(|sets| (sets, Unit::PerSecond)).into_iter().collect(),
                    ..goal
                }
            })
            .into()
    }

    fn log(&self, subject: Subject) -> Vec<Goal> {
        use Measure::{EmbeddedReplayRate, ListFirst, ListMemory, ListRate, ReplayRate};
        let on = subject.name();
        let goal = |row, what: &str, unit, bound, measure| {
            Goal::new(row, format!("{what}, {on}"), unit, bound).of(self.figure(row, measure, subject))
        };
        vec![
            goal(
                Row::Replay,
                "Replay over gRPC",
                Unit::PerSecond,
                Bound::AtLeast(150_000.0),
                ReplayRate,
            ),
            goal(
                Row::Replay,
                "Replay, embedded",
                Unit::PerSecond,
                Bound::AtLeast(600_000.0),
                EmbeddedReplayRate,
            ),
            goal(
                Row::List,
                "List of all keys: first entry",
                Unit::Millis,
                Bound::AtMost(20e3),
                ListFirst,
            ),
            goal(
                Row::List,
                "List of all keys: entries",
                Unit::PerSecond,
                Bound::AtLeast(150_000.0),
                ListRate,
            ),
            goal(
                Row::List,
                "List of all keys: growth of the server's memory",
                Unit::Mib,
                Bound::AtMost(32.0 * MIB),
                ListMemory,
            ),
        ]
    }

    fn growth(&self) -> Vec<Goal> {
        use Measure::{
            EmptyArrival, EmptyGetRate, EmptyList100, EmptySetRate, GrownArrival, GrownGetRate, GrownList100,
            GrownReplayRate, GrownSetRate,
        };
        let figure = |measure| self.figure(Row::Growth, measure, Subject::Mariadb);
        let goal = |what: &str, bound| {
            Goal::new(
                Row::Growth,
                format!("{what} on a full store against an empty one"),
                Unit::Times,
                bound,
            )
        };
        // "As fast as" is within what two runs of the same differ by.
        let as_fast = Bound::AtMost(1.3);
        let replay = Goal::new(
            Row::Growth,
            "Replay of a small prefix: events of the whole log passed",
            Unit::PerSecond,
            Bound::AtLeast(150_000.0),
        );
        vec![
            goal("Set: rate", Bound::AtLeast(0.7)).ratio(figure(GrownSetRate), figure(EmptySetRate), Unit::PerSecond),
            goal("Get: rate", Bound::AtLeast(0.7)).ratio(figure(GrownGetRate), figure(EmptyGetRate), Unit::PerSecond),
            goal("List of 100 keys: median latency", as_fast).ratio(
                figure(GrownList100),
                figure(EmptyList100),
                Unit::Millis,
            ),
            goal("Stream from the head: median to arrival", as_fast).ratio(
                figure(GrownArrival),
                figure(EmptyArrival),
                Unit::Millis,
            ),
            replay.of(figure(GrownReplayRate)),
        ]
    }

    fn leases(&self, subject: Subject) -> [Goal; 3] {
        let on = subject.name();
        let figure = |measure| self.figure(Row::Leases, measure, subject);
        let goal = |what: &str, unit, bound| Goal::new(Row::Leases, format!("{what}, {on}"), unit, bound);
        [
            goal(
                "Leases due together: until all are gone",
                Unit::Seconds,
                Bound::AtMost(5e6),
            )
            .of(figure(Measure::LeasesGone)),
            goal("Set meanwhile: rate against before", Unit::Times, Bound::AtLeast(0.5)).ratio(
                figure(Measure::SetsBesideLeases),
                figure(Measure::SetsBeforeLeases),
                Unit::PerSecond,
            ),
            goal("Keep-alives", Unit::PerSecond, Bound::AtLeast(20_000.0)).of(figure(Measure::KeepAliveRate)),
        ]
    }

    fn footprint(&self) -> Vec<Goal> {
        let figure = |row, measure| self.figure(row, measure, Subject::Sqlite);
        let goal = |row, what: &str, unit, bound, measure| Goal::new(row, what, unit, bound).of(figure(row, measure));
        let (ms, mib) = (|ms: f64| Bound::AtMost(ms * 1e3), |mib: f64| Bound::AtMost(mib * MIB));
        vec![
            goal(
                Row::Memory,
                "`goku serve` on SQLite, idle: resident",
                Unit::Mib,
                mib(25.0),
                Measure::MemoryIdle,
            ),
            goal(
                Row::Memory,
                "The same with 10,000 idle streams",
                Unit::Mib,
                mib(200.0),
                Measure::MemoryStreams,
            ),
            goal(
                Row::Start,
                "`goku serve` listens on a new SQLite file",
                Unit::Millis,
                ms(50.0),
                Measure::StartNew,
            ),
            goal(
                Row::Start,
                "`goku serve` listens on a SQLite file that is there",
                Unit::Millis,
                ms(50.0),
                Measure::StartAgain,
            ),
            goal(
                Row::Start,
                "The program `goku`",
                Unit::Mib,
                mib(25.0),
                Measure::ProgramSize,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Setting;

    fn results(figures: &[(Row, Name, f64)]) -> Results {
        let mut results = Results::default();
        for (row, name, figure) in figures {
            if results.rows().all(|(begun, _)| begun != *row) {
                results.begin(*row, Setting::default());
            }
            results.add(*row, *name, *figure);
        }
        results
    }

    fn goal(results: &Results, what: &str) -> Goal {
        let goals = goals(results);
        goals.into_iter().find(|goal| goal.what.starts_with(what)).unwrap()
    }

    fn call(measure: Measure, subject: Subject, callers: usize, figure: f64) -> (Row, Name, f64) {
        (Row::Calls, Name::of(measure, subject, callers), figure)
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        assert!(goals(&Results::default()).iter().all(|goal| goal.is_met().is_none()));
    }

    #[test]
    fn rates_have_to_be_higher_and_latencies_lower() {
        let results = results(&[
            call(Measure::SetRate, Subject::Mariadb, 64, 900.0),
            call(Measure::SetRate, Subject::Etcd, 64, 1_000.0),
            call(Measure::SetP99, Subject::Mariadb, 64, 900.0),
            call(Measure::SetP99, Subject::Etcd, 64, 1_000.0),
        ]);
        let rate = goal(&results, "Set on MariaDB: rate against etcd's put, 64");
        assert_eq!((rate.measured, rate.is_met()), (Some(0.9), Some(false)));
        let p99 = goal(&results, "Set on MariaDB: p99 against etcd's put, 64");
        assert_eq!((p99.measured, p99.is_met()), (Some(0.9), Some(true)));
    }

    #[test]
    fn gets_need_not_be_faster_than_empty_calls() {
        let results = |empty| {
            results(&[
                call(Measure::GetRate, Subject::Sqlite, 64, 85.0),
                call(Measure::GetRate, Subject::Etcd, 64, 30.0),
                call(Measure::EmptyRate, Subject::NoStore, 64, empty),
            ])
        };
        let against_empty = goal(&results(100.0), "Get on SQLite: rate against an empty call, 64");
        assert_eq!(against_empty.is_met(), Some(true));
        let against_etcd = goal(&results(1_000.0), "Get on SQLite: rate against etcd's get, 64");
        assert_eq!(against_etcd.is_met(), Some(false));
    }

    #[test]
    fn an_arrival_counts_at_the_asked_rate_only() {
        let results = |sets| {
            let name = |measure| Name::new(measure, Subject::Sqlite);
            results(&[
                (Row::Watch, name(Measure::Arrival(Watched::One)), 1_000.0),
                (Row::Watch, name(Measure::ArrivalSets(Watched::One)), sets),
            ])
        };
        assert_eq!(goal(&results(999.0), "1 stream").is_met(), Some(true));
        assert_eq!(goal(&results(900.0), "1 stream").is_met(), Some(false));
    }
}
