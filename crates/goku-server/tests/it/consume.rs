//! `consume` and `consumers`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::goku::{Following, Goku};

/// Events that a `consume … -- cat` wrote.
fn taken(consumer: &mut Following, count: usize) -> Vec<String> {
    let lines = (0..count).map(|_| consumer.line());
    lines
        .map(|line| {
            let event: Value = serde_json::from_str(&line).unwrap();
            let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
            format!("{} {}={}", text("type"), text("key"), text("value"))
        })
        .collect()
}

fn stop(consumer: Following) {
    consumer.signal("TERM");
    let run = consumer.wait();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.text(), "", "nothing more was written");
}

fn consumers(goku: &Goku) -> Vec<Value> {
    goku.run(&["consumers", "--output", "json"]).json()
}

#[test]
fn a_command_is_run_for_every_event_and_the_next_run_goes_on() {
    let goku = Goku::start();
    goku.run(&["set", "k1", "a"]).done();
    goku.run(&["set", "other", "x"]).done();
    goku.run(&["delete", "k1"]).done();
    let mut consumer = goku.follow(&["consume", "c", "k", "--", "cat"]);
    assert_eq!(taken(&mut consumer, 2), ["set k1=a", "delete k1=-"]);
    goku.run(&["set", "k2", "b"]).done();
    assert_eq!(taken(&mut consumer, 1), ["set k2=b"]);
    stop(consumer);
    let standing = consumers(&goku);
    assert_eq!(
        (&standing[0]["consumer"], &standing[0]["lag_events"]),
        (&"c".into(), &0.into())
    );

    goku.run(&["set", "k3", "c"]).done();
    let standing = consumers(&goku);
    assert_eq!(
        (&standing[0]["lag_events"], &standing[0]["dead_letters"]),
        (&1.into(), &0.into())
    );
    assert!(standing[0]["lag_seconds"].as_f64().unwrap() >= 0.0);
    let text = goku.run(&["consumers"]).done();
    assert!(
        text.starts_with("c\t0\t4-") && text.contains("\t1 events behind ("),
        "{text}"
    );
    let mut consumer = goku.follow(&["consume", "c", "k", "--", "cat"]);
    assert_eq!(taken(&mut consumer, 1), ["set k3=c"]);
    stop(consumer);
}

#[test]
fn a_command_that_fails_is_run_again() {
    let goku = Goku::start();
    goku.run(&["set", "k", "a"]).done();
    goku.run(&["set", "k", "b"]).done();
    let folder = tempfile::TempDir::new().unwrap();
    let mark = folder.path().join("mark");
    let script = format!("mkdir {} 2> /dev/null && exit 7; cat", mark.display());
    let mut consumer = goku.follow(&["consume", "c", "k", "--", "sh", "-c", &script]);
    assert_eq!(taken(&mut consumer, 2), ["set k=a", "set k=b"]);
    consumer.signal("TERM");
    let run = consumer.wait();
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("exit status: 7"), "{}", run.stderr);
}

/// A consumer that is stuck was nowhere to be seen: it had no cursor before its first event was handled.
#[test]
fn what_fails_is_shown_until_the_consumer_goes_on() {
    let goku = Goku::start();
    goku.run(&["set", "k", "a"]).done();
    let folder = tempfile::TempDir::new().unwrap();
    let mark = folder.path().join("mark");
    let script = format!("test -e {} || exit 7", mark.display());
    let consumer = goku.follow(&["consume", "stuck", "k", "--", "sh", "-c", &script]);
    let standing = loop {
        match consumers(&goku).pop() {
            Some(standing) if standing["failing"].is_object() => break standing,
            _ => {}
        }
    };
    assert!(standing["position"].as_str().unwrap().starts_with("0-"), "{standing}");
    let failing = &standing["failing"];
    assert_eq!((&failing["event"], &failing["key"]), (&1.into(), &"k".into()));
    assert_eq!(failing["error"], "the command ended with exit status: 7");
    assert!(
        failing["attempts"].as_u64().unwrap() > 0 && failing["since"].is_string(),
        "{failing}"
    );
    let text = goku.run(&["consumers"]).done();
    assert!(
        text.contains("\tfailing since ") && text.contains(": event 1 of k, "),
        "{text}"
    );

    std::fs::write(mark, "").unwrap();
    while !consumers(&goku)[0]["failing"].is_null() {}
    stop(consumer);
}

