//! Certificates and JWTs for tests: CAs and keys as values, and what they issue, revoke and sign.
//!
//! ```
//! use goku_test_pki::{Ca, Subject};
//!
//! let ca = Ca::new("Tests");
//! let server = ca.issue(Subject::server());
//! assert!(server.certificate.contains("BEGIN CERTIFICATE"));
//! ```

#![allow(
    clippy::missing_panics_doc,
    reason = "a test that cannot have its certificates has failed"
)]

mod jwt;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

pub use self::jwt::{JwtAlgorithm, JwtKey, hmac_sha256, jwt_with};

/// The end of what was valid once, after 1970: the year 2020.
const EXPIRED: Duration = Duration::from_secs(1_577_836_800);

/// A CA, with a key of the curve P-256 as all that it issues.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    last_serial: AtomicU64,
}

/// The one to whom a certificate is issued.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    common_name: Option<String>,
    /// DNS names and IP addresses.
    names: Vec<String>,
    uris: Vec<String>,
    until: Option<Duration>,
}

/// A certificate and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
    serial: u64,
}

impl Ca {
    /// A CA of this name.
    pub fn new(name: &str) -> Ca {
        Ca::of(name, CertificateParams::default())
    }

    /// A CA of this name that was valid once.
    pub fn expired(name: &str) -> Ca {
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(1970, 1, 1) + EXPIRED;
        Ca::of(name, params)
    }

    fn of(name: &str, mut params: CertificateParams) -> Ca {
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ca {
            issuer: CertifiedIssuer::self_signed(params, key()).expect("a CA's certificate"),
            last_serial: AtomicU64::new(0),
        }
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A new certificate with a new key.
    pub fn issue(&self, subject: Subject) -> Issued {
        let serial = self.last_serial.fetch_add(1, Ordering::Relaxed) + 1;
        let mut params = CertificateParams::new(subject.names).expect("names of a certificate");
        params.serial_number = Some(SerialNumber::from(serial));
        if let Some(name) = subject.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        for uri in subject.uris {
            let uri = uri.try_into().expect("a URI of ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        if let Some(until) = subject.until {
            params.not_after = date_time_ymd(1970, 1, 1) + until;
        }
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            serial,
        }
    }

    /// A list of revoked certificates, in PEM.
    pub fn revocation_list(&self, revoked: &[&Issued]) -> String {
        self.revocation_list_until(revoked, date_time_ymd(4096, 1, 1).unix_timestamp().unsigned_abs())
    }

    /// A list of revoked certificates, in PEM, after which a newer one was to come so many seconds after 1970.
    pub fn revocation_list_until(&self, revoked: &[&Issued], next_update: u64) -> String {
        let revoked = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: SerialNumber::from(issued.serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(1970, 1, 1) + Duration::from_secs(next_update),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a revocation list");
        list.pem().expect("a revocation list in PEM")
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Subject {
    /// A server at `127.0.0.1` and `localhost`.
    pub fn server() -> Subject {
        Subject::default().name("127.0.0.1").name("localhost")
    }

    /// Somebody with this common name.
    pub fn named(common_name: &str) -> Subject {
        Subject {
            common_name: Some(common_name.to_owned()),
            ..Subject::default()
        }
    }

    /// Adds a DNS name or an IP address.
    pub fn name(mut self, name: &str) -> Subject {
        self.names.push(name.to_owned());
        self
    }

    /// Adds a URI.
    pub fn uri(mut self, uri: &str) -> Subject {
        self.uris.push(uri.to_owned());
        self
    }

    /// Has the certificate be one that was valid once.
    pub fn expired(self) -> Subject {
        self.until(EXPIRED)
    }

    /// Has the certificate be valid until so long after 1970.
    pub fn until(self, until: Duration) -> Subject {
        Subject {
            until: Some(until),
            ..self
        }
    }
}

impl Issued {
    /// Writes `NAME.pem` and `NAME-key.pem`, the latter for nobody else to read, and returns their paths.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}-key.pem"));
        fs::write(&certificate, &self.certificate).expect("a file of a certificate");
        write_secret(&key, &self.key);
        (certificate, key)
    }
}

/// Writes a file that only its owner can read.
pub fn write_secret(path: &Path, content: &str) {
    fs::write(path, content).expect("a file of a secret");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the rights of a file");
    }
}
