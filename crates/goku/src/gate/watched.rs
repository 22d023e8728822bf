//! Streams that end once their caller may not read on.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::time::{Instant, Sleep};

use super::rules::Rules;
use super::visitor::Visitor;
use crate::client::EventStream;
use crate::decide::SettingsStamp;
use crate::error::Result;
use crate::event::StreamItem;
use crate::request::StreamRequest;

/// The longest time until a credential that expires is looked at again.
const LOOK_MAX: Duration = Duration::from_secs(3600);

/// A stream of one caller. It ends, with `PermissionDenied` or `Unauthenticated`, before it tells anything that was decided after
/// the right to it was taken away.
pub(super) struct Watched {
    visitor: Visitor,
    request: StreamRequest,
    /// The settings that the request was last checked with.
    checked: SettingsStamp,
    events: EventStream,
    /// Completes with the next change of the settings.
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Completes when the caller's credentials may have expired.
    expiry: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl Watched {
    /// Watches over a stream that was opened after its request had been checked by `rules`.
    pub(super) fn new(visitor: Visitor, request: StreamRequest, rules: &Rules, events: EventStream) -> Watched {
        Watched {
            changed: next_change(&visitor),
            expiry: expiry(&visitor, rules),
            visitor,
            request,
            checked: rules.stamp(),
            events,
            is_over: false,
        }
    }

    /// Checks the request again where settings have changed or credentials may have expired.
    fn poll_right(&mut self, cx: &mut Context<'_>) -> Result<()> {
        // First it is made sure that the next change wakes, then what is known now is looked at.
        while self.changed.as_mut().poll(cx).is_ready() {
            self.changed = next_change(&self.visitor);
        }
        loop {
            let has_expired = self
                .expiry
                .as_mut()
                .is_some_and(|expiry| expiry.as_mut().poll(cx).is_ready());
            let rules = self.visitor.known_rules();
            if rules.stamp() == self.checked && !has_expired {
                return Ok(());
            }
            self.visitor.told(self.visitor.allowed(&rules, &self.request))?;
            self.checked = rules.stamp();
            self.expiry = expiry(&self.visitor, &rules);
        }
    }
}

fn next_change(visitor: &Visitor) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let engine = visitor.engine().clone();
    Box::pin(async move { engine.settings_changed().await })
}

fn expiry(visitor: &Visitor, rules: &Rules) -> Option<Pin<Box<Sleep>>> {
    let left = visitor.time_left(rules)?;
    Some(Box::pin(tokio::time::sleep_until(Instant::now() + left.min(LOOK_MAX))))
}

impl Stream for Watched {
    type Item = Result<StreamItem>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        if let Err(error) = this.poll_right(cx) {
            this.is_over = true;
            return Poll::Ready(Some(Err(error)));
        }
        Pin::new(&mut this.events).poll_next(cx)
    }
}
