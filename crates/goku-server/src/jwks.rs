//! The keys of a JWKS file, by which the signatures of JWTs are verified.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use goku::gate::{JwtClaims, JwtVerifier};
use goku::reloaded_files::{ChangedFiles, FromFiles, ReloadedFiles};
use goku::{Error, ErrorKind, Result, Timestamp, secret_file};
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation, decode, decode_header};

use crate::exposition::Family;
use crate::metrics_endpoint::Collector;

/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Keys of a file that are used.
const KEYS_MAX: usize = 100;

/// Bits of an RSA key. Shorter ones are too weak, longer ones take too long.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Bytes of a key of P-256, both coordinates after the mark of a point that is not compressed, and of one of Ed25519.
const P256_BYTES: usize = 65;
const ED25519_BYTES: usize = 32;

/// The changes of the file that could not be used.
const RELOAD_FAILURES: &str = "goku_jwks_reload_failures_total";

/// The keys of a JWKS file ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)), read again when it changes. Clones share them.
#[derive(Clone)]
pub(crate) struct Jwks(ReloadedFiles<JwksFile>);

struct JwksFile {
    path: PathBuf,
    /// The number of the keys that were made last.
    last_number: AtomicU64,
}

struct Keys {
    number: u64,
    keys: Vec<VerifyingKey>,
}

/// A public key. Its algorithm follows from the key alone, and not from what is signed by it.
struct VerifyingKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A file that has changed and can be used.
pub(crate) struct ChangedJwks(ChangedFiles<JwksFile>);

impl ChangedJwks {
    /// Uses its keys from now on.
    pub(crate) fn take(self) {
        self.0.take();
    }
}

impl Jwks {
    /// Reads the file. It blocks.
    ///
    /// # Errors
    ///
    /// - `Config`: the file cannot be read, or holds no key that can be used. The message names it.
    pub(crate) fn load(path: impl Into<PathBuf>) -> Result<Jwks> {
        let file = JwksFile {
            path: path.into(),
            last_number: AtomicU64::new(0),
        };
        // Named, as for TLS: where a program has two, jsonwebtoken takes none by itself. One that is there already stays.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        ReloadedFiles::load(file).map(Jwks)
    }

    /// Reads the file again and checks it, without taking it; `None` where it has not changed. It blocks.
    pub(crate) fn check(&self) -> Result<Option<ChangedJwks>> {
        Ok(self.0.check()?.map(ChangedJwks))
    }

    /// Reloads the file when it changes, for ever.
    pub(crate) async fn watch(&self) {
        self.0.watch().await;
    }
}

impl JwtVerifier for Jwks {
    fn verify(&self, jwt: &str) -> Result<JwtClaims> {
        let header = decode_header(jwt).map_err(|_| {
            unauthenticated(
                "the credentials are neither a token, which begins with goku_, nor a JWT that is signed by RS256, ES256 or \
                 EdDSA",
            )
        })?;
        let keys = self.0.current();
        let key = keys.find(header.alg, header.kid.as_deref())?;
        let decoded = decode::<JwtClaims>(jwt, &key.key, &signature_only(key.algorithm));
        // The error may show some of the JWT.
        let decoded = decoded.map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => {
                unauthenticated("the signature of the JWT is not that of the key that it names")
            }
            _ => unauthenticated(
                "the JWT has a form that is not taken here: its claims are an object, and it has no crit",
            ),
        })?;
        Ok(decoded.claims)
    }

    fn keys_number(&self) -> u64 {
        self.0.current().number
    }
}

/// Has the signature verified, by this algorithm alone. The gate checks what is claimed.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

impl Keys {
    /// The one key of this algorithm and id.
    fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Result<&VerifyingKey> {
        let fits =
            |key: &&VerifyingKey| key.algorithm == algorithm && id.is_none_or(|id| key.id.as_deref() == Some(id));
        let mut fitting = self.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(unauthenticated(
                "the JWT is signed by a key that is not among those that are trusted here",
            )),
            (Some(_), Some(_)) => Err(unauthenticated(
                "several keys that are trusted here may have signed the JWT: have its issuer name the key (kid)",
            )),
        }
    }
}

impl FromFiles for JwksFile {
    type Contents = Vec<u8>;
    type Made = Keys;
    const RELOADED: &'static str = "the JWKS file was reloaded";
    const NOT_RELOADED: &'static str = "the JWKS file was not reloaded: the keys of before stay in use";

    fn read(&self) -> Result<Vec<u8>> {
        secret_file::read_public(&self.path, FILE_BYTES_MAX)
    }

