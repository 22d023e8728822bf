//! The URL of a store as it may be shown.

/// `url` with `***` in the place of its password.
///
/// A password is whatever lies between the first colon after the scheme and the last `@`, so that characters that
/// should have been escaped do not show either.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_string();
    };
    let Some((user_and_password, host)) = rest.rsplit_once('@') else {
        return url.to_string();
    };
    match user_and_password.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
        None => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_shows() {
        for (url, shown) in [
            ("sqlite:goku.db", "sqlite:goku.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("sqlite:dir:a@b", "sqlite:dir:a@b"),
            ("mysql://root@localhost/goku", "mysql://root@localhost/goku"),
            ("mysql://root:secret@db:3306/goku", "mysql://root:***@db:3306/goku"),
            ("mysql://root:se:cr@et/@db/goku", "mysql://root:***@db/goku"),
            ("mysql://db/goku", "mysql://db/goku"),
            ("mysql://root:secret@a:1,b/goku", "mysql://root:***@a:1,b/goku"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
