//! The files of TLS: certificates, CAs and revocation lists.

use std::fs;
use std::sync::OnceLock;

use goku_grpc::{ClientAuth, ServerTls, ServerTlsFiles};
use goku_test_pki::{Ca, Subject};
use tempfile::TempDir;

/// A folder with good files, and what they hold.
struct Pki {
    folder: TempDir,
    files: ServerTlsFiles,
    certificate: String,
    ca: String,
    crl: String,
}

impl Pki {
    fn of_this_process() -> &'static Pki {
        static PKI: OnceLock<Pki> = OnceLock::new();
        PKI.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let ca = Ca::new("Clients");
            let issued = ca.issue(Subject::server());
            let (certificate, key) = issued.write(folder.path(), "server");
            let crl = ca.revocation_list(&[&issued]);
            fs::write(folder.path().join("ca.pem"), ca.certificate()).unwrap();
            Pki {
                files: ServerTlsFiles {
                    certificate,
                    key,
                    client_ca: Some(folder.path().join("ca.pem")),
                    client_crl: None,
                    client_auth: ClientAuth::Required,
                    http1_client_auth: None,
                },
                folder,
                certificate: issued.certificate,
                ca: ca.certificate(),
                crl,
            }
        })
    }
}

/// The first byte says in the place of which file the others are.
pub(crate) fn run(input: &[u8]) {
    let Some((place, content)) = input.split_first() else {
        return;
    };
    let pki = Pki::of_this_process();
    let mut files = pki.files.clone();
    let path = pki.folder.path().join("fuzzed.pem");
    fs::write(&path, content).unwrap();
    match place % 3 {
        0 => files.client_crl = Some(path),
        1 => files.client_ca = Some(path),
        _ => files.certificate = path,
    }
    match ServerTls::load(files) {
        Ok(tls) => {
            assert!(tls.expires_at().as_millis() > 0);
            let _ = tls.crl_next_update();
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let pki = Pki::of_this_process();
    let seed = |place: u8, content: &str| [&[place], content.as_bytes()].concat();
    vec![
        seed(0, &pki.crl),
        seed(0, &[pki.crl.as_str(), &pki.crl].concat()),
        seed(1, &pki.ca),
        seed(1, &[pki.ca.as_str(), &pki.certificate].concat()),
        seed(2, &pki.certificate),
        seed(2, &[pki.certificate.as_str(), &pki.ca].concat()),
    ]
}
