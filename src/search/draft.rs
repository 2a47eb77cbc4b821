//! The buckets of one aggregation inside of one bucket: those that are found become those that are returned.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::error::SearchFault;
use super::tree::{Branch, BranchKind, DateBranch, HistogramBranch, Sequence, Sort, SortBy, TermsBranch};
use super::value::value_of;
use crate::job::KeyPart;
use crate::measure::MetricValues;

/// A bucket that may be returned.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) part: KeyPart,
    pub(super) doc_count: u64,
    pub(super) metrics: Vec<MetricValues>,
    /// What was found inside of it, if that was found with it.
    pub(super) inside: Option<Box<Drafts>>,
}

/// Those that are found inside of one bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct Drafts {
    found: Vec<Draft>,
    /// Where one key may be found several times.
    gathered: BTreeMap<KeyPart, Draft>,
    /// How many documents those have that were found, or were dropped since.
    pub(super) documents: u64,
}

/// How those that are found are taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taking<'a> {
    /// All of them.
    All,
    /// The best of them.
    Best(&'a TermsBranch),
}

impl<'a> Taking<'a> {
    pub(super) fn of(branch: &'a Branch) -> Self {
        match &branch.kind {
            BranchKind::Terms(terms) => Self::Best(terms),
            BranchKind::Date(_) | BranchKind::Histogram(_) | BranchKind::Conditions { .. } => Self::All,
        }
    }
}

impl Draft {
    pub(super) fn new(part: KeyPart, doc_count: u64, metrics: &[MetricValues]) -> Self {
        Self { part, doc_count, metrics: metrics.to_vec(), inside: None }
    }
}

impl Drafts {
    /// These, each with a key of its own.
    pub(super) fn of(found: Vec<Draft>) -> Self {
        let documents = found.iter().map(|draft| draft.doc_count).sum();
        Self { found, gathered: BTreeMap::new(), documents }
    }

    /// Takes one whose key has not been found, or may have been if keys are `gathered`.
    pub(super) fn take(
        &mut self,
        part: KeyPart,
        doc_count: u64,
        metrics: &[MetricValues],
        gathered: bool,
        taking: Taking<'_>,
    ) {
        self.documents += doc_count;
        if gathered {
            let Some(known) = self.gathered.get_mut(&part) else {
                self.gathered.insert(part.clone(), Draft::new(part, doc_count, metrics));
                return;
            };
            known.doc_count += doc_count;
            MetricValues::merge_each(&mut known.metrics, metrics);
            return;
        }
        if let Taking::Best(terms) = taking {
            if doc_count < terms.min_doc_count {
                return;
            }
            self.found.push(Draft::new(part, doc_count, metrics));
            let most = terms.size.saturating_mul(2).saturating_add(64);
            if self.found.len() >= most {
                self.keep_best(terms);
            }
        } else {
            self.found.push(Draft::new(part, doc_count, metrics));
        }
    }

    /// Takes a part of one, whose parts come one after the other. Says where what is inside of it goes.
    pub(super) fn take_part(&mut self, part: &KeyPart, doc_count: u64, metrics: &[MetricValues]) -> &mut Self {
        self.documents += doc_count;
        let is_next = self.found.last().is_none_or(|last| last.part != *part);
        if is_next {
            let draft = Draft::new(part.clone(), doc_count, metrics);
            self.found.push(Draft { inside: Some(Box::default()), ..draft });
        }
        let at = self.found.len() - 1;
        let last = &mut self.found[at];
        if !is_next {
            last.doc_count += doc_count;
            MetricValues::merge_each(&mut last.metrics, metrics);
        }
        last.inside.get_or_insert_default()
    }

    fn keep_best(&mut self, terms: &TermsBranch) {
        if self.found.len() > terms.size {
            self.found.select_nth_unstable_by(terms.size, |a, b| compare(&terms.order, a, b));
            self.found.truncate(terms.size);
        }
    }

    fn all(&mut self) -> Vec<Draft> {
        let mut found = std::mem::take(&mut self.found);
        found.extend(std::mem::take(&mut self.gathered).into_values());
        found
    }

    /// The terms that are returned, and how many documents the others have.
    pub(super) fn terms(mut self, terms: &TermsBranch) -> (Vec<Draft>, u64) {
        self.found = self.all();
        self.found.retain(|draft| draft.doc_count >= terms.min_doc_count);
        self.keep_best(terms);
        self.found.sort_unstable_by(|a, b| compare(&terms.order, a, b));
        let returned: u64 = self.found.iter().map(|draft| draft.doc_count).sum();
        (self.found, self.documents - returned)
    }

    /// The date buckets that are returned, empty ones between them. No more than `most` are made.
    pub(super) fn dates(self, date: &DateBranch, metrics: usize, most: usize) -> Result<Vec<Draft>, SearchFault> {
        let grid = &date.grid;
        let steps = Steps {
            value: |part: &KeyPart| match part {
                KeyPart::Date(start) => *start,
                other => unreachable!("{other:?} is no date bucket"),
            },
            part: KeyPart::Date,
            next: |start: i64| grid.round_down(grid.bucket(start).end),
            is_within: |start: i64, (min, max): (Option<i64>, Option<i64>)| {
                min.is_none_or(|min| start >= min) && max.is_none_or(|max| start < max)
            },
        };
        self.sequence(&date.sequence, &steps, metrics, most)
    }

