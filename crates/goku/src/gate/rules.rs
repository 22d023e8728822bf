//! The rights of all callers, as one state of the settings has them.

use std::collections::HashMap;
use std::slice;
use std::sync::{Arc, PoisonError, RwLock};

use super::caller::{Caller, Who};
use super::jwt;
use crate::access::{AccessName, Auth, Identity, Rights, Role, SettingValue, TokenHash, TokenRecord};
use crate::clock::Timestamp;
use crate::decide::{Settings, SettingsStamp};
use crate::error::{Error, ErrorKind, Result};
use crate::setting::Setting;

/// Callers whose rights are kept ready. Beyond it they are made anew, for all of them.
const RIGHTS_KEPT_MAX: usize = 20_000;

/// The rights of all callers, as one state of the settings has them.
#[derive(Debug)]
pub(super) struct Rules {
    stamp: SettingsStamp,
    enabled: bool,
    roles: HashMap<AccessName, Role>,
    identities: HashMap<AccessName, Vec<AccessName>>,
    tokens: HashMap<TokenHash, TokenRecord>,
    token_ids: HashMap<TokenHash, AccessName>,
    /// Rights that were made of these before.
    kept: RwLock<HashMap<Who, Arc<Rights>>>,
}

impl Rules {
    pub(super) fn of(settings: &Settings) -> Rules {
        let mut rules = Rules {
            stamp: settings.stamp(),
            enabled: false,
            roles: HashMap::new(),
            identities: HashMap::new(),
            tokens: HashMap::new(),
            token_ids: HashMap::new(),
            kept: RwLock::default(),
        };
        for setting in settings.iter() {
            rules.add(setting);
        }
        rules
    }

    /// Takes in a setting. One whose value this version does not know grants nothing.
    fn add(&mut self, setting: &Setting) {
        let (kind, _) = setting.name.parts();
        let added = match std::str::from_utf8(kind).unwrap_or_default() {
            // What cannot be understood is not taken for leave to do everything.
            Auth::NAME => {
                let auth = Auth::of(setting);
                self.enabled = auth.as_ref().map_or(true, |auth| auth.enabled);
                auth.map(drop)
            }
            Role::KIND => Role::of(setting).map(|(name, role)| drop(self.roles.insert(name, role))),
            Identity::KIND => {
                Identity::of(setting).map(|(name, identity)| drop(self.identities.insert(name, identity.roles)))
            }
            TokenRecord::KIND => TokenRecord::of(setting).map(|(id, token)| {
                self.token_ids.insert(token.sha256, id);
                self.tokens.insert(token.sha256, token);
            }),
            _ => Ok(()),
        };
        if let Err(error) = added {
            tracing::error!(setting = %setting.name, %error, "a setting grants nothing: its value cannot be read");
        }
    }

    /// The settings that these were made of.
    pub(super) fn stamp(&self) -> SettingsStamp {
        self.stamp
    }

    /// Whether callers may do only what they have a right to.
    pub(super) fn are_enabled(&self) -> bool {
        self.enabled
    }

    /// The rights of a caller.
    ///
    /// # Errors
    ///
    /// - `Unauthenticated`: its token is not there any more, or its credentials have expired.
    pub(super) fn rights(&self, caller: &Caller, now: Timestamp) -> Result<Arc<Rights>> {
        self.check(caller, now)?;
        // What is there is whole at any moment.
        let kept = self
            .kept
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&caller.who)
            .cloned();
        if let Some(rights) = kept {
            return Ok(rights);
        }
        let rights = match self.enabled {
            true => self.granted(caller),
            false => Rights::everything(self.identity(caller)),
        };
        let rights = Arc::new(rights);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= RIGHTS_KEPT_MAX {
            kept.clear();
        }
        kept.insert(caller.who.clone(), rights.clone());
        Ok(rights)
    }

    /// The rights that a caller has, or would have if they were asked for.
    pub(super) fn granted(&self, caller: &Caller) -> Rights {
        let identity = self.identity(caller);
        let own = match &caller.who {
            Who::Anonymous => &[],
            Who::Token(hash) => self.tokens.get(hash).map_or(&[][..], |token| &token.roles),
            Who::Named(_, roles) => roles,
            Who::Address(address) => slice::from_ref(address.role()),
        };
        // Whoever is known by its address alone has said nothing of who it is.
        let says_who = !matches!(caller.who, Who::Address(_));
        let name = identity.as_ref().filter(|_| says_who);
        let of_identity = self
            .identities
            .get(name.map_or(AccessName::ANONYMOUS, AccessName::as_str));
        let roles = own.iter().chain(of_identity.into_iter().flatten());
        let grants: Vec<_> = roles
            .filter_map(|role| self.roles.get(role))
            .flat_map(|role| &role.grants)
            .collect();
        Rights::of(identity, grants.iter().copied())
    }

    /// The id of a caller's token; `None` where it has shown another proof of who it is.
    pub(super) fn token_id(&self, caller: &Caller) -> Option<&AccessName> {
        match &caller.who {
            Who::Token(hash) => self.token_ids.get(hash),
            _ => None,
        }
    }

    /// When the rights of a caller end whatever the settings say.
    pub(super) fn expires_at(&self, caller: &Caller) -> Option<Timestamp> {
        match &caller.who {
            Who::Token(hash) => {
                let ms = self.tokens.get(hash)?.expires_at_ms?;
                Some(Timestamp::from_millis(ms).unwrap_or(Timestamp::MIN))
            }
            Who::Anonymous | Who::Named(..) | Who::Address(_) => caller.expires_at,
        }
    }

    fn check(&self, caller: &Caller, now: Timestamp) -> Result<()> {
        if let Who::Token(hash) = &caller.who
            && !self.tokens.contains_key(hash)
        {
            let message = "the token is unknown: it was revoked, or belongs to another store";
            return Err(Error::new(ErrorKind::Unauthenticated, message));
        }
        if self.expires_at(caller).is_some_and(|expires_at| expires_at <= now) {
            let Who::Token(_) = caller.who else {
                return Err(jwt::expired());
            };
            let message = "the token has expired: have a new one made";
            return Err(Error::new(ErrorKind::Unauthenticated, message));
        }
        Ok(())
    }

    /// The identity of a caller; `None` where it said nothing of who it is, or its token is not there any more.
    pub(super) fn identity(&self, caller: &Caller) -> Option<AccessName> {
        match &caller.who {
            Who::Anonymous => None,
            Who::Token(hash) => self.tokens.get(hash).map(|token| token.identity.clone()),
            Who::Named(name, _) => Some(name.clone()),
            Who::Address(address) => Some(address.identity().clone()),
        }
    }
}
