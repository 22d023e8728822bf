//! Operators who change a setting at whatever engine they please, each change on the condition of what they read last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use goku::{
    Admin, ConfigureRequest, Engine, ErrorKind, Result, SettingChange, SettingChangesRequest, SettingCondition,
    SettingName, SettingsRev,
};
use goku_testkit::Random;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

const OPERATORS: usize = 2;

/// Longest pause of an operator.
const PAUSE_MAX: Duration = Duration::from_millis(120);

/// Pause before a call is made again once all faults are over.
const PAUSE: Duration = Duration::from_millis(50);

/// Operators who work until they are told to end.
pub(crate) struct Operators {
    engines: Vec<Engine>,
    tasks: JoinSet<()>,
    over: watch::Sender<bool>,
    noted: Arc<Mutex<Noted>>,
}

/// What the operators noted.
#[derive(Default)]
struct Noted {
    acknowledged: Vec<SettingChange>,
    violations: Vec<String>,
}

/// The setting, whose value counts its changes.
fn name() -> SettingName {
    SettingName::new("test/count").unwrap()
}

impl Operators {
    pub(crate) fn start(engines: &[Engine], is_calm: bool, random: &mut Random) -> Operators {
        let (over, is_over) = watch::channel(false);
        let noted = Arc::default();
        let mut tasks = JoinSet::new();
        for _ in 0..OPERATORS {
            let operator = Operator {
                engines: engines.to_vec(),
                is_calm,
                random: random.fork(),
                noted: Arc::clone(&noted),
            };
            tasks.spawn(operator.run(is_over.clone()));
        }
        Operators {
            engines: engines.to_vec(),
            tasks,
            over,
            noted,
        }
    }

    /// Waits until what was begun has ended, and judges it once nothing fails any more.
    pub(crate) async fn end(mut self) -> Vec<String> {
        self.over.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let mut changes = self.changes().await;
        changes.reverse();
        let mut noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        let count = |change: &SettingChange| (change.rev.get(), change.value.clone());
        let counted = changes.iter().map(count);
        if !counted.eq((1..)
            .zip(1..)
            .take(changes.len())
            .map(|(rev, value): (i64, i64)| (rev, Some(value.to_string().into()))))
        {
            noted
                .violations
                .push(format!("Settings: the changes do not follow each other: {changes:?}"));
        }
        let lost = noted.acknowledged.iter().filter(|change| !changes.contains(change));
        let lost: Vec<_> = lost.map(|change| format!("Settings: {change:?} was lost")).collect();
        noted.violations.extend(lost);
        for engine in &self.engines {
            let read = engine.get_setting(&name()).await.ok().map(|setting| setting.rev);
            if read != changes.last().map(|change| change.rev) {
                noted
                    .violations
                    .push(format!("Settings: {read:?} is read after {:?}", changes.last()));
            }
        }
        noted.violations
    }

    /// All changes, the newest first.
    async fn changes(&self) -> Vec<SettingChange> {
        let mut request = SettingChangesRequest::default();
        let mut changes = Vec::new();
        loop {
            let Ok(page) = self.engines[0].setting_changes(request.clone()).await else {
                sleep(PAUSE).await;
                continue;
            };
            changes.extend(page.changes);
            if !page.more {
                return changes;
            }
            request.before = changes.last().map(|change| change.rev);
        }
    }
}

struct Operator {
    engines: Vec<Engine>,
    is_calm: bool,
    random: Random,
    noted: Arc<Mutex<Noted>>,
}

impl Operator {
    async fn run(mut self, is_over: watch::Receiver<bool>) {
        while !*is_over.borrow() {
            if let Err(error) = self.step().await
                && self.is_calm
                && error.kind() != ErrorKind::ConditionFailed
            {
                self.note(|noted| noted.violations.push(format!("Calm: {error:?} though nothing failed")));
            }
            sleep(self.random.between(Duration::ZERO, PAUSE_MAX)).await;
        }
    }

    /// Reads the setting, and raises its count.
    async fn step(&mut self) -> Result<()> {
        let acknowledged = self.note(|noted| {
            let revs = noted.acknowledged.iter().map(|change| change.rev);
            revs.max().unwrap_or_default()
        });
        let (condition, count) = match self.engine().get_setting(&name()).await {
            Ok(setting) => (SettingCondition::Rev(setting.rev), setting.value.parse().unwrap_or(0)),
            Err(error) if error.kind() == ErrorKind::NotFound => (SettingCondition::Absent, 0_i64),
            Err(error) => return Err(error),
        };
        let read = match condition {
            SettingCondition::Rev(rev) => rev,
            SettingCondition::Any | SettingCondition::Absent => SettingsRev::default(),
        };
        if read < acknowledged {
            let violation = format!("Settings: change {read} is read after {acknowledged} was acknowledged");
            self.note(|noted| noted.violations.push(violation));
        }
        let request = ConfigureRequest::set(name(), (count + 1).to_string()).condition(condition);
        let change = self.engine().configure(request).await?;
        self.note(|noted| noted.acknowledged.push(change));
        Ok(())
    }

    fn engine(&mut self) -> Engine {
        self.random.choose(&self.engines).clone()
    }

    fn note<T>(&self, note: impl FnOnce(&mut Noted) -> T) -> T {
        note(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
