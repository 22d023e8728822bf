//! `status`.

use crate::goku::Goku;

#[test]
fn a_server_tells_its_state() {
    let goku = Goku::start();
    goku.run(&["set", "a", "1"]).done();
    goku.run(&["set", "b", "1"]).done();
    goku.run(&["delete", "b"]).done();

    let status = goku.run(&["status", "--output", "json"]).json();
    assert_eq!(status[0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status[0]["store"], "sqlite");
    assert_eq!(status[0]["head"], 3);
    let position = status[0]["position"].as_str().unwrap();
    assert_eq!(status[0]["rev"], 3);
    assert_eq!(status[0]["compacted"], 0);
    assert_eq!(status[0]["keys"], 1);
    assert_eq!(status[0]["events"], 3);

    let text = goku.run(&["status"]).done();
    assert!(text.contains(&format!("position   {position}\n")), "{text}");
    for line in [
        "store      sqlite",
        "keys       1",
        "events     3",
        "rev        3",
        "head       3",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
    }
}
