//! Rights: what a caller may do, as operators set it. Pure: who the caller is, and which settings hold, is found out elsewhere.

mod administrator;
mod demand;
mod name;
mod range_set;
mod rights;
mod role;
mod token;
mod value;
mod verb;

pub use self::administrator::has_administrator;
pub(crate) use self::demand::{Demand, Demands};
pub use self::name::AccessName;
pub(crate) use self::rights::Rights;
pub use self::role::{Grant, Role, Scope};
pub use self::token::Token;
pub(crate) use self::value::check_value;
pub use self::value::{Auth, Identity, SettingValue, TokenRecord};
pub use self::verb::Verb;
pub(crate) use crate::token_use::{TokenHash, TokenUse, TokenUses, hour_of};
