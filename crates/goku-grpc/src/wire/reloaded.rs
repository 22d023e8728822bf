//! What came of a configuration that was read again.

use crate::operations::Reloaded;
use crate::proto::gokupb as pb;

impl From<Reloaded> for pb::ReloadResponse {
    fn from(reloaded: Reloaded) -> pb::ReloadResponse {
        pb::ReloadResponse {
            changed: reloaded.changed,
            needs_restart: reloaded.needs_restart,
        }
    }
}

impl From<pb::ReloadResponse> for Reloaded {
    fn from(answer: pb::ReloadResponse) -> Reloaded {
        Reloaded {
            changed: answer.changed,
            needs_restart: answer.needs_restart,
        }
    }
}