    fn make(&self, contents: &Vec<u8>, _: Timestamp) -> Result<Keys> {
        let path = self.path.display();
        let set: JwkSet = serde_json::from_slice(contents).map_err(|error| {
            config(format!(
                "{path} is no set of keys (JWKS), which is {{\"keys\": […]}} in JSON: {error}"
            ))
        })?;
        let mut keys = Vec::new();
        for jwk in &set.keys {
            keys.extend(usable(&self.path, jwk)?);
        }
        if keys.is_empty() {
            return Err(config(format!(
                "{path} holds no key by which a signature can be verified: keys for RS256, ES256 (P-256) and EdDSA (Ed25519) are"
            )));
        }
        if keys.len() > KEYS_MAX {
            return Err(config(format!(
                "{path} holds {} keys, {KEYS_MAX} at most may be used",
                keys.len()
            )));
        }
        for (place, key) in keys.iter().enumerate() {
            let is_same = |other: &VerifyingKey| other.algorithm == key.algorithm && other.id == key.id;
            if key.id.is_some() && keys[..place].iter().any(is_same) {
                let id = key.id.as_deref().unwrap_or_default();
                return Err(config(format!(
                    "{path} holds two keys with the kid {id:?}: name each of them otherwise"
                )));
            }
        }
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Keys { number, keys })
    }
}

/// The key as one that verifies signatures; `None` for one that is for something else. `Config` where it is no such key.
fn usable(path: &Path, jwk: &Jwk) -> Result<Option<VerifyingKey>> {
    let common = &jwk.common;
    let id = &common.key_id;
    let algorithm = match (&jwk.algorithm, common.key_algorithm) {
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Some(Algorithm::RS256),
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
            if key.curve == EllipticCurve::P256 =>
        {
            Some(Algorithm::ES256)
        }
        (AlgorithmParameters::OctetKeyPair(key), None | Some(KeyAlgorithm::EdDSA))
            if key.curve == EllipticCurve::Ed25519 =>
        {
            Some(Algorithm::EdDSA)
        }
        _ => None,
    };
    let signs = common
        .public_key_use
        .as_ref()
        .is_none_or(|of| *of == PublicKeyUse::Signature);
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|all| all.contains(&KeyOperations::Verify));
    let Some(algorithm) = algorithm.filter(|_| signs && verifies) else {
        tracing::info!(file = %path.display(), kid = id, "a key of a JWKS file is not used: it is for something else");
        return Ok(None);
    };
    let broken = |why: &str| {
        let id = id.as_deref().unwrap_or_default();
        config(format!("the key {id:?} in {} cannot be used: {why}", path.display()))
    };
    let key = DecodingKey::from_jwk(jwk).map_err(|error| broken(&error.to_string()))?;
    let key = match key.kind() {
        // Some programs write a zero before a modulus, as in DER. It is none of its bytes.
        DecodingKeyKind::RsaModulusExponent { n, e } if n.first() == Some(&0) => {
            let zeros = n.iter().take_while(|byte| **byte == 0).count();
            DecodingKey::from_rsa_raw_components(&n[zeros..], e)
        }
        _ => key,
    };
    match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) if !RSA_BITS.contains(&bits(n)) => {
            Err(broken(&format!(
                "it has {} bits, those of RSA have {} to {}",
                bits(n),
                RSA_BITS.start(),
                RSA_BITS.end()
            )))
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) if point.len() != P256_BYTES => {
            Err(broken("its coordinates have not the length of those of P-256"))
        }
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) if point.len() != ED25519_BYTES => {
            Err(broken("it has not the length of one of Ed25519"))
        }
        _ => Ok(Some(VerifyingKey {
            id: id.clone(),
            algorithm,
            key,
        })),
    }
}

/// The bits of a number whose most significant byte is the first.
fn bits(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |first| 8 * number.len() - first.leading_zeros() as usize)
}

/// Tells of the file's reloads.
#[async_trait]
impl Collector for Jwks {
    async fn collect(&self) -> String {
        let mut failures = Family::counter(RELOAD_FAILURES, "Changes of the JWKS file that could not be used.");
        failures.sample(&[], self.0.reload_failures() as f64);
        failures.text()
    }
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn unauthenticated(message: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, message)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use goku_test_pki::{JwtAlgorithm, JwtKey};
    use serde_json::{Value, json};

    use super::*;

    struct World {
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> World {
            World {
                folder: tempfile::tempdir().unwrap(),
            }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("jwks.json")
        }

        fn put(&self, keys: &[Value]) {
            fs::write(self.path(), json!({ "keys": keys }).to_string()).unwrap();
        }

        fn load(&self, keys: &[Value]) -> Result<Jwks> {
            self.put(keys);
            Jwks::load(self.path())
        }
    }

