//! Identities that JWTs name.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::caller::{Caller, Who, identity_name, unauthenticated};
use crate::access::AccessName;
use crate::clock::Timestamp;
use crate::error::Result;

/// The claims of a JWT.
pub type JwtClaims = serde_json::Map<String, Value>;

/// The bytes of a JWT, at most. A longer one is refused before anything of it is read.
const JWT_BYTES_MAX: usize = 16 * 1024;

/// JWTs that are known to be genuine without another look at their signature. Of more the least recently used ones are
/// forgotten.
const VERIFIED_MAX: usize = 10_000;

/// The time by which the clocks of an issuer and of this server may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// A verifier of the signatures of JWTs.
pub trait JwtVerifier: Send + Sync {
    /// The claims of a JWT that one of the keys has signed. Nothing of the claims is checked.
    ///
    /// # Errors
    ///
    /// - `Unauthenticated`: it is no JWT, or none of the keys has signed it.
    fn verify(&self, jwt: &str) -> Result<JwtClaims>;

    /// A number of the keys that [`verify`](Self::verify) goes by, or that it went by a moment ago: other keys have another one.
    fn keys_number(&self) -> u64;
}

/// The claims that a JWT has to make, and those in which it names an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRules {
    /// The issuer, as the claim `iss` has it.
    pub issuer: String,
    /// The audience, which is the claim `aud` or in it.
    pub audience: String,
    /// The claim that is the name of the identity.
    pub identity_claim: String,
    /// The claim that names roles which count beside those of the identity, in a list or a text with spaces between them.
    pub roles_claim: Option<String>,
}

impl JwtRules {
    /// The claim that is the name of the identity where no other is chosen: the subject.
    pub const IDENTITY_CLAIM: &str = "sub";

    /// The caller that claims tell of, at this time.
    ///
    /// It follows from nothing else, and is the same until it expires.
    fn caller(&self, claims: &JwtClaims, now: Timestamp) -> Result<Caller> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(unauthenticated(
                "the JWT is of another issuer than the one that is trusted here",
            ));
        }
        let is_audience = |value: &Value| value.as_str() == Some(&self.audience);
        let is_for_us = claims.get("aud").is_some_and(|audience| match audience {
            Value::Array(audiences) => audiences.iter().any(is_audience),
            audience => is_audience(audience),
        });
        if !is_for_us {
            return Err(unauthenticated("the JWT is for another audience than this server"));
        }
        let Some(expires_at) = time(claims, "exp")? else {
            return Err(unauthenticated(
                "the JWT has no claim exp: only one that expires is taken",
            ));
        };
        let expires_at = expires_at.saturating_add(LEEWAY);
        if expires_at <= now {
            return Err(expired());
        }
        if time(claims, "nbf")?.is_some_and(|begins_at| begins_at > now.saturating_add(LEEWAY)) {
            return Err(unauthenticated(
                "the JWT is not valid yet (nbf): compare the clocks of its issuer and of this server",
            ));
        }
        let name = claims
            .get(&self.identity_claim)
            .and_then(Value::as_str)
            .ok_or_else(|| {
                let claim = &self.identity_claim;
                unauthenticated(format!("the JWT names nobody: its claim {claim} is absent, or no text"))
            })?;
        Ok(Caller {
            who: Who::Named(identity_name(name)?, self.roles(claims)?),
            expires_at: Some(expires_at),
        })
    }

    fn roles(&self, claims: &JwtClaims) -> Result<Arc<[AccessName]>> {
        let Some((claim, value)) = self
            .roles_claim
            .as_ref()
            .and_then(|claim| Some((claim, claims.get(claim)?)))
        else {
            return Ok(Arc::default());
        };
        let texts: Option<Vec<&str>> = match value {
            Value::String(text) => Some(text.split_whitespace().collect()),
            Value::Array(texts) => texts.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let texts = texts.ok_or_else(|| {
            unauthenticated(format!(
                "the claim {claim} of the JWT is neither a text nor a list of texts"
            ))
        })?;
        // No role has a name that cannot be one. Of two callers with the same rights one is not another.
        let mut roles: Vec<_> = texts.into_iter().flat_map(AccessName::new).collect();
        roles.sort();
        roles.dedup();
        Ok(roles.into())
    }
}

