//! Settings of operators.

use std::sync::Arc;

use goku::limits::SETTINGS_PAGE_BYTES_MAX;
use goku::{
    Admin, ConfigureRequest, ErrorKind, Origin, SettingChange, SettingChangesRequest, SettingCondition, SettingName,
    SettingsRequest, StreamFrom,
};

use crate::probe::{Probe, kind, watch};

fn name(name: impl AsRef<[u8]>) -> SettingName {
    SettingName::new([b"test/", name.as_ref()].concat()).unwrap()
}

async fn put(admin: &dyn Admin, at: &str, value: &str) -> SettingChange {
    admin.configure(ConfigureRequest::set(name(at), value)).await.unwrap()
}

pub async fn a_setting_is_what_it_was_set_to(_store: Probe, admin: Arc<dyn Admin>) {
    let names = [name("a"), name("A"), name([0, 0xff, b'\'', b'%']), name([0xff; 1_024])];
    for (number, name) in names.iter().enumerate() {
        let value = format!(r#"{{"ü": "\u00e9 '\\", "number": {number}}}"#);
        let change = admin
            .configure(ConfigureRequest::set(name.clone(), value.clone()))
            .await
            .unwrap();
        assert_eq!(change.rev.get(), number as i64 + 1);
        let setting = admin.get_setting(name).await.unwrap();
        assert_eq!((&setting.name, setting.value.as_ref()), (name, value.as_str()));
        assert_eq!((setting.rev, setting.changed_at), (change.rev, change.changed_at));
        assert_eq!(setting.actor, None);
    }
    admin
        .configure(ConfigureRequest::remove(names[1].clone()))
        .await
        .unwrap();
    assert_eq!(kind(admin.get_setting(&names[1]).await), ErrorKind::NotFound);
    let page = admin.list_settings(SettingsRequest::default()).await.unwrap();
    let mut left = [names[0].clone(), names[2].clone(), names[3].clone()];
    left.sort();
    assert_eq!(
        page.settings
            .iter()
            .map(|setting| setting.name.clone())
            .collect::<Vec<_>>(),
        left
    );
    assert_eq!((page.rev.get(), page.more), (5, false));
}

pub async fn a_change_of_a_setting_is_no_event_and_no_revision(store: Probe, admin: Arc<dyn Admin>) {
    let mut stream = store.watch(watch("").from(StreamFrom::Head)).await;
    store.put("k", "1").await;
    let before = store.status().await.unwrap();
    for value in ["1", "2", "3"] {
        put(&*admin, "a", value).await;
    }
    let after = store.status().await.unwrap();
    assert_eq!(
        (after.head, after.rev, after.keys),
        (before.head, before.rev, before.keys)
    );
    store.put("k", "2").await;
    let (first, second) = (stream.event().await, stream.event().await);
    assert_eq!((first.value, second.value), ("1".into(), "2".into()));
    assert_eq!(second.rev.get(), first.rev.get() + 1);
}

pub async fn a_condition_of_a_change_is_kept(_store: Probe, admin: Arc<dyn Admin>) {
    let set = |value: &str, condition| admin.configure(ConfigureRequest::set(name("a"), value).condition(condition));
    let made = set("1", SettingCondition::Absent).await.unwrap();
    assert_eq!(
        kind(set("2", SettingCondition::Absent).await),
        ErrorKind::ConditionFailed
    );
    let changed = set("2", SettingCondition::Rev(made.rev)).await.unwrap();
    assert_eq!(
        kind(set("3", SettingCondition::Rev(made.rev)).await),
        ErrorKind::ConditionFailed
    );
    let remove = |condition| admin.configure(ConfigureRequest::remove(name("a")).condition(condition));
    assert_eq!(
        kind(remove(SettingCondition::Rev(made.rev)).await),
        ErrorKind::ConditionFailed
    );
    let removed = remove(SettingCondition::Rev(changed.rev)).await.unwrap();
    assert_eq!(removed.value, None);
    assert_eq!(kind(remove(SettingCondition::Any).await), ErrorKind::NotFound);
    let again = set("2", SettingCondition::Absent).await.unwrap();
    // It is the value of before, and another setting.
    assert_eq!(
        kind(set("4", SettingCondition::Rev(changed.rev)).await),
        ErrorKind::ConditionFailed
    );
    assert_eq!(admin.get_setting(&name("a")).await.unwrap().rev, again.rev);
}

pub async fn of_changes_at_once_on_one_condition_one_is_made(_store: Probe, admin: Arc<dyn Admin>) {
    let made = put(&*admin, "a", "0").await;
    let change = |number: usize| {
        let request = ConfigureRequest::set(name("a"), number.to_string());
        admin.configure(request.condition(SettingCondition::Rev(made.rev)))
    };
    let outcomes = futures::future::join_all((0..16).map(change)).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    assert!(
        refused
            .into_iter()
            .all(|refused| kind(refused) == ErrorKind::ConditionFailed)
    );
}

pub async fn settings_are_changed_together_or_not_at_all(_store: Probe, admin: Arc<dyn Admin>) {
    let first = put(&*admin, "a", "0").await;
    put(&*admin, "b", "0").await;
    let set = |at: &str, condition| ConfigureRequest::set(name(at), "1").condition(condition);
    let remove = ConfigureRequest::remove(name("b"));
    for (last, refused) in [
        (set("c", SettingCondition::Rev(first.rev)), ErrorKind::ConditionFailed),
        (ConfigureRequest::remove(name("none")), ErrorKind::NotFound),
        (remove.clone(), ErrorKind::InvalidArgument),
    ] {
        let requests = vec![set("a", SettingCondition::Any), remove.clone(), last];
        assert_eq!(kind(admin.configure_all(requests).await), refused);
    }
    assert_eq!(kind(admin.configure_all(Vec::new()).await), ErrorKind::InvalidArgument);
    assert_eq!(admin.get_setting(&name("a")).await.unwrap().rev, first.rev);

    let requests = vec![
        set("c", SettingCondition::Absent),
        remove,
        set("a", SettingCondition::Rev(first.rev)),
    ];
    let changes = admin.configure_all(requests).await.unwrap();
    let made: Vec<_> = changes
        .iter()
        .map(|change| (change.rev.get(), change.name.clone(), change.value.as_deref()))
        .collect();
    assert_eq!(
        made,
        [
            (3, name("c"), Some("1")),
            (4, name("b"), None),
            (5, name("a"), Some("1"))
        ]
    );
    let page = admin.list_settings(SettingsRequest::default()).await.unwrap();
    let left: Vec<_> = page
        .settings
        .iter()
        .map(|setting| (setting.name.clone(), setting.rev))
        .collect();
    assert_eq!(left, [(name("a"), changes[2].rev), (name("c"), changes[0].rev)]);
    assert_eq!(page.rev, changes[2].rev);
    let told = admin.setting_changes(SettingChangesRequest::default()).await.unwrap();
    assert_eq!(told.changes[..3].iter().rev().cloned().collect::<Vec<_>>(), changes);
}

pub async fn changes_and_writes_at_once_are_all_made(store: Probe, admin: Arc<dyn Admin>) {
    let changes = async {
        for number in 0..40 {
            put(&*admin, "a", &number.to_string()).await;
        }
    };
    let writes = futures::future::join_all((0..8).map(|writer| {
        let store = store.clone();
        async move {
            for number in 0..40 {
                store.put(&format!("k{writer}"), number.to_string()).await;
            }
        }
    }));
    futures::future::join(changes, writes).await;
    assert_eq!(store.log("").await.len(), 320);
    assert_eq!(admin.get_setting(&name("a")).await.unwrap().rev.get(), 40);
}

pub async fn what_is_no_setting_is_refused(_store: Probe, admin: Arc<dyn Admin>) {
    let other = SettingName::new("nothing/of/this").unwrap();
    assert_eq!(
        kind(admin.configure(ConfigureRequest::set(other.clone(), "1")).await),
        ErrorKind::InvalidArgument
    );
    assert_eq!(kind(admin.get_setting(&other).await), ErrorKind::NotFound);
}

pub async fn settings_and_their_changes_come_in_pages(_store: Probe, admin: Arc<dyn Admin>) {
    let value = format!("\"{}\"", "x".repeat(60_000));
    for number in 0..30 {
        put(&*admin, &format!("{number:02}"), &value).await;
    }
    put(&*admin, "other", "1").await;
    let mut request = SettingsRequest {
        prefix: b"test/0".to_vec(),
        limit: Some(4),
        ..SettingsRequest::default()
    };
    let mut sizes = Vec::new();
    loop {
        let page = admin.list_settings(request.clone()).await.unwrap();
        sizes.push(page.settings.len());
        if !page.more {
            break;
        }
        request.after = page.settings.last().map(|setting| setting.name.clone());
    }
    assert_eq!(sizes, [4, 4, 2]);
    let page = admin.list_settings(SettingsRequest::default()).await.unwrap();
    assert_eq!(
        (page.settings.len(), page.more),
        (SETTINGS_PAGE_BYTES_MAX / 60_009, true)
    );

    let mut request = SettingChangesRequest::default();
    let mut seen = Vec::new();
    loop {
        let page = admin.setting_changes(request.clone()).await.unwrap();
        seen.extend(page.changes.iter().map(|change| change.rev.get()));
        if !page.more {
            break;
        }
        request.before = page.changes.last().map(|change| change.rev);
    }
    assert_eq!(seen, (1..=31).rev().collect::<Vec<_>>());
}

pub async fn the_changes_of_a_setting_tell_who_made_which(_store: Probe, admin: Arc<dyn Admin>) {
    let origin = Origin::default().with_request_id("r-1").unwrap();
    origin.scope(put(&*admin, "a", "1")).await;
    put(&*admin, "b", "2").await;
    admin.configure(ConfigureRequest::remove(name("a"))).await.unwrap();
    let of = |name| SettingChangesRequest {
        name: Some(name),
        ..SettingChangesRequest::default()
    };
    let page = admin.setting_changes(of(name("a"))).await.unwrap();
    let told: Vec<_> = page
        .changes
        .iter()
        .map(|change| (change.rev.get(), change.value.as_deref(), change.request_id.as_deref()))
        .collect();
    assert_eq!(told, [(3, None, None), (1, Some("1"), Some("r-1"))]);
    assert!(!page.more);
    assert!(
        admin
            .setting_changes(of(name("none")))
            .await
            .unwrap()
            .changes
            .is_empty()
    );
}
