//! Where in a JSON text a member ends: the place that Elasticsearch's parser names when it fails at it.

use std::collections::HashMap;

use serde_json::value::RawValue;

/// Line and column of the end of the member that `path` names, from the outside in.
pub(super) fn end_of(path: &[&str], json: &str) -> Option<(usize, usize)> {
    let mut member = json;
    for name in path {
        let members: HashMap<String, &RawValue> = serde_json::from_str(member).ok()?;
        member = members.get(*name)?.get();
    }
    // The member is a part of the text, not a copy.
    let end = member.as_ptr().addr().checked_sub(json.as_ptr().addr())? + member.len();
    let before = json.get(..end)?;
    let line_begins = before.rfind('\n').map_or(0, |at| at + 1);
    Some((before.matches('\n').count() + 1, end - line_begins))
}