/// The error for a JWT that has expired.
pub(super) fn expired() -> crate::error::Error {
    unauthenticated("the JWT has expired: have a new one issued")
}

/// The time that a claim tells in seconds since 1970, as far as there are such times here.
fn time(claims: &JwtClaims, claim: &str) -> Result<Option<Timestamp>> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    let Some(seconds) = value.as_f64() else {
        return Err(unauthenticated(format!(
            "the claim {claim} of the JWT is no number of seconds"
        )));
    };
    let bounds = (Timestamp::MIN.as_millis() as f64, Timestamp::MAX.as_millis() as f64);
    let ms = (seconds * 1_000.0).clamp(bounds.0, bounds.1) as i64;
    Timestamp::from_millis(ms).map(Some)
}

/// The identities that JWTs name, and those that are known without another look at a signature.
pub struct JwtIdentities {
    rules: JwtRules,
    verifier: Arc<dyn JwtVerifier>,
    verified: Mutex<LruCache<[u8; 32], Verified>>,
}

/// A caller whose JWT was verified with keys of this number.
struct Verified {
    keys_number: u64,
    caller: Caller,
}

impl JwtIdentities {
    /// Takes JWTs that `verifier` finds signed, and that follow `rules`.
    pub fn new(rules: JwtRules, verifier: Arc<dyn JwtVerifier>) -> JwtIdentities {
        JwtIdentities {
            rules,
            verifier,
            verified: Mutex::new(LruCache::new(
                NonZeroUsize::new(VERIFIED_MAX).unwrap_or(NonZeroUsize::MIN),
            )),
        }
    }

    /// The caller that a JWT tells of, where it is genuine at this time.
    pub(super) fn caller(&self, jwt: &str, now: Timestamp) -> Result<Caller> {
        if jwt.len() > JWT_BYTES_MAX {
            return Err(unauthenticated(format!(
                "the JWT has {} bytes, {JWT_BYTES_MAX} at most are taken: have one issued with fewer claims",
                jwt.len()
            )));
        }
        // Before the keys are used: where they change meanwhile, what is found is not taken for found with those after.
        let keys_number = self.verifier.keys_number();
        let hash: [u8; 32] = Sha256::digest(jwt.as_bytes()).into();
        if let Some(caller) = self.known(&hash, keys_number, now) {
            return Ok(caller);
        }
        let caller = self.rules.caller(&self.verifier.verify(jwt)?, now)?;
        let verified = Verified {
            keys_number,
            caller: caller.clone(),
        };
        self.verified().put(hash, verified);
        Ok(caller)
    }

    /// The caller of a JWT that these keys have verified before, and that has not expired.
    fn known(&self, hash: &[u8; 32], keys_number: u64, now: Timestamp) -> Option<Caller> {
        let mut all = self.verified();
        let verified = all.get(hash)?;
        let is_over = verified.caller.expires_at.is_some_and(|expires_at| expires_at <= now);
        if is_over || verified.keys_number != keys_number {
            all.pop(hash);
            return None;
        }
        Some(verified.caller.clone())
    }

    fn verified(&self) -> MutexGuard<'_, LruCache<[u8; 32], Verified>> {
        // Nothing panics while it is locked.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for JwtIdentities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIdentities")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::error::{Error, ErrorKind};

    const NOW_S: i64 = 1_700_000_000;

    fn now() -> Timestamp {
        Timestamp::from_millis(NOW_S * 1_000).unwrap()
    }

