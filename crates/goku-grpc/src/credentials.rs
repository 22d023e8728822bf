//! What a request's headers and its connection say of who makes it.

use std::sync::Arc;

use goku::gate::Credentials;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use tonic::Request;

use crate::connection_info::ConnectionInfo;

/// The header in which clients of etcd send a token.
const TOKEN: &str = "token";

/// The scheme of a token in the header `authorization`, as [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750) has it.
const BEARER: &str = "bearer ";

/// The credentials of a request.
pub(crate) fn of<T>(request: &Request<T>) -> Credentials {
    of_parts(request.metadata().as_ref(), request.extensions())
}

/// The credentials of a request with these headers and extensions.
pub(crate) fn of_parts(headers: &HeaderMap, extensions: &Extensions) -> Credentials {
    let connection = extensions.get::<Arc<ConnectionInfo>>();
    let certificate = connection.and_then(|connection| connection.certificate.as_ref());
    let authorization = headers.get(AUTHORIZATION).map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let scheme = text.get(..BEARER.len());
        match scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(BEARER)) {
            true => text[BEARER.len()..].trim().to_owned(),
            // Another scheme, or none: the gate refuses what is no token.
            false => text.into_owned(),
        }
    });
    let token = || {
        headers
            .get(TOKEN)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Credentials {
        token: authorization.or_else(token),
        certificate: certificate.map(|certificate| certificate.names.clone()),
        address: connection
            .and_then(|connection| connection.address)
            .map(|address| address.ip()),
    }
}

#[cfg(test)]
mod tests {
    use goku::gate::CertificateNames;

    use super::*;
    use crate::tls::PeerCertificate;

    #[test]
    fn a_token_is_a_bearer_of_any_case_or_in_a_header_of_its_own() {
        for (name, value, token) in [
            ("authorization", "Bearer abc", "abc"),
            ("authorization", "bearer  abc ", "abc"),
            ("authorization", "Basic abc", "Basic abc"),
            ("authorization", "abc", "abc"),
            ("token", "abc", "abc"),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(
                of_parts(&headers, &Extensions::new()).token.as_deref(),
                Some(token),
                "{name}: {value}"
            );
        }
        assert_eq!(of_parts(&HeaderMap::new(), &Extensions::new()), Credentials::default());
    }

    #[test]
    fn a_connection_tells_the_address_and_the_names_in_the_certificate() {
        let names = CertificateNames {
            dns: vec!["mailer.example".to_owned()],
            ..CertificateNames::default()
        };
        let mut request = Request::new(());
        request.extensions_mut().insert(Arc::new(ConnectionInfo {
            address: Some(([10, 0, 0, 7], 4_700).into()),
            certificate: Some(PeerCertificate {
                der: Vec::new(),
                names: names.clone(),
            }),
        }));
        let credentials = of(&request);
        assert_eq!(credentials.certificate, Some(names));
        assert_eq!(credentials.address, Some([10, 0, 0, 7].into()));
    }
}
