//! URLs of stores.

use goku::Engine;

/// No error about a URL shows a password; the seeds have this one.
const PASSWORD: &str = "hush9hush";

pub(crate) fn run(input: &[u8]) {
    let Ok(url) = std::str::from_utf8(input) else {
        return;
    };
    let Err(error) = Engine::check_url(url) else { return };
    // A URL that has it where passwords are, and nowhere else.
    let authority = url
        .strip_prefix("mysql://")
        .and_then(|rest| rest.split(['/', '?', '#']).next());
    let is_password = authority.is_some_and(|authority| authority.contains(&format!(":{PASSWORD}@")));
    if is_password && url.matches(PASSWORD).count() == 1 {
        let message = error.message();
        assert!(!message.contains(PASSWORD), "{message}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mysql = |rest: &str| format!("mysql://user:{PASSWORD}@{rest}").into_bytes();
    vec![
        b"sqlite::memory:".to_vec(),
        b"sqlite:goku.db".to_vec(),
        b"mysql://p%40ss:p%40ss@h/d".to_vec(),
        mysql("127.0.0.1:3306/goku"),
        mysql("a,b:3307,[::1]:3308/goku"),
        mysql("a/goku?ssl-mode=verify-identity&ssl-ca=%2Fca.pem"),
        mysql("a/goku?ssl-mode=required&ssl-cert=c.pem&ssl-key=k.pem"),
        mysql("a/goku?ssl-mode=disabled"),
        mysql("a/goku?other=1"),
        mysql("a:99999/goku"),
    ]
}
