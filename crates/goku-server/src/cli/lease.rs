//! `goku lease`.

use std::time::Duration;

use clap::{Args, Subcommand};
use goku::limits::LEASE_KEYS_PAGE_MAX;
use goku::{Client, ErrorKind, Expiry, Lease as LeaseState, LeaseId, LeaseKeysRequest, LeaseRequest, LeasesRequest};
use tokio::time::Instant;

use crate::cli::connection::Connection;
use crate::cli::expiry::{Deadline, ExpiryOptions};
use crate::cli::signal::EndSignals;
use crate::exit::{Failure, Outcome};
use crate::output::{self, HeldKeys, Output};

/// A lease that is kept alive is renewed so often in its time to live: two renewals may be lost.
const RENEWALS_PER_TTL: u32 = 3;

/// The pause from a failed renewal to its next try.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum Lease {
    /// Make a new lease and write its id; without an option it has no deadline
    Grant(Grant),
    /// Show a lease and its keys
    ///
    /// Text output is the lease, then one key a line, after a tab. JSON output is one object, with "keys", and "more_keys": true
    /// where there are more than --limit.
    Get(Get),
    /// List the leases that were granted, given a deadline or shared by several keys, by id
    List(List),
    /// Start a lease's time to live anew: once, or until interrupted
    KeepAlive(KeepAlive),
    /// Give a lease another deadline
    Update(Update),
    /// End a lease now; its keys vanish
    ///
    /// Prints how many keys the lease had just before, where these are 1,000 at most.
    Expire(Named),
}

#[derive(Debug, Args)]
pub(super) struct Grant {
    #[command(flatten)]
    deadline: Deadline,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The lease
    #[arg(value_parser = lease_id, allow_negative_numbers = true)]
    id: LeaseId,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    lease: Named,

    /// Show at most so many of its keys
    #[arg(long, value_name = "N", default_value_t = LEASE_KEYS_PAGE_MAX)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Start after this lease
    #[arg(long, value_name = "ID", value_parser = lease_id)]
    after: Option<LeaseId>,

    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(super) struct KeepAlive {
    #[command(flatten)]
    lease: Named,

    /// Renew it again and again, until SIGINT or SIGTERM
    #[arg(long = "loop")]
    again: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("deadline").args(["ttl", "expires_at", "no_expiry"]).required(true))]
pub(super) struct Update {
    #[command(flatten)]
    lease: Named,

    #[command(flatten)]
    expiry: ExpiryOptions,
}

impl Lease {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let change = match self {
            Lease::Grant(grant) => {
                let lease = connection.client()?.lease(LeaseRequest::Grant(grant.expiry())).await?;
                return Ok(output.granted(&lease)?);
            }
            Lease::Get(get) => return get.run(connection, output).await,
            Lease::List(list) => return list.run(connection, output).await,
            Lease::KeepAlive(keep_alive) if keep_alive.again => return keep_alive.run(connection, output).await,
            Lease::KeepAlive(keep_alive) => LeaseRequest::KeepAlive(keep_alive.lease.id),
            Lease::Update(update) => LeaseRequest::Update(update.lease.id, update.expiry.expiry()),
            Lease::Expire(named) => {
                let client = connection.client()?;
                let held = held_keys(&client, named.id, LEASE_KEYS_PAGE_MAX).await?;
                let lease = client.lease(LeaseRequest::Expire(named.id)).await?;
                return Ok(output.expired(&lease, held.as_ref())?);
            }
        };
        let lease = connection.client()?.lease(change).await?;
        Ok(output.lease(&lease)?)
    }
}

impl Grant {
    fn expiry(&self) -> Expiry {
        self.deadline.expiry()
    }
}

impl Get {
    async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let lease = client.get_lease(self.lease.id).await?;
        let held = held_keys(&client, self.lease.id, self.limit).await?;
        if held.is_none() {
            output::note(
                connection.format,
                "the server is an older goku, which does not tell the keys of a lease",
            );
        }
        Ok(output.lease_with_keys(&lease, held.as_ref())?)
    }
}

/// The first keys of a lease, up to a limit, and whether there are more; none where the server does not tell.
async fn held_keys(client: &impl Client, id: LeaseId, limit: usize) -> goku::Result<Option<HeldKeys>> {
    let mut request = LeaseKeysRequest::new(id);
    let mut held = HeldKeys::default();
    loop {
        // One more shows whether these are all.
        request.limit = Some((limit - held.keys.len()).saturating_add(1));
        let page = match client.lease_keys(request.clone()).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
            page => page?,
        };
        held.keys.extend(page.keys);
        held.more = held.keys.len() > limit;
        held.keys.truncate(limit);
        if held.more || page.rest.is_none() {
            return Ok(Some(held));
        }
        request.after = page.rest;
    }
}

impl List {
    async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let mut after = self.after;
        let mut left = self.limit;
        while left != Some(0) {
            let page = client.list_leases(LeasesRequest { after, limit: left }).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            left = left.map(|left| left.saturating_sub(page.len()));
            for lease in &page {
                output.lease(lease)?;
            }
        }
        Ok(())
    }
}

impl KeepAlive {
    async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let mut signals = EndSignals::new()?;
        tokio::select! {
            result = self.renew_again_and_again(connection, output) => result,
            () = signals.next() => Ok(()),
        }
    }

    async fn renew_again_and_again(&self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let mut lease = self.renew(&client).await?;
        loop {
            output.lease(&lease)?;
            output.flush()?;
            // Counted from after the answer, so the deadline by the store's time is never later than this one.
            let deadline = Instant::now() + lease.remaining().unwrap_or_default();
            tokio::time::sleep(lease.ttl.unwrap_or_default() / RENEWALS_PER_TTL).await;
            lease = self.renew_before(&client, deadline).await?;
        }
    }

    /// Renews the lease, trying again until `deadline` where it may help.
    async fn renew_before(&self, client: &impl Client, deadline: Instant) -> Result<LeaseState, Failure> {
        loop {
            let error = match self.renew(client).await {
                Ok(lease) => return Ok(lease),
                Err(error) => error,
            };
            if !error.kind().is_transient() || Instant::now() >= deadline {
                return Err(error.into());
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    async fn renew(&self, client: &impl Client) -> goku::Result<LeaseState> {
        client.lease(LeaseRequest::KeepAlive(self.lease.id)).await
    }
}

/// Reads the id of a lease.
pub(super) fn lease_id(text: &str) -> Result<LeaseId, String> {
    let id = text.parse().map_err(|_| "the id of a lease is a number".to_string())?;
    LeaseId::new(id).map_err(|error| error.to_string())
}
