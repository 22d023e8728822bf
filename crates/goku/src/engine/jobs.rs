//! Jobs that are to be written together.

use super::writer::Job;

/// Jobs of one batch, and what they come to.
#[derive(Default)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
    operations: usize,
    expiries: usize,
    bytes: usize,
}

impl Jobs {
    pub(super) fn push(&mut self, job: Job) {
        let operations = job.request.operations();
        if job.request.is_expiry() {
            self.expiries += operations;
        } else {
            self.operations += operations;
        }
        self.bytes += job.request.bytes();
        self.jobs.push(job);
    }

    /// Operations, but those that let leases expire.
    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// Leases that they let expire at most.
    pub(super) fn expiries(&self) -> usize {
        self.expiries
    }

    /// What their keys and values need.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    pub(super) fn into_vec(self) -> Vec<Job> {
        self.jobs
    }
}