#[test]
fn dead_letters_are_listed_and_replayed() {
    let goku = Goku::start();
    goku.run(&["set", "k", "bad"]).done();
    goku.run(&["set", "k", "good"]).done();
    let script = "read event; case $event in *bad*) exit 1;; esac; echo \"$event\"";
    let mut consumer = goku.follow(&["consume", "c", "k", "--dead-after", "2", "--", "sh", "-c", script]);
    assert_eq!(taken(&mut consumer, 1), ["set k=good"]);
    consumer.signal("TERM");
    assert_eq!(consumer.wait().code, 0);
    assert_eq!(consumers(&goku)[0]["dead_letters"], 1);
    let dead = goku.run(&["consumers", "dead", "c", "--output", "json"]).json();
    assert_eq!(
        (&dead[0]["id"], &dead[0]["value"], &dead[0]["attempts"]),
        (&1.into(), &"bad".into(), &2.into())
    );
    let text = goku.run(&["consumers", "dead", "c"]).done();
    assert_eq!(text, "1\tk\t2 attempts\tthe command ended with exit status: 1\n");

    let replay = |command: &str| goku.run(&["consume", "c", "k", "--replay", "--", command]);
    let again = replay("false");
    assert_eq!((again.code, again.text().as_str()), (0, "handled 0\tfailed 1\n"));
    let replayed = replay("true");
    assert_eq!((replayed.code, replayed.text().as_str()), (0, "handled 1\tfailed 0\n"));
    assert_eq!(goku.run(&["consumers", "dead", "c"]).done(), "");
}

#[test]
fn a_command_that_cannot_be_started_loses_nothing() {
    let goku = Goku::start();
    goku.run(&["set", "k", "a"]).done();
    // There is none, it is a folder, it may not be run, it is not in a form that can be run.
    let folder = tempfile::TempDir::new().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "no program").unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, [1, 2, 3]).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let within = text.join("command");
    for command in [Path::new("/nowhere/command"), folder.path(), &text, &program, &within] {
        let command = command.to_str().unwrap();
        let refused = goku.run(&["consume", "c", "k", "--dead-after", "1", "--", command]);
        let message = refused.failed(2);
        assert!(message.contains(&format!("{command:?} cannot be started")), "{message}");
    }
    assert_eq!(consumers(&goku)[0]["lag_events"], 1);
    let mut consumer = goku.follow(&["consume", "c", "k", "--", "cat"]);
    assert_eq!(taken(&mut consumer, 1), ["set k=a"]);
    stop(consumer);
}

