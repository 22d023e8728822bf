//! Whether a server is alive and ready: what its probes say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::time::Instant;

/// The time in which every part of a server that is alive has had a turn.
const TURN_MAX: Duration = Duration::from_secs(10);

/// What is known of a server. Clones share it.
#[derive(Clone)]
pub(crate) struct Readiness(Arc<Mutex<State>>);

struct State {
    /// Whether the store answered when it was last looked at, or else why not.
    store: Result<(), String>,
    /// Whether the engine is whole and knows the format of its store, or else why not.
    engine: Result<(), String>,
    is_draining: bool,
    /// When the threads of the server, and those of the engine, last had a turn.
    server_turned: Instant,
    engine_turned: Instant,
}

impl Readiness {
    /// A server that has not opened its store yet.
    pub(crate) fn new() -> Readiness {
        let now = Instant::now();
        Readiness(Arc::new(Mutex::new(State {
            store: Err("it is being opened".to_owned()),
            engine: Ok(()),
            is_draining: false,
            server_turned: now,
            engine_turned: now,
        })))
    }

    /// Notes the result of a look at the store.
    pub(crate) fn looked(&self, store: Result<(), String>) {
        self.state().store = store;
    }

    /// Notes why the server cannot go on.
    pub(crate) fn broken(&self, reason: &goku::Error) {
        self.state().engine = Err(reason.to_string());
    }

    /// Notes that the server takes no more work.
    pub(crate) fn drains(&self) {
        self.state().is_draining = true;
    }

    /// Notes that the threads of the server had a turn, and those of the engine.
    pub(crate) fn turned(&self, now: Instant, has_engine_turned: bool) {
        let mut state = self.state();
        state.server_turned = now;
        if has_engine_turned {
            state.engine_turned = now;
        }
    }

    /// The answers over HTTP.
    pub(crate) fn routes(&self) -> Router {
        let (live, ready) = (self.clone(), self.clone());
        Router::new()
            .route("/livez", get(move || async move { live.livez(Instant::now()) }))
            .route(
                "/readyz",
                get(move |RawQuery(query): RawQuery| async move { ready.readyz(is_verbose(query.as_deref())) }),
            )
    }

    fn livez(&self, now: Instant) -> (StatusCode, String) {
        let state = self.state();
        for (part, turned) in [("server", state.server_turned), ("engine", state.engine_turned)] {
            let hangs = now.saturating_duration_since(turned);
            if hangs >= TURN_MAX {
                let text = format!("the threads of the {part} have had no turn for {} s\n", hangs.as_secs());
                return (StatusCode::SERVICE_UNAVAILABLE, text);
            }
        }
        (StatusCode::OK, "ok\n".to_owned())
    }

    fn readyz(&self, is_verbose: bool) -> (StatusCode, String) {
        let checks = self.state().checks();
        let failed: Vec<_> = checks
            .iter()
            .filter_map(|(name, check)| Some((name, check.as_ref().err()?)))
            .collect();
        let status = match failed[..] {
            [] => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let text = if is_verbose {
            let lines = checks.iter().map(|(name, check)| match check {
                Ok(()) => format!("[+]{name} ok\n"),
                Err(reason) => format!("[-]{name} failed: {reason}\n"),
            });
            lines.collect()
        } else if failed.is_empty() {
            "ok\n".to_owned()
        } else {
            let reasons: Vec<_> = failed
                .iter()
                .map(|(name, reason)| format!("{name}: {reason}"))
                .collect();
            format!("not ready: {}\n", reasons.join("; "))
        };
        (status, text)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each part is whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn checks(&self) -> [(&'static str, Result<(), String>); 3] {
        let serving = match self.is_draining {
            true => Err("the server is ending".to_owned()),
            false => Ok(()),
        };
        [
            ("store", self.store.clone()),
            ("engine", self.engine.clone()),
            ("serving", serving),
        ]
    }
}

fn is_verbose(query: Option<&str>) -> bool {
    let mut parameters = query.unwrap_or_default().split('&');
    parameters.any(|parameter| parameter == "verbose" || parameter.starts_with("verbose="))
}

#[cfg(test)]
mod tests {
    use goku::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_server_is_ready_while_every_check_passes() {
        let readiness = Readiness::new();
        let (status, text) = readiness.readyz(false);
        assert_eq!(
            (status.as_u16(), text.as_str()),
            (503, "not ready: store: it is being opened\n")
        );
        readiness.looked(Ok(()));
        assert_eq!(readiness.readyz(false), (StatusCode::OK, "ok\n".to_owned()));
        let whole = "[+]store ok\n[+]engine ok\n[+]serving ok\n";
        assert_eq!(readiness.readyz(true), (StatusCode::OK, whole.to_owned()));

        readiness.looked(Err("no answer".to_owned()));
        readiness.broken(&Error::new(ErrorKind::Config, "too new"));
        readiness.drains();
        let (status, text) = readiness.readyz(true);
        assert_eq!(status.as_u16(), 503);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "[-]store failed: no answer");
        assert!(
            lines[1].starts_with("[-]engine failed: ") && lines[1].contains("too new"),
            "{text}"
        );
        assert_eq!(lines[2], "[-]serving failed: the server is ending");
    }

    #[test]
    fn a_server_is_alive_while_all_its_threads_have_turns() {
        let readiness = Readiness::new();
        let mut now = Instant::now();
        for (has_engine_turned, status) in [(true, 200), (false, 200), (false, 503), (true, 200)] {
            now += TURN_MAX / 2;
            readiness.turned(now, has_engine_turned);
            assert_eq!(readiness.livez(now).0.as_u16(), status, "{}", readiness.livez(now).1);
        }
        assert_eq!(readiness.livez(now + TURN_MAX).0.as_u16(), 503);
    }

    #[test]
    fn a_query_asks_for_all_checks() {
        for (query, asks) in [
            (None, false),
            (Some("verbose"), true),
            (Some("a=b&verbose=1"), true),
            (Some("verbosely"), false),
        ] {
            assert_eq!(is_verbose(query), asks, "{query:?}");
        }
    }
}
