//! Keys that a store might take for something else.
//!
//! The original compared keys by a collation, so that `A`, `a`, `á` and `a ` were one key, and took `%`, `_` and `\` of
//! a prefix for wildcards.

use goku::{ErrorKind, Key};

use crate::probe::{Probe, kind, list, watch};

/// Each differs from some other only by what careless stores do not see.
fn hostile() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "A",
        "á",
        "Á",
        "a\u{301}",
        "a ",
        " a",
        "a\t",
        "a\n",
        "a\0",
        "\0",
        "\0a",
        "\u{1}",
        "%",
        "_",
        "\\",
        "a%",
        "a_",
        "a\\",
        "a\\b",
        "a%b",
        "a_b",
        "axb",
        "a/b",
        "'",
        "\"",
        "`",
        "';--",
        "/*",
        "?",
        "*",
        "[a]",
        "ß",
        "ss",
        "ẞ",
        "ſ",
        "K",
        "\u{212a}",
        "i",
        "I",
        "ı",
        "İ",
        "é",
        "e\u{301}",
        "ﬀ",
        "ff",
        "日本",
        "😀",
        "😁",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{feff}a",
        "a\u{200b}",
        "1",
        "01",
        "1.0",
        "+1",
        "null",
        "NULL",
        "true",
    ]
    .map(String::from)
    .into();
    keys.push("k".repeat(255));
    keys.push(format!("{}K", "k".repeat(254)));
    keys.push(format!("{}é", "k".repeat(253)));
    keys.push(format!("{}😀", "k".repeat(251)));
    keys.push("k".repeat(254));
    keys
}

pub async fn each_is_a_key_of_its_own(store: Probe) {
    let keys = hostile();
    for (number, name) in keys.iter().enumerate() {
        let entry = store.put(name, number.to_string()).await;
        assert_eq!(entry.version.get(), 1, "{name:?} is taken for another key");
        assert_eq!(entry.key, name.as_str());
    }
    for (number, name) in keys.iter().enumerate() {
        let entry = store.read(name).await.unwrap_or_else(|| panic!("{name:?} is missing"));
        assert_eq!(
            (entry.key.text().unwrap(), entry.value),
            (name.as_str(), number.to_string().into())
        );
    }
    let log: Vec<String> = store.log("").await.iter().map(|event| event.key.to_string()).collect();
    assert_eq!(log, keys);
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(store.keys(list("")).await, sorted);
}

pub async fn each_is_found_by_every_prefix_of_its_own_only(store: Probe) {
    let mut keys = hostile();
    keys.sort();
    for name in &keys {
        store.put(name, "x").await;
    }
    let mut prefixes = keys.clone();
    prefixes.extend(["a\\b", "x_", "%y", "k", "\u{10ffff}\u{10ffff}", ""].map(String::from));
    for prefix in prefixes {
        let expected: Vec<&String> = keys.iter().filter(|name| name.starts_with(&prefix)).collect();
        assert_eq!(
            store.keys(list(&prefix)).await.iter().collect::<Vec<_>>(),
            expected,
            "list {prefix:?}"
        );
        let mut streamed: Vec<String> = store
            .log(&prefix)
            .await
            .iter()
            .map(|event| event.key.to_string())
            .collect();
        streamed.sort();
        assert_eq!(streamed.iter().collect::<Vec<_>>(), expected, "stream {prefix:?}");
    }
}

pub async fn each_can_be_deleted_alone(store: Probe) {
    let mut keys = hostile();
    for name in &keys {
        store.put(name, "x").await;
    }
    while let Some(name) = keys.pop() {
        store.remove(&name).await;
        assert_eq!(store.read(&name).await, None);
        if keys.len().is_multiple_of(8) {
            keys.sort();
            assert_eq!(store.keys(list("")).await, keys);
        }
    }
}

pub async fn each_reaches_a_live_stream_of_its_prefix(store: Probe) {
    for name in hostile() {
        let mut stream = store.watch(watch(&name).from(goku::StreamFrom::Head)).await;
        store.put(&name, "x").await;
        assert_eq!(stream.event().await.key, name.as_str());
    }
}

pub async fn a_key_has_1_to_255_bytes(store: Probe) {
    let edge = format!("{}é", "k".repeat(253));
    assert_eq!(edge.len(), 255);
    store.put(&edge, "x").await;
    assert_eq!(store.keys(list(&edge)).await, std::slice::from_ref(&edge));
    for name in ["", &"k".repeat(256), &format!("{}é", "k".repeat(254))] {
        assert_eq!(kind(Key::new(name)), ErrorKind::InvalidKey, "{name:?}");
    }
}
