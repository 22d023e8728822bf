//! The first administrator of a store, by a token that a file holds.

use std::path::Path;

use goku::access::{AccessName, Auth, Role, SettingValue, Token, TokenRecord, has_administrator};
use goku::{
    Admin, Clock, ConfigureRequest, Error, ErrorKind, Result, Setting, SettingCondition, SystemClock, all_settings,
    secret_file,
};

/// The identity of whoever has the token.
const IDENTITY: &str = "bootstrap";

/// The role of administrators, as `goku auth init` makes it.
const ROLE: &str = "admin";

/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 4 * 1024;

/// Attempts while other servers do the same.
const ATTEMPTS_MAX: usize = 5;

/// Makes the token in `file` one of an administrator where the store has none, and with `enable` has rights asked for from then
/// on; else the file is not read.
///
/// # Errors
///
/// - `Config`: the file cannot be read, is open to others, or holds no token.
/// - `Unavailable`: the store cannot be asked.
pub(crate) async fn run(admin: &impl Admin, file: &Path, enable: bool) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let settings = all_settings(admin, "").await?;
        if has_administrator(&settings, SystemClock.now()) {
            tracing::info!(file = %file.display(), "the store has an administrator: the bootstrap token is not read");
            return Ok(());
        }
        let token = read(file)?;
        if is_known(&settings, &token) {
            tracing::warn!(
                file = %file.display(),
                "the bootstrap token is an old one of this store, which has no administrator: put a new one in its place, \
                 which `goku auth token` makes"
            );
            return Ok(());
        }
        match admin.configure_all(requests(&settings, &token, enable)?).await {
            Ok(_) => {
                let rights = match enable {
                    true => "rights are asked for",
                    false => "rights are asked for once `goku auth enable` was called with it",
                };
                tracing::info!(
                    file = %file.display(),
                    "the bootstrap token is an administrator's from now on, of the identity {IDENTITY}: {rights}"
                );
                return Ok(());
            }
            // Another server was first, or this one was and was not told so.
            Err(error) if matches!(error.kind(), ErrorKind::ConditionFailed | ErrorKind::OutcomeUnknown) => {}
            // Servers of an earlier version beside this one, which are to go on serving.
            Err(error) => {
                tracing::warn!(%error, "the bootstrap token was not made an administrator's: the next start tries again");
                return Ok(());
            }
        }
    }
    let message =
        "the bootstrap token was not made an administrator's, as the settings are changed all the time: try again";
    Err(Error::new(ErrorKind::Unavailable, message))
}

/// The changes by which the token becomes an administrator's, on condition that nobody else makes one by the same role.
fn requests(settings: &[Setting], token: &Token, enable: bool) -> Result<Vec<ConfigureRequest>> {
    let name = AccessName::new(ROLE)?;
    let role = Role::everything().to_request(&name)?;
    let before = settings.iter().find(|setting| setting.name == role.name);
    let condition = match before {
        Some(before) => SettingCondition::Rev(before.rev),
        None => SettingCondition::Absent,
    };
    let record = TokenRecord {
        roles: vec![name],
        ..TokenRecord::new(token, AccessName::new(IDENTITY)?)
    };
    let made = record.to_request(&record.default_id()?)?;
    let mut requests = vec![role.condition(condition), made.condition(SettingCondition::Absent)];
    if enable {
        requests.push(Auth { enabled: true }.to_request()?);
    }
    Ok(requests)
}

fn is_known(settings: &[Setting], token: &Token) -> bool {
    let mut known = settings.iter().filter_map(|setting| TokenRecord::of(setting).ok());
    known.any(|(_, record)| record.sha256 == token.hash())
}

fn read(file: &Path) -> Result<Token> {
    let bytes = secret_file::read(file, FILE_BYTES_MAX)?;
    let token = std::str::from_utf8(&bytes).unwrap_or_default().trim().parse();
    token.map_err(|error: Error| {
        let message = format!(
            "{} holds no token, which `goku auth token` makes: {}",
            file.display(),
            error.message()
        );
        Error::new(ErrorKind::Config, message)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use goku::Engine;
    use goku::access::Identity;
    use goku::gate::Gate;
    use tempfile::TempDir;

    use super::*;

    /// A file that holds this text.
    fn file(text: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        (folder, path)
    }

    async fn names(engine: &Engine) -> Vec<String> {
        let settings = all_settings(engine, "").await.unwrap();
        settings.iter().map(|setting| setting.name.to_string()).collect()
    }

    #[tokio::test]
    async fn the_token_of_the_file_is_an_administrators_where_there_is_none() {
        let engine = Engine::open("sqlite::memory:").await.unwrap();
        let token = Token::random().unwrap();
        let (_folder, path) = file(&format!("{}\n", token.reveal()));
        run(&engine, &path, false).await.unwrap();
        let id = token.hash().to_string()[..10].to_owned();
        assert_eq!(names(&engine).await, ["role/admin".to_owned(), format!("token/{id}")]);
        // Not read any more.
        run(&engine, Path::new("/nowhere/at/all"), false).await.unwrap();
    }

    #[tokio::test]
    async fn rights_are_asked_for_with_the_first_administrator_where_that_is_wanted() {
        let engine = Engine::open("sqlite::memory:").await.unwrap();
        let (_folder, path) = file(Token::random().unwrap().reveal());
        run(&engine, &path, true).await.unwrap();
        assert!(names(&engine).await.contains(&"auth".to_owned()));
        assert!(Gate::guarding(engine).await.unwrap().asks_for_rights().await.unwrap());
    }

    /// A token that was let expire must not come back by a restart.
    #[tokio::test]
    async fn an_old_token_of_the_store_is_not_an_administrators_again() {
        let engine = Engine::open("sqlite::memory:").await.unwrap();
        let token = Token::random().unwrap();
        let record = TokenRecord {
            expires_at_ms: Some(1),
            ..TokenRecord::new(&token, AccessName::new("x").unwrap())
        };
        let id = AccessName::new("old").unwrap();
        engine.configure(record.to_request(&id).unwrap()).await.unwrap();
        let (_folder, path) = file(token.reveal());
        run(&engine, &path, false).await.unwrap();
        assert_eq!(names(&engine).await, ["token/old"]);
    }

    #[tokio::test]
    async fn an_identity_with_the_role_is_an_administrator() {
        let engine = Engine::open("sqlite::memory:").await.unwrap();
        let name = |name: &str| AccessName::new(name).unwrap();
        let identity = Identity {
            roles: vec![name("ops")],
        };
        let requests = vec![
            Role::everything().to_request(&name("ops")).unwrap(),
            identity.to_request(&name("alice")).unwrap(),
        ];
        engine.configure_all(requests).await.unwrap();
        run(&engine, Path::new("/nowhere/at/all"), false).await.unwrap();
        assert_eq!(names(&engine).await, ["identity/alice", "role/ops"]);
    }

    #[tokio::test]
    async fn a_file_that_holds_no_token_is_refused_without_telling_what_it_holds() {
        let engine = Engine::open("sqlite::memory:").await.unwrap();
        for text in ["", "hush", "goku_hush", "\u{0}"] {
            let (_folder, path) = file(text);
            let error = run(&engine, &path, false).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(error.message().contains("`goku auth token`"), "{error}");
            assert!(!error.message().contains("hush"), "{error}");
        }
        let (_folder, path) = file(Token::random().unwrap().reveal());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = run(&engine, &path, false).await.unwrap_err();
        assert!(error.message().contains("chmod o="), "{error}");
        assert_eq!(names(&engine).await, [""; 0]);
    }
}
