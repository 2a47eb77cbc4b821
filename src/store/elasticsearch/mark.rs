//! What an engine remembers of source indices: a document each, which belongs to nobody's lease. The last one wins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::call::Call;
use super::index::{Change, Index, Outcome};
use crate::cluster::Failure;

const PREFIX: &str = "mark:";
/// The longest id that a cluster takes, in bytes.
const LONGEST_ID: usize = 512;

/// `None` if there is none that can be read.
pub(super) fn read(index: &Index, name: &str, call: &mut Call) -> Result<Option<Vec<u8>>, Failure> {
    let Some(id) = document_id(name) else { return Ok(None) };
    let found = call.until_decided(|call| index.read(std::slice::from_ref(&id), call.left()).map(Some))?;
    let source = found.into_iter().flatten().next().map(|stored| stored.source);
    Ok(source.as_ref().and_then(|source| source["record"].as_str()).and_then(|text| STANDARD.decode(text).ok()))
}

/// One whose name is too long is left out: it counts as lost.
pub(super) fn put(index: &Index, marks: &[(String, Vec<u8>)], call: &mut Call) -> Result<(), Failure> {
    let change = |(name, mark): &(String, Vec<u8>)| Some((document_id(name)?, Change::Put(source(name, mark))));
    call.until_decided(|call| {
        let outcomes = index.change(marks.iter().filter_map(change).collect(), call.half());
        let failed = outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Done(_) | Outcome::Conflict => None,
        });
        failed.map_or(Ok(Some(())), Err)
    })
}

fn source(name: &str, mark: &[u8]) -> Value {
    json!({ "mark": name, "record": STANDARD.encode(mark) })
}

fn document_id(name: &str) -> Option<String> {
    let id = format!("{PREFIX}{name}");
    (id.len() <= LONGEST_ID).then_some(id)
}
