//! Terms: which may be returned, and how they are told to engines.

use std::collections::{BTreeMap, BTreeSet};

use super::error::SearchFault;
use super::request::SearchRequestError;
use super::tree::{Branch, BranchKind};
use crate::filter::FilterValue;
use crate::job::{KeyPart, TermsType};
use crate::sync::Arc;

type Faults<T> = Result<T, SearchFault>;

/// Which terms may be returned.
pub(super) struct Wanted {
    include: Option<BTreeSet<KeyPart>>,
    exclude: BTreeSet<KeyPart>,
}

impl Wanted {
    pub(super) fn of(branch: &Branch, types: &BTreeMap<String, TermsType>) -> Faults<Self> {
        let BranchKind::Terms(terms) = &branch.kind else {
            return Ok(Self { include: None, exclude: BTreeSet::new() });
        };
        let of_type = types.get(&terms.field).copied().unwrap_or(TermsType::Keyword);
        let parts = |values: &[FilterValue]| values.iter().map(|value| term(value, of_type, branch)).collect();
        let include = terms.include.as_deref().map(parts).transpose()?;
        Ok(Self { include, exclude: parts(&terms.exclude)? })
    }

    pub(super) fn has(&self, part: &KeyPart) -> bool {
        self.include.as_ref().is_none_or(|include| include.contains(part))
            && (self.exclude.is_empty() || !self.exclude.contains(part))
    }
}

/// A value as a term of a field.
pub(super) fn term(value: &FilterValue, of_type: TermsType, branch: &Branch) -> Faults<KeyPart> {
    let wrong = || SearchRequestError::new(&branch.place, format!("{} is no term of such a field", value.to_json()));
    let text = match value {
        FilterValue::Text(text) => text.to_string(),
        other => other.to_json().to_string(),
    };
    let part = match of_type {
        TermsType::Keyword => Some(KeyPart::Text(text.into())),
        TermsType::Integer => text.parse().ok().map(KeyPart::Integer),
        TermsType::Unsigned => text.parse().ok().map(KeyPart::unsigned),
        TermsType::Floating => text.parse().ok().map(KeyPart::double).filter(|part| *part != KeyPart::Null),
    };
    Ok(part.ok_or_else(wrong)?)
}

pub(super) fn filter_value(part: &KeyPart) -> Option<FilterValue> {
    match part {
        KeyPart::Integer(value) => Some(FilterValue::Integer(*value)),
        KeyPart::Unsigned(value) => Some(FilterValue::Unsigned(*value)),
        KeyPart::Double(value) => Some(FilterValue::Double(*value)),
        KeyPart::Text(text) => Some(FilterValue::Text(Arc::clone(text))),
        KeyPart::Null | KeyPart::Date(_) | KeyPart::Histogram { .. } => None,
    }
}
