//! Who may do what: the question that the router asks its host before it does anything else.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::http::request::Parts;

use super::action::{Action, Privilege};
use crate::RunAs;
use crate::job::wildcard_match;

/// Says who may do what. The router asks it before it reads a body, and before it looks whether a job exists.
///
/// It must not block. A host that has to ask somebody else who a caller is does so in a middleware of its own, and
/// leaves the answer in the request's extensions, where an authorizer finds it.
///
/// ```
/// use axum::http::request::Parts;
/// use rollup_jobs::rest::{Action, Authorizer, Caller, Refusal};
///
/// /// Whoever knows the word may do everything.
/// struct Word(&'static str);
///
/// impl Authorizer for Word {
///     fn authorize(&self, request: &Parts, _action: Action) -> Result<Caller, Refusal> {
///         match request.headers.get("authorization") {
///             Some(word) if word == self.0 => Ok(Caller::anonymous()),
///             _ => Err(Refusal::unauthenticated("Bearer")),
///         }
///     }
/// }
/// ```
pub trait Authorizer: Send + Sync + 'static {
    /// Who asks, if they may.
    ///
    /// # Errors
    /// [`Refusal`]: who asks may not, or nobody knows who it is.
    fn authorize(&self, request: &Parts, action: Action) -> Result<Caller, Refusal>;

    /// Whether who asks may read an index: what a search is about is asked index by index, source indices and rollup
    /// indices, by their names and as patterns of jobs have them. Default: nobody may read anything, so that an
    /// authorizer that was written before there were searches gives nothing away.
    ///
    /// It is called on the threads that searches are answered on, as often as a search has indices.
    fn may_read(&self, request: &Parts, index: &str) -> bool {
        let _ = (request, index);
        false
    }

    /// Whether who asks sees all documents of an index that they may read, and all fields: if so, they may see what
    /// jobs have rolled up for others. Default: nobody does.
    fn is_unrestricted(&self, request: &Parts, index: &str) -> bool {
        let _ = (request, index);
        false
    }
}

impl<T: Authorizer + ?Sized> Authorizer for Arc<T> {
    fn authorize(&self, request: &Parts, action: Action) -> Result<Caller, Refusal> {
        (**self).authorize(request, action)
    }

    fn may_read(&self, request: &Parts, index: &str) -> bool {
        (**self).may_read(request, index)
    }

    fn is_unrestricted(&self, request: &Parts, index: &str) -> bool {
        (**self).is_unrestricted(request, index)
    }
}

/// Somebody who may do what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Caller {
    pub(super) run_as: Option<RunAs>,
}

impl Caller {
    /// Nobody in particular: the jobs they put act for nobody.
    pub fn anonymous() -> Self {
        Self { run_as: None }
    }

    /// Somebody for whom the jobs they put will [act](crate::PutOptions::run_as).
    pub fn identified(run_as: RunAs) -> Self {
        Self { run_as: Some(run_as) }
    }
}

/// Somebody who may not do what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Refusal {
    pub(super) kind: RefusalKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefusalKind {
    Unauthenticated { challenge: String },
    Forbidden { user: String },
}

impl Refusal {
    /// Nobody knows who asks (401). The challenge goes into `WWW-Authenticate`: `Basic realm="security"`.
    pub fn unauthenticated(challenge: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Unauthenticated { challenge: challenge.into() } }
    }

    /// This user may not (403).
    pub fn forbidden(user: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Forbidden { user: user.into() } }
    }
}

/// Everybody may do everything: for hosts that nobody else can reach, and for tests.
#[derive(Debug, Clone, Copy)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn authorize(&self, _request: &Parts, _action: Action) -> Result<Caller, Refusal> {
        Ok(Caller::anonymous())
    }

    fn may_read(&self, _request: &Parts, _index: &str) -> bool {
        true
    }

    fn is_unrestricted(&self, _request: &Parts, _index: &str) -> bool {
        true
    }
}

/// The user a request comes from. The host's own middleware, which knows how users prove who they are, puts it into
/// the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedUser(pub String);

/// A table of users and their privileges, for hosts that have nothing better.
///
/// The user is the [`AuthenticatedUser`] among the request's extensions. The jobs they put act for them.
///
/// ```
/// use rollup_jobs::rest::{Privilege, PrivilegeAuthorizer};
///
/// let authorizer = PrivilegeAuthorizer::new(r#"Basic realm="security" charset="UTF-8""#)
///     .user("operator", [Privilege::ManageRollup])
///     .user("dashboard", [Privilege::MonitorRollup])
///     .reads("dashboard", ["sensor-*", "sensor_rollup"]);
/// ```
#[derive(Clone)]
#[must_use]
pub struct PrivilegeAuthorizer {
    challenge: String,
    users: HashMap<String, Vec<Privilege>>,
    /// By user, the indices that they may read, with wildcards.
    reads: HashMap<String, Vec<String>>,
}

impl PrivilegeAuthorizer {
    /// Nobody may do anything yet. The challenge is what an unauthenticated caller gets to see in `WWW-Authenticate`.
    pub fn new(challenge: impl Into<String>) -> Self {
        Self { challenge: challenge.into(), users: HashMap::new(), reads: HashMap::new() }
    }

    /// This user has these privileges, in place of those they had.
    pub fn user(mut self, name: impl Into<String>, privileges: impl IntoIterator<Item = Privilege>) -> Self {
        self.users.insert(name.into(), privileges.into_iter().collect());
        self
    }

    /// This user may read these indices, all of each, in place of those that they could: names and `*` wildcards.
    /// [`Privilege::All`] reads everything.
    pub fn reads<I: Into<String>>(mut self, name: impl Into<String>, indices: impl IntoIterator<Item = I>) -> Self {
        self.reads.insert(name.into(), indices.into_iter().map(Into::into).collect());
        self
    }
}

impl Authorizer for PrivilegeAuthorizer {
    fn authorize(&self, request: &Parts, action: Action) -> Result<Caller, Refusal> {
        let Some(AuthenticatedUser(user)) = request.extensions.get() else {
            return Err(Refusal::unauthenticated(&self.challenge));
        };
        let held = self.users.get(user).map_or(&[][..], Vec::as_slice);
        let reads_any = action.is_on_indices() && self.reads.contains_key(user);
        if reads_any || action.granted_by().iter().any(|privilege| held.contains(privilege)) {
            Ok(Caller::identified(RunAs::new(user)))
        } else {
            Err(Refusal::forbidden(user))
        }
    }

    fn may_read(&self, request: &Parts, index: &str) -> bool {
        let Some(AuthenticatedUser(user)) = request.extensions.get() else { return false };
        let has_all = self.users.get(user).is_some_and(|held| held.contains(&Privilege::All));
        let reads = self.reads.get(user).map_or(&[][..], Vec::as_slice);
        has_all || reads.iter().any(|pattern| wildcard_match(pattern, index))
    }

    fn is_unrestricted(&self, request: &Parts, index: &str) -> bool {
        self.may_read(request, index)
    }
}

impl fmt::Debug for PrivilegeAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivilegeAuthorizer").field("users", &self.users.len()).finish_non_exhaustive()
    }
}
