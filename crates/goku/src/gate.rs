//! The one way into a store for callers from outside: whoever they are, and whatever they ask for, is checked here.
//!
//! A door, such as a gRPC service, holds a [`Gate`] and no [`Client`]. With the [`Credentials`] of each call it
//! [enters](Gate::enter), and gets the interfaces to call on with, which ask each request whether it may be made.

#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod addresses;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod audit;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod caller;
mod credentials;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod entry;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod guard;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod identification;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod jwt;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod logins;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod permitted;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod permitted_admin;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod rules;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod visitor;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod watched;

#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::fmt;
use std::sync::Arc;

#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub use self::addresses::{AddressRole, AddressRoles};
pub use self::credentials::{CertificateName, CertificateNames, Credentials};
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use self::guard::Guard;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub use self::identification::Identification;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub use self::jwt::{JwtClaims, JwtIdentities, JwtRules, JwtVerifier};
use crate::admin::Admin;
use crate::client::Client;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use crate::engine::Engine;
use crate::error::Result;

/// What is put around the interfaces that each caller gets, such as what counts its calls.
pub type Around = Arc<dyn Fn(Entered) -> Entered + Send + Sync>;

/// The way into a store, for the doors that serve it. Clones share it.
#[derive(Clone)]
pub struct Gate {
    way: Way,
    around: Option<Around>,
}

#[derive(Clone)]
enum Way {
    Unguarded {
        client: Arc<dyn Client>,
        admin: Option<Arc<dyn Admin>>,
    },
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    Guarded(Arc<Guard>, Arc<Identification>),
}

/// The interfaces for one caller. Each request is checked when it is made, with the rights that the caller has then.
#[derive(Clone)]
pub struct Entered {
    /// The data.
    pub client: Arc<dyn Client>,
    /// What operators do; `None` where a gate has no way there.
    pub admin: Option<Arc<dyn Admin>>,
}

impl Gate {
    /// A gate that lets everybody do everything with `client`, whatever rights its store has set: for tests, and for programs
    /// whose callers are known in another way.
    pub fn unguarded(client: Arc<dyn Client>) -> Gate {
        Gate {
            way: Way::Unguarded { client, admin: None },
            around: None,
        }
    }

    /// Lets everybody do everything that operators do, too. Only for a gate that is not guarded: one that is has this way.
    pub fn with_admin(self, admin: Arc<dyn Admin>) -> Gate {
        let way = match self.way {
            Way::Unguarded { client, .. } => Way::Unguarded {
                client,
                admin: Some(admin),
            },
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            guarded @ Way::Guarded(..) => guarded,
        };
        Gate { way, ..self }
    }

    /// A gate that lets callers do with `engine` what the store's settings say: everything, until an operator has rights
    /// asked for by the setting `auth`. Callers are known by tokens and certificates, and as [`identifying`](Self::identifying)
    /// has it.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the settings cannot be read.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub async fn guarding(engine: Engine) -> Result<Gate> {
        let guard = Arc::new(Guard::new(engine).await?);
        Ok(Gate {
            way: Way::Guarded(guard, Arc::default()),
            around: None,
        })
    }

    /// Finds out who a caller is in this way. Only for a gate that is guarded: another one asks nobody.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub fn identifying(self, identification: Identification) -> Gate {
        let way = match self.way {
            Way::Guarded(guard, _) => Way::Guarded(guard, Arc::new(identification)),
            unguarded @ Way::Unguarded { .. } => unguarded,
        };
        Gate { way, ..self }
    }

    /// Puts something around the interfaces that each caller gets. It sees what is refused, too.
    pub fn around(self, around: Around) -> Gate {
        Gate {
            around: Some(around),
            ..self
        }
    }

    /// Whether there is a way to what operators do.
    pub fn has_admin(&self) -> bool {
        match &self.way {
            Way::Unguarded { admin, .. } => admin.is_some(),
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            Way::Guarded(..) => true,
        }
    }

    /// Finds out who a caller is. One without credentials enters as a caller that said nothing of who it is.
    ///
    /// # Errors
    ///
    /// - `Unauthenticated`: credentials are given, and unknown, expired or revoked.
    /// - `PermissionDenied`: rights are asked for, and the caller has none at all.
    /// - `Unavailable`: the store cannot be asked.
    pub async fn enter(&self, credentials: &Credentials) -> Result<Entered> {
        let entered = match &self.way {
            Way::Unguarded { client, admin } => {
                let _ = credentials;
                Entered {
                    client: client.clone(),
                    admin: admin.clone(),
                }
            }
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            Way::Guarded(guard, identification) => entry::enter(guard, identification, credentials).await?,
        };
        Ok(match &self.around {
            Some(around) => around(entered),
            None => entered,
        })
    }

    /// Whether callers may do only what they have a right to.
    ///
    /// # Errors
    ///
    /// - `Unavailable`: the store cannot be asked.
    pub async fn asks_for_rights(&self) -> Result<bool> {
        match &self.way {
            Way::Unguarded { .. } => Ok(false),
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            Way::Guarded(guard, _) => Ok(guard.latest().await?.are_enabled()),
        }
    }

    /// Lets a caller pass that may do what operators do, to do `call` to the server itself.
    ///
    /// # Errors
    ///
    /// - `Unauthenticated`, `PermissionDenied`, `Unavailable`: as at [`enter`](Self::enter), and where the caller is no
    ///   administrator.
    pub async fn operate(&self, credentials: &Credentials, call: &'static str) -> Result<()> {
        match &self.way {
            Way::Unguarded { .. } => {
                let _ = (credentials, call);
                Ok(())
            }
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            Way::Guarded(guard, identification) => entry::operate(guard, identification, credentials, call).await,
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}
