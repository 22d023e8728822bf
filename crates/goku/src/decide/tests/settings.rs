//! Settings: what is decided on which.

use std::sync::Arc;

use super::*;
use crate::id::SettingsRev;
use crate::limits::{CONFIGURE_CHANGES_MAX, SETTING_VALUE_BYTES_MAX, SETTINGS_MAX, SETTINGS_PAGE_BYTES_MAX};
use crate::origin::Origin;
use crate::setting::{ConfigureRequest, Setting, SettingChange, SettingCondition, SettingName, SettingsRequest};

fn name(name: &str) -> SettingName {
    SettingName::new(name).unwrap()
}

/// The request of a replica that knows these settings.
fn checked(settings: &Arc<Settings>, request: Request) -> Request {
    Request::Checked(settings.stamp(), Arc::new(request))
}

fn configure(settings: &Arc<Settings>, request: ConfigureRequest) -> Request {
    configure_all(settings, vec![request])
}

fn configure_all(settings: &Arc<Settings>, requests: Vec<ConfigureRequest>) -> Request {
    let settings = settings.clone();
    checked(
        &settings.clone(),
        Request::Configure(Arc::new(Configure { requests, settings })),
    )
}

fn set(key: &str) -> Request {
    Request::Set(SetRequest::new(Key::new(key).unwrap(), "v"))
}

