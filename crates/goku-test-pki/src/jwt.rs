//! JWTs for tests: keys as values, and what they sign.

use std::io::Write;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// An algorithm by which JWTs are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// RSA with SHA-256, keys of 2,048 bits.
    Rs256,
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// A key that signs JWTs.
pub struct JwtKey {
    id: String,
    pair: Pair,
}

enum Pair {
    Rs256(Box<RsaKeyPair>),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl JwtKey {
    /// A new key with this `kid`.
    pub fn new(algorithm: JwtAlgorithm, id: &str) -> JwtKey {
        let pair = match algorithm {
            JwtAlgorithm::Rs256 => Pair::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))),
            JwtAlgorithm::Es256 => {
                Pair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
            }
            JwtAlgorithm::EdDsa => Pair::EdDsa(Ed25519KeyPair::generate().expect("a key")),
        };
        JwtKey {
            id: id.to_owned(),
            pair,
        }
    }

    /// The name of its algorithm in headers.
    pub fn algorithm_name(&self) -> &'static str {
        match &self.pair {
            Pair::Rs256(_) => "RS256",
            Pair::Es256(_) => "ES256",
            Pair::EdDsa(_) => "EdDSA",
        }
    }

    /// The public key as a JWK, without `alg` and `use`.
    pub fn jwk(&self) -> Value {
        let id = &self.id;
        match &self.pair {
            Pair::Rs256(pair) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "kid": id, "n": text(&parts.n), "e": text(&parts.e) })
            }
            Pair::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": text(x), "y": text(y) })
            }
            Pair::EdDsa(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": text(pair.public_key().as_ref()) })
            }
        }
    }

    /// A JWT with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": self.algorithm_name(), "kid": self.id });
        jwt_with(&header, claims, |text| self.signature(text))
    }

    /// The signature of a text.
    pub fn signature(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
                    .expect("a signature");
                signature
            }
            Pair::Es256(pair) => pair.sign(&random, text).expect("a signature").as_ref().to_vec(),
            Pair::EdDsa(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }

    /// The public key as whoever attacks its verifier may have it: the bytes alone, in DER, in PEM with and without the end of the
    /// last line, and the JWK.
    pub fn public_forms(&self) -> Vec<Vec<u8>> {
        let (raw, der): (&[u8], PublicKeyX509Der<'_>) = match &self.pair {
            Pair::Rs256(pair) => (pair.public_key().as_ref(), pair.public_key().as_der().expect("DER")),
            Pair::Es256(pair) => (pair.public_key().as_ref(), pair.public_key().as_der().expect("DER")),
            Pair::EdDsa(pair) => (pair.public_key().as_ref(), pair.public_key().as_der().expect("DER")),
        };
        let mut pem = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
        for line in STANDARD.encode(der.as_ref()).as_bytes().chunks(64) {
            pem.extend(line);
            pem.push(b'\n');
        }
        pem.write_all(b"-----END PUBLIC KEY-----").expect("a text in memory");
        let with_end = [&pem, &b"\n"[..]].concat();
        let jwk = self.jwk().to_string().into_bytes();
        vec![raw.to_vec(), der.as_ref().to_vec(), pem, with_end, jwk]
    }
}

/// A JWT with this header and these claims, and the signature that `sign` gives their text.
pub fn jwt_with(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!(
        "{}.{}",
        text(header.to_string().as_bytes()),
        text(claims.to_string().as_bytes())
    );
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", text(&signature))
}

/// HMAC with SHA-256, by which those sign who share a secret.
pub fn hmac_sha256(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, text).as_ref().to_vec()
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