    fn rules(roles_claim: Option<&str>) -> JwtRules {
        JwtRules {
            issuer: "https://issuer.example".to_owned(),
            audience: "goku".to_owned(),
            identity_claim: JwtRules::IDENTITY_CLAIM.to_owned(),
            roles_claim: roles_claim.map(str::to_owned),
        }
    }

    /// Good claims, with changes; `null` removes one.
    fn claims(changes: Value) -> JwtClaims {
        let good = json!({ "iss": "https://issuer.example", "aud": "goku", "sub": "ci", "exp": NOW_S + 60 });
        let Value::Object(mut claims) = good else {
            unreachable!()
        };
        let Value::Object(changes) = changes else {
            unreachable!()
        };
        claims.extend(changes);
        claims.retain(|_, value| !value.is_null());
        claims
    }

    fn name(name: &str) -> AccessName {
        AccessName::new(name).unwrap()
    }

    #[test]
    fn claims_tell_the_identity_until_they_expire() {
        let caller = rules(None)
            .caller(&claims(json!({ "roles": ["admin"] })), now())
            .unwrap();
        assert_eq!(caller.who, Who::Named(name("ci"), Arc::default()));
        let expires_at = now().saturating_add(Duration::from_secs(60) + LEEWAY);
        assert_eq!(caller.expires_at, Some(expires_at));
        for good in [
            json!({ "aud": ["other", "goku"] }),
            json!({ "nbf": NOW_S + 30 }),
            json!({ "exp": NOW_S - 29 }),
            json!({ "exp": NOW_S as f64 - 29.5 }),
            json!({ "exp": 1e300 }),
            json!({ "nbf": -1e300 }),
        ] {
            rules(None)
                .caller(&claims(good.clone()), now())
                .unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        let mut other = rules(None);
        other.identity_claim = "email".to_owned();
        let caller = other.caller(&claims(json!({ "email": "ci@example" })), now()).unwrap();
        assert_eq!(caller.who, Who::Named(name("ci@example"), Arc::default()));
    }

    #[test]
    fn claims_that_do_not_say_what_they_have_to_are_refused_with_the_reason() {
        for (changes, reason) in [
            (json!({ "iss": "https://issuer.example/" }), "another issuer"),
            (json!({ "iss": null }), "another issuer"),
            (json!({ "iss": ["https://issuer.example"] }), "another issuer"),
            (json!({ "aud": "goku2" }), "another audience"),
            (json!({ "aud": [] }), "another audience"),
            (json!({ "aud": null }), "another audience"),
            (json!({ "exp": null }), "no claim exp"),
            (json!({ "exp": "2030-01-31" }), "no number of seconds"),
            (json!({ "exp": NOW_S - 30 }), "has expired"),
            (json!({ "exp": 0 }), "has expired"),
            (json!({ "nbf": NOW_S + 31 }), "not valid yet"),
            (json!({ "nbf": true }), "no number of seconds"),
            (json!({ "sub": null }), "names nobody"),
            (json!({ "sub": 7 }), "names nobody"),
            (json!({ "sub": "" }), "is no name"),
            (json!({ "sub": "a b" }), "is no name"),
            (json!({ "sub": "anonymous" }), "without credentials"),
            (json!({ "sub": "address:reader" }), "address:"),
            (json!({ "groups": 7 }), "neither a text nor a list"),
            (json!({ "groups": ["a", 7] }), "neither a text nor a list"),
        ] {
            let refused = rules(Some("groups"))
                .caller(&claims(changes.clone()), now())
                .unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{changes}");
            assert!(refused.message().contains(reason), "{changes}: {refused}");
        }
    }

    #[test]
    fn roles_are_those_that_the_claim_names() {
        for (value, roles) in [
            (json!("reader"), &["reader"][..]),
            (json!("writer reader  writer"), &["reader", "writer"]),
            (json!(["writer", "reader", "writer"]), &["reader", "writer"]),
            (json!(["no name", "", "reader"]), &["reader"]),
            (json!([]), &[]),
            (Value::Null, &[]),
        ] {
            let caller = rules(Some("groups"))
                .caller(&claims(json!({ "groups": value })), now())
                .unwrap();
            let expected: Vec<_> = roles.iter().map(|role| name(role)).collect();
            assert_eq!(caller.who, Who::Named(name("ci"), expected.into()), "{value}");
        }
    }

    /// Counts how often it is asked, and tells whatever claims it has.
    struct Counting {
        claims: JwtClaims,
        verified: AtomicU64,
        keys_number: AtomicU64,
    }

    impl JwtVerifier for Counting {
        fn verify(&self, jwt: &str) -> Result<JwtClaims> {
            self.verified.fetch_add(1, Ordering::Relaxed);
            match jwt {
                "forged" => Err(Error::new(ErrorKind::Unauthenticated, "forged")),
                _ => Ok(self.claims.clone()),
            }
        }

        fn keys_number(&self) -> u64 {
            self.keys_number.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_jwt_is_verified_once_until_it_expires_or_the_keys_are_others() {
        let verifier = Arc::new(Counting {
            claims: claims(json!({})),
            verified: AtomicU64::new(0),
            keys_number: AtomicU64::new(0),
        });
        let identities = JwtIdentities::new(rules(None), verifier.clone());
        let verified = |jwt: &str, after_s: u64| {
            let caller = identities.caller(jwt, now().saturating_add(Duration::from_secs(after_s)));
            (caller.is_ok(), verifier.verified.load(Ordering::Relaxed))
        };
        assert_eq!(verified("a", 0), (true, 1));
        assert_eq!(verified("a", 89), (true, 1));
        assert_eq!(verified("b", 0), (true, 2));
        verifier.keys_number.fetch_add(1, Ordering::Relaxed);
        assert_eq!(verified("a", 0), (true, 3));
        assert_eq!(verified("a", 0), (true, 3));
        assert_eq!(verified("a", 90), (false, 4));
        // What is refused is not remembered, as genuine or otherwise.
        assert_eq!(verified("forged", 0), (false, 5));
        assert_eq!(verified("forged", 0), (false, 6));
        assert_eq!(verified(&"a".repeat(JWT_BYTES_MAX + 1), 0), (false, 6));
        assert_eq!(verified(&"a".repeat(JWT_BYTES_MAX), 0), (true, 7));
    }

    #[test]
    fn no_more_than_so_many_verified_ones_are_remembered() {
        let verifier = Counting {
            claims: claims(json!({})),
            verified: AtomicU64::new(0),
            keys_number: AtomicU64::new(0),
        };
        let identities = JwtIdentities::new(rules(None), Arc::new(verifier));
        for number in 0..=VERIFIED_MAX {
            identities.caller(&number.to_string(), now()).unwrap();
        }
        assert_eq!(identities.verified().len(), VERIFIED_MAX);
    }

    fn any_claim() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            prop::collection::vec(".{0,4}", 0..4).prop_map(Value::from),
        ]
    }

    proptest! {
        /// Whatever is claimed, a caller that comes of it has what it has to have.
        #[test]
        fn no_claims_make_a_caller_that_the_rules_do_not_let_in(
            exp in any_claim(), nbf in any_claim(), sub in any_claim(), groups in any_claim()
        ) {
            let claims = claims(json!({ "exp": exp, "nbf": nbf, "sub": sub, "groups": groups }));
            if let Ok(caller) = rules(Some("groups")).caller(&claims, now()) {
                prop_assert!(claims["exp"].as_f64().unwrap() > (NOW_S - 31) as f64);
                prop_assert!(caller.expires_at.unwrap() > now());
                let Who::Named(name, _) = &caller.who else { panic!("{caller:?}") };
                prop_assert_eq!(Some(name.as_str()), claims["sub"].as_str());
            }
        }
    }
}
