//! The members of a group, and the partitions that they hold.

use super::holding::token;
use super::view::View;
use crate::client::Client;
use crate::cursor::ConsumerName;
use crate::error::Result;
use crate::id::{FencingToken, LeaseId};

/// The members of a group and the partitions that they hold at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The number of partitions.
    pub partitions: u32,
    /// The members, in the order in which they joined.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's lease.
    pub lease: LeaseId,
    /// The label that people are shown.
    pub label: String,
    /// The partitions that it holds, and its tokens for them.
    pub partitions: Vec<(u32, FencingToken)>,
}

impl Roster {
    /// The holder of a partition; `None` if nobody holds it at the moment.
    pub fn holder(&self, partition: u32) -> Option<&Member> {
        let holds = |member: &&Member| member.partitions.iter().any(|(held, _)| *held == partition);
        self.members.iter().find(holds)
    }
}

/// Reads who is in the group of this name; `None` if there never was such a group.
///
/// # Errors
///
/// The errors of [`Client::list`], and `Config` when the settings of the group cannot be understood.
pub async fn roster(client: &dyn Client, consumer: &ConsumerName) -> Result<Option<Roster>> {
    let (view, _) = View::read(client, consumer).await?;
    let Some(settings) = view.settings else {
        return Ok(None);
    };
    let members = view.members.iter().map(|(lease, label)| Member {
        lease: *lease,
        label: label.clone(),
        partitions: view
            .held_by(*lease)
            .map(|(partition, claim)| (partition, token(claim)))
            .collect(),
    });
    Ok(Some(Roster {
        partitions: settings.partitions,
        members: members.collect(),
    }))
}
