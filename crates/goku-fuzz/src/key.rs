//! Keys, prefixes and the ranges that they stand for.

use goku::{Key, Prefix};

/// The first byte says how many of the others are the prefix; the rest is the key.
pub(crate) fn run(input: &[u8]) {
    let Some((prefix_bytes, bytes)) = input.split_first() else {
        return;
    };
    let (prefix, key) = bytes.split_at(bytes.len().min((*prefix_bytes).into()));
    let (Ok(prefix), Ok(key)) = (Prefix::from_bytes(prefix), Key::from_bytes(key)) else {
        return;
    };
    let starts = key.as_bytes().starts_with(prefix.as_bytes());
    assert_eq!(prefix.matches(&key), starts);
    assert_eq!(prefix.range().contains(&key), starts);
    let prefix_of_key = Prefix::from(&key);
    assert!(prefix_of_key.matches(&key) && prefix_of_key.range().contains(&key));
    assert!(!prefix.range().after(&key).contains(&key));
    assert_eq!(prefix.range().starting_at(&key).contains(&key), starts);

    // What is shown of it is text, and the key itself where it is some.
    let shown = key.to_string();
    match key.text() {
        Some(text) => {
            assert_eq!(shown, text);
            assert_eq!(Key::from_bytes(&shown).expect("it is as long"), key);
        }
        None => assert!(shown.contains("\\x"), "{shown}"),
    }
    if let Some(text) = key.short_text() {
        assert_eq!(Key::new(text).expect("it is short"), key);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![
        b"\x02a/a/b".to_vec(),
        b"\x00k".to_vec(),
        b"\x03\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"\x02a\xffa\xffb".to_vec(),
        b"\x01a\\xff\xc3\xa9".to_vec(),
        [vec![255], vec![b'k'; 1_279]].concat(),
    ]
}
