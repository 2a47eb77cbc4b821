//! Who asks: HTTP Basic, against a small file. What they may do to jobs is the crate's to check.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollup_jobs::rest::{AuthenticatedUser, Privilege, PrivilegeAuthorizer, UnknownPrivilege};

use crate::answer::Problem;
use crate::routes::PRODUCT;

const CHALLENGE: &str = r#"Basic realm="security", charset="UTF-8""#;

/// All users may read and write indices; their privileges are about jobs.
pub(crate) struct Users {
    passwords: HashMap<String, String>,
    pub(crate) authorizer: PrivilegeAuthorizer,
}

impl Users {
    /// Lines of `name:password:privilege,privilege`, of which `read=sensor-*` lets the user search what was rolled up
    /// of these indices and into them; empty ones and those that begin with `#` say nothing.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut users = Self { passwords: HashMap::new(), authorizer: PrivilegeAuthorizer::new(CHALLENGE) };
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let at = |why: &str| format!("{}: line {number}: {why}", file.display());
            let [name, password, privileges] = line.split(':').collect::<Vec<_>>()[..] else {
                return Err(at("expected name:password:privilege,privilege"));
            };
            let items = privileges.split(',').map(str::trim).filter(|item| !item.is_empty());
            let (reads, privileges): (Vec<_>, Vec<_>) = items.partition(|item| item.starts_with("read="));
            let privileges = privileges.into_iter().map(str::parse);
            let privileges: Result<Vec<Privilege>, UnknownPrivilege> = privileges.collect();
            let privileges = privileges.map_err(|error| at(&error.to_string()))?;
            users.authorizer = users.authorizer.user(name, privileges);
            if !reads.is_empty() {
                let indices = reads.iter().map(|item| item.trim_start_matches("read="));
                users.authorizer = users.authorizer.reads(name, indices);
            }
            users.passwords.insert(name.to_owned(), password.to_owned());
        }
        Ok(users)
    }

    /// The user that the header names and proves to be.
    fn known(&self, headers: &HeaderMap) -> Option<AuthenticatedUser> {
        let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        let expected = self.passwords.get(name)?;
        let proved = scheme.eq_ignore_ascii_case("basic") && same(expected.as_bytes(), password.as_bytes());
        proved.then(|| AuthenticatedUser(name.to_owned()))
    }
}

/// Compares without telling by its time where the difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Lets known users through, and says to the crate's authorizer who they are.
pub(crate) async fn authenticate(State(users): State<Arc<Users>>, mut request: Request, next: Next) -> Response {
    let Some(user) = users.known(request.headers()) else {
        let reason = format!("unable to authenticate user for REST request [{}]", request.uri());
        let problem = Problem { status: StatusCode::UNAUTHORIZED, kind: "security_exception", reason };
        return ([(header::WWW_AUTHENTICATE, CHALLENGE), (PRODUCT, "Elasticsearch")], problem).into_response();
    };
    request.extensions_mut().insert(user);
    next.run(request).await
}