#[test]
fn consumers_are_reset_and_deleted() {
    let goku = Goku::start();
    for value in ["a", "b", "c"] {
        goku.run(&["set", "k", value]).done();
    }
    let reset = |to: &str| goku.run(&["consumers", "reset", "c", "--to", to, "--output", "json"]);
    // A name that was mistyped made a consumer.
    let refused = reset("2").failed(3);
    assert!(refused.contains("--create"), "{refused}");
    assert_eq!(consumers(&goku), Vec::<Value>::new());
    goku.run(&["consumers", "reset", "c", "--to", "head", "--create"])
        .done();
    for (to, lag, expected) in [
        ("2", 1, vec!["set k=c"]),
        ("beginning", 3, vec!["set k=a", "set k=b", "set k=c"]),
    ] {
        assert_eq!(reset(to).json()[0]["lag_events"], lag, "{to}");
        let mut consumer = goku.follow(&["consume", "c", "k", "--", "cat"]);
        assert_eq!(taken(&mut consumer, expected.len()), expected, "{to}");
        stop(consumer);
    }
    reset("beginning").json();
    assert_eq!(reset("head").json()[0]["lag_events"], 0);
    let mut consumer = goku.follow(&["consume", "c", "k", "--", "cat"]);
    goku.run(&["set", "k", "d"]).done();
    assert_eq!(taken(&mut consumer, 1), ["set k=d"]);
    stop(consumer);
    reset("99").failed(2);
    let refused = goku.run(&["consumers", "reset", "c", "--to", "-1"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("-1 is neither"), "{}", refused.stderr);
    for name in ["", "a/b", "a\nb"] {
        assert_eq!(goku.run(&["consume", name, "k", "--", "cat"]).code, 2);
    }
    assert_eq!(goku.run(&["consumers", "reset", "", "--to", "1"]).code, 2);
    goku.run(&["consumers", "delete", "c"]).done();
    assert_eq!(consumers(&goku), Vec::<Value>::new());
    goku.run(&["consumers", "delete", "c"]).failed(3);
}

#[test]
fn a_consumer_may_start_with_the_state_or_at_the_head() {
    let goku = Goku::start();
    goku.run(&["set", "k1", "old"]).done();
    goku.run(&["set", "k1", "a"]).done();
    let mut consumer = goku.follow(&["consume", "state", "k", "--start", "state", "--", "cat"]);
    assert_eq!(taken(&mut consumer, 1), ["state k1=a"]);
    goku.run(&["set", "k1", "b"]).done();
    assert_eq!(taken(&mut consumer, 1), ["set k1=b"]);
    stop(consumer);

    let arguments = [
        "consume", "head", "k", "--start", "head", "--type", "delete", "--", "cat",
    ];
    let mut consumer = goku.follow(&arguments);
    // It stands at the head from when its cursor is there.
    while !consumers(&goku).iter().any(|standing| standing["consumer"] == "head") {}
    goku.run(&["delete", "k1"]).done();
    assert_eq!(taken(&mut consumer, 1), ["delete k1=-"]);
    stop(consumer);
}

/// What `consumers members g` tells: for each label how many partitions it holds.
fn shares(goku: &Goku) -> Vec<(String, usize)> {
    let run = goku.run(&["consumers", "members", "g", "--output", "json"]);
    if run.code == 3 {
        return Vec::new();
    }
    let members = run.json().into_iter();
    members
        .map(|member| {
            let label = member["member"].as_str().unwrap().to_owned();
            (label, member["partitions"].as_array().unwrap().len())
        })
        .collect()
}

fn until_shared(goku: &Goku, expected: &[(&str, usize)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(label, share)| ((*label).to_owned(), *share))
        .collect();
    while shares(goku) != expected {}
}

#[test]
fn a_member_whose_command_cannot_be_started_leaves_at_once() {
    let goku = Goku::start();
    goku.run(&["set", "k", "a"]).done();
    let member = ["consume", "g", "k", "--group", "--ttl", "1h", "--"];
    let broken = goku.run(&[&member[..], &["/nowhere/command"]].concat());
    let message = broken.failed(2);
    assert!(message.contains("\"/nowhere/command\" cannot be started"), "{message}");
    assert_eq!(shares(&goku), []);
    // What it held is not waited for.
    let mut next = goku.follow(&[&member[..], &["cat"]].concat());
    assert_eq!(taken(&mut next, 1), ["set k=a"]);
    stop(next);
}

#[test]
fn members_of_a_group_share_the_events() {
    let goku = Goku::start();
    let member = |label: &str| {
        let script = "read event; echo \"$GOKU_PARTITION $GOKU_TOKEN $event\"";
        let member = ["--group", "--partitions", "4", "--ttl", "1s", "--member", label];
        let consume = ["consume", "g", "k"].into_iter().chain(member);
        let arguments: Vec<_> = consume.chain(["--", "sh", "-c", script]).collect();
        goku.follow(&arguments)
    };
    let keys = || {
        for key in 0..8 {
            goku.run(&["set", &format!("k{key}"), "v"]).done();
        }
    };
    // The partition, the token and the key of an event.
    let next = |member: &mut Following| {
        let line = member.line();
        let [partition, token, event] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let event: Value = serde_json::from_str(event).unwrap();
        let key = event["key"].as_str().unwrap().to_owned();
        (partition.parse::<u64>().unwrap(), token.parse::<u64>().unwrap(), key)
    };
    let mut a = member("a");
    until_shared(&goku, &[("a", 4)]);
    keys();
    let alone: Vec<_> = (0..8).map(|_| next(&mut a)).collect();
    let b = member("b");
    until_shared(&goku, &[("a", 2), ("b", 2)]);
    let held = consumers(&goku);
    assert_eq!(held.len(), 4);
    assert!(
        held.iter()
            .all(|cursor| ["a", "b"].contains(&cursor["member"].as_str().unwrap()))
    );
    let text = goku.run(&["consumers"]).done();
    assert!(text.contains("\theld by a (lease "), "{text}");
    assert!(
        goku.run(&["consumers", "members", "g"])
            .done()
            .contains("\t2 partitions\t")
    );
    for refused in [
        &["consumers", "repartition", "g", "--partitions", "2"][..],
        &["consumers", "delete", "g"],
    ] {
        let complaint = goku.run(refused).failed(4);
        // It ended with advice for keys.
        assert!(!complaint.contains("key"), "{complaint}");
    }
    let refused = goku
        .run(&["consume", "g", "k", "--group", "--partitions", "2", "--", "cat"])
        .failed(2);
    assert!(refused.contains("4 partitions"), "{refused}");
    goku.run(&["consume", "g", "k", "--", "cat"]).failed(2);

    // What the one that is killed held goes on at the other, with greater tokens.
    b.signal("KILL");
    drop(b);
    until_shared(&goku, &[("a", 4)]);
    keys();
    for (partition, token, key) in (0..8).map(|_| next(&mut a)) {
        let before = alone.iter().find(|(_, _, other)| *other == key).unwrap();
        assert_eq!(partition, before.0, "{key}");
        assert!(token >= before.1, "{key}");
    }
    stop(a);
    assert_eq!(shares(&goku), []);
    goku.run(&["consumers", "repartition", "g", "--partitions", "2"]).done();
    let mut c = goku.follow(&["consume", "g", "k", "--group", "--", "cat"]);
    goku.run(&["set", "k", "w"]).done();
    // It begins where the partition that was furthest behind had come to.
    while taken(&mut c, 1) != ["set k=w"] {}
    c.signal("TERM");
    assert_eq!(c.wait().code, 0);
    goku.run(&["consumers", "delete", "g"]).done();
    assert_eq!(consumers(&goku), Vec::<Value>::new());
    goku.run(&["consumers", "members", "g"]).failed(3);
}
