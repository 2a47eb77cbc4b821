//! Searches: raw and rolled-up documents in one answer, which is that of the raw ones.

mod oracle;
mod random;
mod zones;
