//! The values of settings, as JSON.

use std::fmt::Debug;

use goku::access::{Identity, Role, SettingValue, TokenRecord};
use goku::{Setting, SettingName, SettingsRev, Timestamp};

/// What is read is written as a value that is read as the same.
fn goes_around<V: SettingValue + Debug + PartialEq>(json: &str) {
    let setting = |value: &str| Setting {
        name: SettingName::new(format!("{}/mailer", V::KIND)).expect("it is short"),
        value: value.into(),
        rev: SettingsRev::new(1).expect("it counts from 1"),
        changed_at: Timestamp::MIN,
        actor: None,
    };
    if let Ok((name, value)) = V::of(&setting(json)) {
        let request = value.to_request(&name).expect("what was read can be written");
        let written = request.value.expect("it is set");
        let (name_again, again) = V::of(&setting(&written)).expect("what was written can be read");
        assert_eq!((name_again, again), (name, value));
    }
}

pub(crate) fn run(input: &[u8]) {
    let Ok(json) = std::str::from_utf8(input) else {
        return;
    };
    goes_around::<Role>(json);
    goes_around::<Identity>(json);
    goes_around::<TokenRecord>(json);
    if let Ok((_, role)) = Role::of(&Setting {
        name: SettingName::new("role/mailer").expect("it is short"),
        value: json.into(),
        rev: SettingsRev::new(1).expect("it counts from 1"),
        changed_at: Timestamp::MIN,
        actor: None,
    }) {
        for grant in role.grants {
            let range = grant.scope.range();
            assert!(
                range.end.is_none_or(|end| range.start <= end),
                "a range that ends before it begins"
            );
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"grants":[{"verbs":["read","write"],"prefix":"config/"},{"verbs":["watch"],"key":"k"}]}"#,
        r#"{"grants":[{"verbs":["read"],"prefix_base64":"/w=="},{"verbs":["admin"],"key_base64":"AP8="}]}"#,
        r#"{"roles":["mailer","reader"]}"#,
        r#"{"sha256":"0000000000000000000000000000000000000000000000000000000000000000","identity":"mailer","roles":[],"expires_at":1}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