/// Changes a setting, alone in its batch; returns the change and all settings after it.
fn change(
    tables: &mut Tables,
    settings: &Arc<Settings>,
    request: ConfigureRequest,
    tag: u64,
) -> Result<(SettingChange, Arc<Settings>)> {
    let batch = Batch {
        requests: vec![configure(settings, request)],
        tag: Tag::new(tag),
        seen: tables.head,
    };
    let decision = tables.decide(&batch, Timestamp::from_millis(5).unwrap());
    let after = decision
        .configured
        .as_ref()
        .map(|configured| configured.settings.clone());
    match tables.apply(decision).remove(0)? {
        Answer::Configured(mut changes) => Ok((changes.remove(0), after.unwrap())),
        answer => panic!("{answer:?}"),
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_change_makes_no_event_and_no_revision_and_has_a_number_of_its_own() {
    let mut tables = Tables::default();
    let none = Arc::new(Settings::default());
    let (first, one) = change(&mut tables, &none, ConfigureRequest::set(name("test/a"), "1"), 11).unwrap();
    assert_eq!((first.rev.get(), first.changed_at.as_millis()), (1, 5));
    assert_eq!(one.get(&name("test/a")).unwrap().value.as_ref(), "1");
    let (second, two) = change(&mut tables, &one, ConfigureRequest::remove(name("test/a")), 12).unwrap();
    assert_eq!((second.rev.get(), second.value), (2, None));
    assert_eq!(kind(two.get(&name("test/a")).cloned()), ErrorKind::NotFound);
    assert_eq!(tables.head.settings, two.stamp());
    assert_eq!(two.stamp().tag, Tag::new(12));
    assert_eq!((tables.events.len(), tables.head.last_rev), (0, Revision::default()));
}

#[test]
fn what_was_checked_with_other_settings_is_given_back_undecided_in_every_kind_of_request() {
    let mut tables = Tables::default();
    let none = Arc::new(Settings::default());
    let (_, one) = change(&mut tables, &none, ConfigureRequest::set(name("test/a"), "1"), 11).unwrap();
    let id = WriteId::new(SessionId::new(3), 1);
    let origin = Arc::new(Origin::default().with_request_id("r").unwrap());
    let txn = Txn {
        then: vec![Operation::Set(SetRequest::new(Key::new("t").unwrap(), "v"))],
        ..Txn::default()
    };
    let requests = || {
        vec![
            set("k"),
            Request::Delete(DeleteRequest::new(Key::new("k").unwrap())),
            Request::Txn(txn.clone()),
            Request::Lease(LeaseRequest::Grant(Expiry::After(Duration::from_secs(9)))),
            Request::Once(id, Box::new(set("once"))),
            Request::From(origin.clone(), Box::new(set("from"))),
            Request::WhileFull(Arc::default(), Box::new(set("full"))),
        ]
    };
    let before = tables.clone();
    let old = requests().into_iter().map(|request| checked(&none, request));
    let answers = tables.run(old.collect(), 6);
    assert!(
        answers.iter().all(|answer| matches!(answer, Ok(Answer::OtherSettings))),
        "{answers:?}"
    );
    assert_eq!((&tables.events, &tables.sessions), (&before.events, &before.sessions));

    // Sent again with those of the head they are decided, the numbered one as if it had never been sent.
    let new = requests().into_iter().map(|request| checked(&one, request));
    let answers = tables.run(new.collect(), 7);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(!answers.iter().any(|answer| matches!(answer, Ok(Answer::OtherSettings))));
}

#[test]
fn a_state_of_the_same_number_with_another_tag_is_another_one() {
    let mut tables = Tables::default();
    let none = Arc::new(Settings::default());
    let (_, one) = change(&mut tables, &none, ConfigureRequest::set(name("test/a"), "1"), 11).unwrap();
    let lost = SettingsStamp {
        tag: Tag::new(99),
        ..one.stamp()
    };
    let request = Request::Checked(lost, Arc::new(set("k")));
    assert!(matches!(tables.run(vec![request], 6)[0], Ok(Answer::OtherSettings)));
}

#[test]
fn of_a_batch_what_comes_after_a_change_is_given_back() {
    let mut tables = Tables::default();
    let none = Arc::new(Settings::default());
    let requests = vec![
        checked(&none, set("before")),
        configure(&none, ConfigureRequest::set(name("test/a"), "1")),
        checked(&none, set("after")),
        configure(&none, ConfigureRequest::set(name("test/b"), "1")),
    ];
    let answers = tables.run(requests, 5);
    assert!(matches!(
        answers.as_slice(),
        [
            Ok(Answer::Entry(_)),
            Ok(Answer::Configured(_)),
            Ok(Answer::OtherSettings),
            Ok(Answer::OtherSettings)
        ]
    ));
    assert_eq!(tables.events.len(), 1);
}

#[test]
fn conditions_are_checked_and_a_refused_change_changes_nothing() {
    let mut tables = Tables::default();
    let none = Arc::new(Settings::default());
    let at = |rev| SettingCondition::Rev(SettingsRev::new(rev).unwrap());
    let to = |value: &str| ConfigureRequest::set(name("test/a"), value);
    let removal = || ConfigureRequest::remove(name("test/a"));
    for refused in [to("1").condition(at(1)), removal().condition(at(1))] {
        assert_eq!(
            kind(change(&mut tables, &none, refused, 11)),
            ErrorKind::ConditionFailed
        );
    }
    assert_eq!(kind(change(&mut tables, &none, removal(), 11)), ErrorKind::NotFound);
    let made = change(&mut tables, &none, to("1").condition(SettingCondition::Absent), 11);
    let (_, one) = made.unwrap();
    for refused in [to("2").condition(SettingCondition::Absent), to("2").condition(at(2))] {
        assert_eq!(kind(change(&mut tables, &one, refused, 12)), ErrorKind::ConditionFailed);
    }
    assert_eq!(tables.head.settings, one.stamp());
    let (_, two) = change(&mut tables, &one, removal().condition(at(1)), 12).unwrap();
    let (_, three) = change(&mut tables, &two, to("1"), 13).unwrap();
    // It was there before, of another revision.
    assert_eq!(
        kind(change(&mut tables, &three, removal().condition(at(1)), 14)),
        ErrorKind::ConditionFailed
    );
}

#[test]
fn a_change_says_where_it_comes_from() {
    let mut tables = Tables::default();
    let none = Arc::new(Settings::default());
    let origin = Origin::default()
        .with_request_id("r-1")
        .unwrap()
        .with_actor("alice")
        .unwrap();
    let request = ConfigureRequest::set(name("test/a"), "1");
    let settings = none.clone();
    let requests = vec![request];
    let configure = Request::Configure(Arc::new(Configure { requests, settings }));
    let request = checked(&none, Request::From(Arc::new(origin), Box::new(configure)));
    let Ok(Answer::Configured(changes)) = tables.run(vec![request], 5).remove(0) else {
        panic!("it was not changed")
    };
    assert_eq!(changes[0].actor.as_deref(), Some("alice"));
    assert_eq!(changes[0].request_id.as_deref(), Some("r-1"));
}

#[test]
fn a_value_is_json_of_a_known_setting_and_has_a_limit() {
    let check = |name: &str, value: &str| {
        let request = ConfigureRequest::set(SettingName::new(name).unwrap(), value);
        check_settings(&[request]).map_err(|error| error.kind())
    };
    assert_eq!(check("test/a", r#"{"a": [1, null]}"#), Ok(()));
    for value in ["", "{", "x", "1 2"] {
        assert_eq!(check("test/a", value), Err(ErrorKind::InvalidArgument), "{value}");
    }
    for name in ["other", "tests/a", "/test"] {
        assert_eq!(check(name, "1"), Err(ErrorKind::InvalidArgument), "{name}");
    }
    let large = format!("\"{}\"", "x".repeat(SETTING_VALUE_BYTES_MAX - 1));
    assert_eq!(check("test/a", &large), Err(ErrorKind::TooLarge));
    assert_eq!(check("test/a", &large.replacen('x', "", 1)), Ok(()));
    assert_eq!(kind(SettingName::new("")), ErrorKind::InvalidArgument);
}

#[test]
fn a_store_has_no_more_settings_than_its_replicas_hold() {
    let mut tables = Tables::default();
    let setting = |number: usize| Setting {
        name: name(&format!("test/{number}")),
        value: "1".into(),
        rev: SettingsRev::default(),
        changed_at: Timestamp::from_millis(0).unwrap(),
        actor: None,
    };
    let full = Arc::new(Settings::new(tables.head.settings, (0..SETTINGS_MAX).map(setting)));
    let one_more = ConfigureRequest::set(name("test/more"), "1");
    assert_eq!(
        kind(change(&mut tables, &full, one_more.clone(), 11)),
        ErrorKind::TooLarge
    );
    let (_, full) = change(&mut tables, &full, ConfigureRequest::set(name("test/7"), "2"), 11).unwrap();
    let (_, less) = change(&mut tables, &full, ConfigureRequest::remove(name("test/7")), 12).unwrap();
    assert!(change(&mut tables, &less, one_more, 13).is_ok());
}

#[test]
fn changes_at_once_are_bounded_in_number_and_bytes() {
    let set = |number: usize, value: &str| ConfigureRequest::set(name(&format!("test/{number}")), value);
    let refused = |requests: Vec<ConfigureRequest>| check_settings(&requests).err().map(|error| error.kind());
    let many = |number| (0..number).map(|number| set(number, "1")).collect();
    assert_eq!(refused(many(CONFIGURE_CHANGES_MAX)), None);
    assert_eq!(refused(many(CONFIGURE_CHANGES_MAX + 1)), Some(ErrorKind::TooLarge));
    let value = format!("\"{}\"", "x".repeat(60_000));
    assert_eq!(refused((0..17).map(|number| set(number, &value)).collect()), None);
    let large = (0..18).map(|number| set(number, &value)).collect();
    assert_eq!(refused(large), Some(ErrorKind::TooLarge));
}

#[test]
fn nothing_is_changed_while_a_server_runs_that_knows_no_settings() {
    let mut tables = Tables::default();
    tables.head.format = Format::Older;
    let none = Arc::new(Settings::default());
    let request = ConfigureRequest::set(name("test/a"), "1");
    assert_eq!(kind(change(&mut tables, &none, request, 11)), ErrorKind::Unavailable);
}

#[test]
fn a_head_without_a_change_that_was_seen_has_lost_it() {
    let mut tables = Tables::default();
    let none = Arc::new(Settings::default());
    let (_, one) = change(&mut tables, &none, ConfigureRequest::set(name("test/a"), "1"), 11).unwrap();
    let seen = tables.head;
    // The database comes back without the change, or with another one of its number.
    let mut others = [Tables::default(), Tables::default()];
    let other = ConfigureRequest::set(name("test/b"), "1");
    let (_, other) = change(&mut others[1], &none, other, 12).unwrap();
    for (tables, its) in others.iter_mut().zip([none, other]) {
        let answers = tables.run_having_seen(seen, vec![checked(&its, set("k")), checked(&one, set("k"))], 9);
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Answer::OtherSettings))));
        assert_eq!(tables.head.epoch.number(), seen.epoch.number() + 1);
        assert!(tables.head.settings.rev > one.stamp().rev);
        assert!(tables.head.settings.tag != one.stamp().tag);
    }
    // A later change is no loss.
    let (_, two) = change(&mut tables, &one, ConfigureRequest::set(name("test/a"), "2"), 13).unwrap();
    let answers = tables.run_having_seen(seen, vec![checked(&two, set("k"))], 9);
    assert!(matches!(answers[0], Ok(Answer::Entry(_))));
    assert_eq!(tables.head.epoch, seen.epoch);
}

#[test]
fn pages_of_settings_go_through_all_of_them_and_are_no_larger_than_they_may() {
    let value: Arc<str> = format!("\"{}\"", "x".repeat(40_000)).into();
    let setting = |number: usize| Setting {
        name: name(&format!("test/{number:03}")),
        value: value.clone(),
        rev: SettingsRev::default(),
        changed_at: Timestamp::from_millis(0).unwrap(),
        actor: None,
    };
    let settings = Settings::new(SettingsStamp::default(), (0..100).map(setting));
    let mut request = SettingsRequest {
        prefix: b"test/0".to_vec(),
        ..SettingsRequest::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = settings.page(&request);
        let bytes: usize = page.settings.iter().map(|setting| setting.value.len()).sum();
        assert!(bytes <= SETTINGS_PAGE_BYTES_MAX);
        seen.extend(page.settings.iter().map(|setting| setting.name.to_string()));
        if !page.more {
            break;
        }
        request.after = page.settings.last().map(|setting| setting.name.clone());
    }
    assert_eq!(
        seen,
        (0..100).map(|number| format!("test/{number:03}")).collect::<Vec<_>>()
    );
}
