//! What every store does with settings, as a test of each.

use std::sync::Arc;

use super::{Store, loads};
use crate::clock::Timestamp;
use crate::decide::{Batch, Configure, Head, Request, Settings};
use crate::id::{SettingsRev, Tag};
use crate::key::Key;
use crate::origin::Origin;
use crate::request::SetRequest;
use crate::setting::{ConfigureRequest, SettingChange, SettingChangesRequest, SettingName};

/// Changes a setting in a batch that also sets a key; returns the settings after it.
async fn change(store: &impl Store, settings: &Arc<Settings>, request: ConfigureRequest) -> Arc<Settings> {
    let origin = Origin::default().with_actor("é").unwrap().with_request_id("r").unwrap();
    let settings = settings.clone();
    let requests = vec![request];
    let configure = Request::Configure(Arc::new(Configure { requests, settings }));
    let set = Request::Set(SetRequest::new(Key::new("k").unwrap(), "v"));
    let batch = Batch {
        requests: vec![set, Request::From(Arc::new(origin), Box::new(configure))],
        tag: Tag::new(u64::MAX - 7),
        seen: Head::default(),
    };
    let decision = loads::write(store, batch).await.unwrap();
    assert!(decision.answers.iter().all(Result::is_ok), "{:?}", decision.answers);
    decision.configured.unwrap().settings
}

async fn changes(store: &impl Store, request: SettingChangesRequest) -> Vec<SettingChange> {
    store.setting_changes(request).await.unwrap()
}

/// Checks a store that nobody has configured yet.
pub(super) async fn check(store: &impl Store) {
    let mut settings = Arc::new(store.settings().await.unwrap());
    assert_eq!(*settings, Settings::default());
    let name = |bytes: &[u8]| SettingName::new([b"test/", bytes].concat()).unwrap();
    let names = [name(b"a"), name(b"A"), name(&[0, 0xff, b'\'']), name(&[0xff; 1_024])];
    for (number, name) in names.iter().enumerate() {
        let value = format!("{{\"\u{fc}\": \"\\u00e9 '\\\\ {number}\"}}");
        settings = change(store, &settings, ConfigureRequest::set(name.clone(), value)).await;
        assert_eq!(store.settings().await.unwrap(), *settings);
        assert_eq!(store.head().await.unwrap().0.settings, settings.stamp());
    }
    settings = change(store, &settings, ConfigureRequest::set(names[0].clone(), "0")).await;
    settings = change(store, &settings, ConfigureRequest::remove(names[1].clone())).await;
    assert_eq!(store.settings().await.unwrap(), *settings);
    assert!(settings.get(&names[0]).is_ok() && settings.get(&names[1]).is_err());

    let revs = |changes: &[SettingChange]| changes.iter().map(|change| change.rev.get()).collect::<Vec<_>>();
    let all = changes(store, SettingChangesRequest::default()).await;
    assert_eq!(revs(&all), [6, 5, 4, 3, 2, 1]);
    assert_eq!((&all[0].name, &all[0].value), (&names[1], &None));
    assert_eq!(all[1].value.as_deref(), Some("0"));
    assert!(all.iter().all(|change| change.actor.as_deref() == Some("é")));
    assert!(all.iter().all(|change| change.request_id.as_deref() == Some("r")));
    let of_one = SettingChangesRequest {
        name: Some(names[0].clone()),
        ..SettingChangesRequest::default()
    };
    assert_eq!(revs(&changes(store, of_one).await), [5, 1]);
    let page = SettingChangesRequest {
        before: Some(SettingsRev::new(5).unwrap()),
        limit: Some(2),
        ..SettingChangesRequest::default()
    };
    assert_eq!(revs(&changes(store, page).await), [4, 3]);

    let ever = Timestamp::from_millis(0).unwrap();
    let forget = async |before, kept_max, limit| store.forget_setting_changes(before, kept_max, limit).await.unwrap();
    let left = async || revs(&changes(store, SettingChangesRequest::default()).await);
    assert_eq!(forget(ever, 6, 10).await, 0);
    assert_eq!(forget(ever, 3, 2).await, 2);
    assert_eq!(left().await, [6, 5, 4, 3]);
    assert_eq!(forget(ever, 3, 2).await, 1);
    assert_eq!(left().await, [6, 5, 4]);
    assert_eq!(
        forget(all[0].changed_at, 10, 1).await,
        usize::from(all[2].changed_at < all[0].changed_at)
    );
    let rest = left().await.len();
    assert_eq!(forget(Timestamp::MAX, 10, 10).await, rest);
    assert_eq!(left().await, [0; 0]);
    assert_eq!(store.settings().await.unwrap(), *settings);
}
