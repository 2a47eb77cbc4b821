//! Behaviour through the public face, one file per subject.

mod conformance;
mod support;
