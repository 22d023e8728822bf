//! Processor time, of processes and of the whole machine.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::Outcome;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Client,
    Server,
    Database,
}

impl Role {
    pub(crate) const ALL: [Role; 3] = [Role::Client, Role::Server, Role::Database];
}

/// The processes whose time is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes(BTreeMap<Role, u32>);

/// Processor time that was used, in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) own: BTreeMap<Role, f64>,
    /// By all other processes of the machine.
    pub(crate) others: f64,
}

impl Processes {
    /// Counts the time of a process too.
    pub(crate) fn add(&mut self, role: Role, id: u32) {
        self.0.insert(role, id);
    }

    /// What has been used up to now.
    pub(crate) fn used(&self) -> Outcome<Used> {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let mut own = BTreeMap::new();
        for (role, id) in &self.0 {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            let used = ticks_of_process(&stat).ok_or_else(|| format!("the times of process {id} cannot be read"))?;
            own.insert(*role, used as f64 / ticks);
        }
        let stat = fs::read_to_string("/proc/stat")?;
        let all = ticks_of_machine(&stat).ok_or("the times of the machine cannot be read")? as f64 / ticks;
        let others = all - own.values().sum::<f64>();
        Ok(Used { own, others })
    }
}

impl Used {
    /// What was used since an earlier moment.
    pub(crate) fn since(mut self, earlier: &Used) -> Used {
        for (role, seconds) in &mut self.own {
            *seconds -= earlier.own.get(role).copied().unwrap_or_default();
        }
        Used {
            own: self.own,
            others: (self.others - earlier.others).max(0.0),
        }
    }
}

/// User and system time. The fields are counted from behind the program's name, which may hold anything.
fn ticks_of_process(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// All time but that of idling and of waiting for disks.
fn ticks_of_machine(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = fields
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
    let [user, nice, system, _, _, irq, softirq, ..] = times[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 110 120 13 14";
        assert_eq!(ticks_of_process(stat), Some(230));
        assert_eq!(ticks_of_process("7 (a"), None);
    }

    #[test]
    fn a_machine_that_idles_uses_nothing() {
        let stat = "cpu  1 2 4 1000 2000 8 16 32 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(ticks_of_machine(stat), Some(31));
    }
}
