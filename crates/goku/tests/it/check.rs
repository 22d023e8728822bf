//! Findings about SQLite files that are not as they should be.

use goku::check::{self, Finding, Severity};
use goku::{Client, ConsumerName, CursorId, CursorMove, Engine, Key, SetRequest, SystemClock};
use rusqlite::Connection;
use tempfile::TempDir;

async fn found(folder: &TempDir, name: &str) -> Finding {
    let url = format!("sqlite:{}", folder.path().join("goku.db").display());
    let findings = check::store(&url, false, SystemClock).await.unwrap();
    let finding = findings.iter().find(|finding| finding.subject.name == name);
    finding
        .unwrap_or_else(|| panic!("nothing about {name}: {findings:#?}"))
        .clone()
}

/// A store with two events, and the cursor of a consumer at the first.
async fn store() -> TempDir {
    let folder = TempDir::new().unwrap();
    let engine = Engine::open(&format!("sqlite:{}", folder.path().join("goku.db").display()))
        .await
        .unwrap();
    let set = |value: &str| engine.set(SetRequest::new(Key::new("k").unwrap(), value.to_owned()));
    set("1").await.unwrap();
    let first = engine.status().await.unwrap().head;
    set("2").await.unwrap();
    let id = CursorId {
        consumer: ConsumerName::new("mailer").unwrap(),
        partition: 0,
    };
    let moved = engine.move_cursors(vec![CursorMove::forward(id, first)]).await.unwrap();
    assert!(moved.iter().all(Result::is_ok), "{moved:?}");
    engine.close().await;
    folder
}

#[tokio::test]
async fn what_is_wrong_in_a_file_is_found() {
    for (statement, name, severity, told) in [
        (
            "update cursors set moved_at = 0",
            "cursors",
            Severity::Warning,
            "\"mailer\"",
        ),
        ("update cursors set epoch = 7", "epoch", Severity::Warning, "\"mailer\""),
        (
            "insert into goku_settings values (cast('role/reader' as blob), 'no JSON', 1, 0, null)",
            "settings",
            Severity::Error,
            "role/reader",
        ),
        ("update head set format = 2", "format", Severity::Warning, "format 2"),
        ("update head set format = 99", "format", Severity::Error, "format 99"),
        (
            "pragma journal_mode = delete",
            "journal_mode",
            Severity::Warning,
            "delete",
        ),
    ] {
        let folder = store().await;
        assert_eq!(found(&folder, name).await.severity, Severity::Ok, "{name}");
        let connection = Connection::open(folder.path().join("goku.db")).unwrap();
        connection.execute_batch(statement).unwrap();
        drop(connection);
        let finding = found(&folder, name).await;
        assert_eq!(finding.severity, severity, "{}", finding.message);
        assert!(finding.message.contains(told), "{}", finding.message);
    }
}

#[tokio::test]
async fn a_file_of_another_program_is_told_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let connection = Connection::open(folder.path().join("goku.db")).unwrap();
    connection.execute_batch("create table users (id integer)").unwrap();
    drop(connection);
    let before = std::fs::read(folder.path().join("goku.db")).unwrap();
    let finding = found(&folder, "tables").await;
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.message.contains("users"), "{}", finding.message);
    assert_eq!(std::fs::read(folder.path().join("goku.db")).unwrap(), before);
    std::fs::write(folder.path().join("goku.db"), vec![b'x'; 4_096]).unwrap();
    assert_eq!(found(&folder, "integrity").await.severity, Severity::Error);
}
