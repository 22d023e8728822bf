//! The database servers that tests run on: MariaDB as it is installed, and those that are unpacked.

use std::path::Path;

use goku_mariadbd::{Dialect, Installation, Options};

/// Each case on each server that there is.
macro_rules! on_every_server {
    ($($case:ident),* $(,)?) => {
        on_every_server!(mariadb: installed; $($case),*);
        on_every_server!(mariadb11: mariadb11; $($case),*);
        on_every_server!(mysql: mysql; $($case),*);
    };
    ($server:ident: $options:ident; $($case:ident),*) => {
        mod $server {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    match $crate::servers::$options() {
                        Some(options) => super::$case(options).await,
                        None => println!("not unpacked: `cargo xtask engines` does that"),
                    }
                }
            )*
        }
    };
}

/// MariaDB as it is installed.
pub(crate) fn installed() -> Option<Options> {
    Some(Options::default())
}

/// MariaDB 11; none where it was not unpacked.
pub(crate) fn mariadb11() -> Option<Options> {
    unpacked("mariadb11", Dialect::MariaDb)
}

/// MySQL 9; none where it was not unpacked.
pub(crate) fn mysql() -> Option<Options> {
    unpacked("mysql", Dialect::MySql)
}

/// How a server is started that `cargo xtask engines` has unpacked.
fn unpacked(name: &str, dialect: Dialect) -> Option<Options> {
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines");
    let installation = Installation::unpacked(&engines.join(name), dialect).ok()?;
    Some(Options {
        installation: Some(installation),
        ..Options::default()
    })
}