    /// The same of ranges of numbers.
    pub(super) fn ranges(
        self,
        histogram: &HistogramBranch,
        metrics: usize,
        most: usize,
    ) -> Result<Vec<Draft>, SearchFault> {
        let interval = histogram.interval;
        let number = |bound: Option<f64>| bound.map(|bound| (bound / interval).floor() + 0.0);
        let (sequence, hard) = (&histogram.sequence, histogram.sequence.hard);
        let steps = Steps {
            value: |part: &KeyPart| match part {
                KeyPart::Histogram { number, .. } => *number,
                other => unreachable!("{other:?} is no range of numbers"),
            },
            part: |number: f64| KeyPart::Histogram { number, interval },
            next: |number: f64| number + 1.0,
            is_within: |number: f64, _| {
                let key = number * interval;
                hard.0.is_none_or(|min| key >= min) && hard.1.is_none_or(|max| key <= max)
            },
        };
        let numbered = Sequence {
            min_doc_count: sequence.min_doc_count,
            extended: (number(sequence.extended.0), number(sequence.extended.1)),
            hard: (None, None),
            order: sequence.order.clone(),
            style: sequence.style.clone(),
        };
        self.sequence(&numbered, &steps, metrics, most)
    }

    fn sequence<T: Copy + PartialOrd>(
        mut self,
        sequence: &Sequence<T>,
        steps: &Steps<impl Fn(&KeyPart) -> T, impl Fn(T) -> KeyPart, impl Fn(T) -> T, impl Fn(T, Bounds<T>) -> bool>,
        metrics: usize,
        most: usize,
    ) -> Result<Vec<Draft>, SearchFault> {
        let mut found = self.all();
        found.retain(|draft| {
            draft.doc_count >= sequence.min_doc_count && (steps.is_within)((steps.value)(&draft.part), sequence.hard)
        });
        found.sort_unstable_by(|a, b| a.part.cmp(&b.part));
        if sequence.min_doc_count == 0 {
            found = with_empty(found, sequence, steps, metrics, most)?;
        }
        if !sequence.order.is_empty() {
            found.sort_by(|a, b| compare(&sequence.order, a, b));
        }
        Ok(found)
    }
}

type Bounds<T> = (Option<T>, Option<T>);

/// How one bucket follows another.
struct Steps<V, P, N, W> {
    value: V,
    part: P,
    next: N,
    is_within: W,
}

fn with_empty<T: Copy + PartialOrd>(
    found: Vec<Draft>,
    sequence: &Sequence<T>,
    steps: &Steps<impl Fn(&KeyPart) -> T, impl Fn(T) -> KeyPart, impl Fn(T) -> T, impl Fn(T, Bounds<T>) -> bool>,
    metrics: usize,
    most: usize,
) -> Result<Vec<Draft>, SearchFault> {
    let nothing = vec![MetricValues::default(); metrics];
    let empty = |at: T| Draft::new((steps.part)(at), 0, &nothing);
    let mut all: Vec<Draft> = Vec::with_capacity(found.len());
    let (min, max) = sequence.extended;
    // Where the next bucket is, empty or not. Only an upper end, and nothing found: there is nowhere to begin.
    let mut next = match (min, found.first()) {
        (Some(min), None) => Some(min),
        (Some(min), Some(first)) if min < (steps.value)(&first.part) => Some(min),
        _ => None,
    };
    let push = |all: &mut Vec<Draft>, draft: Draft| {
        if all.len() >= most {
            return Err(SearchFault::TooManyBuckets);
        }
        all.push(draft);
        Ok(())
    };
    for draft in found {
        let at = (steps.value)(&draft.part);
        while let Some(between) = next
            && between < at
        {
            push(&mut all, empty(between))?;
            next = advanced(between, &steps.next);
        }
        next = advanced(at, &steps.next);
        push(&mut all, draft)?;
    }
    while let (Some(behind), Some(max)) = (next, max)
        && behind <= max
    {
        push(&mut all, empty(behind))?;
        next = advanced(behind, &steps.next);
    }
    all.retain(|draft| draft.doc_count > 0 || (steps.is_within)((steps.value)(&draft.part), sequence.hard));
    Ok(all)
}

/// The next one; `None` at the end of all numbers.
fn advanced<T: Copy + PartialOrd>(at: T, next: impl Fn(T) -> T) -> Option<T> {
    let next = next(at);
    (next > at).then_some(next)
}

/// Which of two comes first. Where all else is the same, the key says.
fn compare(order: &[Sort], a: &Draft, b: &Draft) -> Ordering {
    for Sort { by, is_descending } in order {
        let direct = |ordering: Ordering| if *is_descending { ordering.reverse() } else { ordering };
        let ordering = match by {
            SortBy::Count => direct(a.doc_count.cmp(&b.doc_count)),
            SortBy::Key => direct(a.part.cmp(&b.part)),
            SortBy::Metric(metric, at) => {
                match (value_of(*metric, &a.metrics[*at]), value_of(*metric, &b.metrics[*at])) {
                    (Some(a), Some(b)) => direct(a.total_cmp(&b)),
                    // What is empty comes last, whatever the direction.
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (None, None) => Ordering::Equal,
                }
            }
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    a.part.cmp(&b.part)
}