    fn with(jwk: Value, changes: Value) -> Value {
        let (Value::Object(mut jwk), Value::Object(changes)) = (jwk, changes) else {
            unreachable!()
        };
        jwk.extend(changes);
        jwk.retain(|_, value| !value.is_null());
        Value::Object(jwk)
    }

    fn refused(jwks: &Jwks, jwt: &str) -> String {
        let error = jwks.verify(jwt).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(!error.to_string().contains(jwt) || jwt.is_empty(), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn what_a_trusted_key_has_signed_is_genuine_and_nothing_else_is() {
        let world = World::new();
        let claims = json!({ "sub": "ci", "exp": 1 });
        for algorithm in [JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa] {
            let (key, foreign) = (JwtKey::new(algorithm, "a"), JwtKey::new(algorithm, "a"));
            let jwks = world.load(&[key.jwk()]).unwrap();
            let good = key.sign(&claims);
            // Whether it has expired is not asked here.
            assert_eq!(Value::Object(jwks.verify(&good).unwrap()), claims);
            assert!(refused(&jwks, &foreign.sign(&claims)).contains("the signature"));
            let mut parts: Vec<_> = good.split('.').map(str::to_owned).collect();
            let (header, signature) = (parts[0].clone(), parts[2].clone());
            let other = key.sign(&json!({ "sub": "root", "exp": 1 }));
            parts[1] = other.split('.').nth(1).unwrap().to_owned();
            assert!(refused(&jwks, &parts.join(".")).contains("the signature"));
            for broken in [
                "",
                "abc",
                "a.b.c",
                "..",
                &header,
                &format!("{header}.{signature}"),
                &format!("{good}.{signature}"),
            ] {
                assert!(refused(&jwks, broken).contains("nor a JWT"), "{broken}");
            }
            refused(&jwks, &format!("{header}..{signature}"));
            refused(&jwks, good.trim_end_matches(&signature));
        }
    }

    /// The header of a JWT chooses nothing: not that there is no signature, nor that a public key is a secret.
    #[test]
    fn a_jwt_does_not_say_how_it_is_verified() {
        let world = World::new();
        let claims = json!({ "sub": "root", "exp": 1 });
        let keys = [JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa]
            .map(|algorithm| JwtKey::new(algorithm, "a"));
        let jwks = world.load(&keys.each_ref().map(JwtKey::jwk)).unwrap();
        for header in [
            json!({ "alg": "none" }),
            json!({ "alg": "None", "kid": "a" }),
            json!({ "kid": "a" }),
        ] {
            let unsigned = goku_test_pki::jwt_with(&header, &claims, |_| Vec::new());
            assert!(refused(&jwks, &unsigned).contains("nor a JWT"), "{header}");
        }
        for key in &keys {
            for secret in key.public_forms() {
                for header in [json!({ "alg": "HS256", "kid": "a" }), json!({ "alg": "HS256" })] {
                    let forged =
                        goku_test_pki::jwt_with(&header, &claims, |text| goku_test_pki::hmac_sha256(&secret, text));
                    assert!(refused(&jwks, &forged).contains("not among those"), "{header}");
                }
            }
            // Nor by another algorithm of a key of the same kind, or of another.
            for algorithm in ["RS512", "PS256", "ES384", "RS256", "ES256", "EdDSA"] {
                let header = json!({ "alg": algorithm, "kid": "a" });
                let relabelled = goku_test_pki::jwt_with(&header, &claims, |text| key.signature(text));
                let is_own = algorithm == key.algorithm_name();
                assert_eq!(jwks.verify(&relabelled).is_ok(), is_own, "{header}");
            }
        }
        // A secret among the keys is none by which anything is verified.
        let secret = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": "c2VjcmV0" });
        let jwks = world.load(&[keys[1].jwk(), secret.clone()]).unwrap();
        let header = json!({ "alg": "HS256", "kid": "s" });
        let signed = goku_test_pki::jwt_with(&header, &claims, |text| goku_test_pki::hmac_sha256(b"secret", text));
        assert!(refused(&jwks, &signed).contains("not among those"));
        assert!(world.load(&[secret]).is_err());
        // What a header demands to be understood is not.
        let header = json!({ "alg": "ES256", "kid": "a", "crit": ["x"], "x": 1 });
        let critical = goku_test_pki::jwt_with(&header, &claims, |text| keys[1].signature(text));
        assert!(refused(&jwks, &critical).contains("crit"));
    }

    #[test]
    fn a_key_is_found_by_its_id_and_without_one_where_it_is_the_only_one() {
        let world = World::new();
        let claims = json!({ "sub": "ci" });
        let (a, b) = (
            JwtKey::new(JwtAlgorithm::Es256, "a"),
            JwtKey::new(JwtAlgorithm::Es256, "b"),
        );
        let other = JwtKey::new(JwtAlgorithm::EdDsa, "c");
        let without_id = |key: &JwtKey| {
            let header = json!({ "alg": key.algorithm_name() });
            goku_test_pki::jwt_with(&header, &claims, |text| key.signature(text))
        };
        let jwks = world.load(&[a.jwk(), b.jwk(), other.jwk()]).unwrap();
        for key in [&a, &b, &other] {
            jwks.verify(&key.sign(&claims)).unwrap();
        }
        assert!(refused(&jwks, &without_id(&a)).contains("(kid)"));
        jwks.verify(&without_id(&other)).unwrap();
        let stranger = JwtKey::new(JwtAlgorithm::EdDsa, "d");
        assert!(refused(&jwks, &stranger.sign(&claims)).contains("not among those"));
        // A key without an id is that of whoever names none.
        let jwks = world.load(&[with(a.jwk(), json!({ "kid": null }))]).unwrap();
        jwks.verify(&without_id(&a)).unwrap();
        assert!(refused(&jwks, &a.sign(&claims)).contains("not among those"));
    }

    #[test]
    fn a_file_without_a_key_that_can_be_used_is_refused_with_what_it_takes() {
        let world = World::new();
        let key = JwtKey::new(JwtAlgorithm::Es256, "a").jwk();
        let ed = JwtKey::new(JwtAlgorithm::EdDsa, "b").jwk();
        let refused = |keys: &[Value]| world.load(keys).err().unwrap().message().to_owned();
        for changes in [
            json!({ "use": "enc" }),
            json!({ "alg": "ES384" }),
            json!({ "alg": "HS256" }),
            json!({ "crv": "secp256k1" }),
            json!({ "key_ops": ["sign"] }),
            json!({ "kty": "XY" }),
        ] {
            let unused = with(key.clone(), changes.clone());
            assert!(
                refused(std::slice::from_ref(&unused)).contains("holds no key"),
                "{changes}"
            );
            // Beside one that is for signatures it does no harm.
            assert_eq!(
                world.load(&[unused, ed.clone()]).unwrap().0.current().keys.len(),
                1,
                "{changes}"
            );
        }
        assert!(refused(&[]).contains("holds no key"));
        assert!(refused(&[key.clone(), key.clone()]).contains("two keys with the kid \"a\""));
        assert!(refused(&[with(key.clone(), json!({ "x": "AAAA" }))]).contains("P-256"));
        assert!(refused(&[with(key.clone(), json!({ "x": "?" }))]).contains("\"a\""));
        assert!(refused(&[with(ed, json!({ "x": "AAAA" }))]).contains("Ed25519"));
        let short = json!({ "kty": "RSA", "kid": "r", "n": "AAH_", "e": "AQAB" });
        assert!(
            refused(&[short]).contains("it has 9 bits"),
            "a zero before it is none of its bits"
        );
        let many: Vec<_> = (0..=KEYS_MAX)
            .map(|n| with(key.clone(), json!({ "kid": n.to_string() })))
            .collect();
        assert!(refused(&many).contains("100 at most"));
        for text in ["", "{}", "[]", "-----BEGIN PUBLIC KEY-----"] {
            fs::write(world.path(), text).unwrap();
            let refused = Jwks::load(world.path()).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(refused.message().contains("is no set of keys"), "{text}: {refused}");
        }
        fs::remove_file(world.path()).unwrap();
        assert!(
            Jwks::load(world.path())
                .err()
                .unwrap()
                .message()
                .contains("cannot read")
        );
    }

    #[tokio::test]
    async fn other_keys_have_another_number_and_a_file_that_cannot_be_used_changes_nothing() {
        let world = World::new();
        let claims = json!({ "sub": "ci" });
        let (a, b) = (
            JwtKey::new(JwtAlgorithm::Es256, "a"),
            JwtKey::new(JwtAlgorithm::Es256, "b"),
        );
        let jwks = world.load(&[a.jwk()]).unwrap();
        let number = jwks.keys_number();
        assert!(jwks.check().unwrap().is_none());
        world.put(&[b.jwk()]);
        let changed = jwks.check().unwrap().unwrap();
        assert_eq!(jwks.keys_number(), number);
        jwks.verify(&a.sign(&claims)).unwrap();
        changed.take();
        assert_ne!(jwks.keys_number(), number);
        jwks.verify(&b.sign(&claims)).unwrap();
        refused(&jwks, &a.sign(&claims));

        world.put(&[]);
        assert!(jwks.check().is_err());
        jwks.verify(&b.sign(&claims)).unwrap();
        assert!(jwks.collect().await.ends_with("goku_jwks_reload_failures_total{} 1\n"));
    }
}
