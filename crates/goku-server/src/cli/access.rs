//! The commands about who may do what: `goku auth`, `goku token`, `goku role` and `goku identity`.

mod auth;
mod grant;
mod identity;
mod role;
mod token;

use goku::access::{AccessName, SettingValue};
use goku::{Admin, ConfigureRequest, Error, ErrorKind, Setting};

pub(super) use self::auth::Auth;
pub(super) use self::grant::GrantArgument;
pub(super) use self::identity::Identity;
pub(super) use self::role::Role;
pub(super) use self::token::Token;

/// All settings of one kind, in the order of their names.
pub(super) async fn all<V: SettingValue>(admin: &impl Admin) -> goku::Result<Vec<Setting>> {
    goku::all_settings(admin, format!("{}/", V::KIND)).await
}

/// Removes the setting of this kind and name.
async fn remove<V: SettingValue>(admin: &impl Admin, name: &AccessName) -> goku::Result<()> {
    let removed = admin.configure(ConfigureRequest::remove(V::setting_name(name)?)).await;
    removed.map(drop).map_err(|error| named::<V>(error, name))
}

/// The error, which says where names are found if there is none of this one.
fn named<V: SettingValue>(error: Error, name: &AccessName) -> Error {
    let kind = V::KIND;
    match error.kind() {
        ErrorKind::NotFound => {
            let message = format!("there is no {kind} {name}: see `goku {kind} list`");
            Error::new(ErrorKind::NotFound, message)
        }
        _ => error,
    }
}
